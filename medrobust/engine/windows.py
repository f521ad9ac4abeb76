"""Windows cut from images that were corrupted whole, on the device where they are."""

import torch
from torch import Tensor

from medrobust.models.resample import resize
from medrobust.types import Int64Array, UInt8Batch


def cut(images: UInt8Batch, windows: Int64Array, places: Tensor | None = None) -> UInt8Batch:
    """Cut a window from each image and enlarge it to the size of the image, as Pillow does.

    Args:
        images: uint8 (m, C, H, W); not modified.
        windows: int64 (n, 4): left, top, right, bottom. A window of the whole image changes
            nothing.
        places: int64 (n,), the image of each window; None: they are in order.

    Returns:
        uint8 (n, C, H, W).

    Example:
        >>> image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)
        >>> import numpy as np
        >>> cut(image, np.array([[0, 0, 1, 1]])).flatten().tolist()
        [0, 0, 0, 0]
    """
    height, width = images.shape[-2:]
    order = range(len(windows)) if places is None else places.tolist()
    parts = [
        images[place : place + 1, :, top:bottom, left:right].contiguous()
        for place, (left, top, right, bottom) in zip(order, windows.tolist(), strict=True)
    ]
    return torch.cat([resize(part, height, width, "bicubic") for part in parts])
