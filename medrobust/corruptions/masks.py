"""Masks that move with the pixels that they belong to."""

from typing import Any, Protocol

import numpy as np
import torch

from medrobust.base.class_masks import FULL, most_light
from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .kernels import KERNELS


class Corrupts(Protocol):
    """What stands for a column of a table, such as `Corruption`."""

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give plain values that decide the pixels, its `kernel` among them if it has one."""
        ...

    def __call__(
        self, images: UInt8Batch, *, severity: int, seed: int = 0, stream: str = "", index: Any
    ) -> UInt8Batch:
        """Corrupt a batch."""
        ...


def moves_pixels(corruption: Corrupts | None, severity: int) -> bool:
    """Say whether a corruption puts pixels where others were, as `KERNELS` say; None is clean.

    Example:
        >>> from medrobust.corruptions.config import Corruption
        >>> [moves_pixels(Corruption(name), 3) for name in ("zoom_blur", "contrast")]
        [True, False]
    """
    if corruption is None or severity == 0:
        return False
    kernel = corruption.identity(severity).get("kernel")
    return kernel is not None and KERNELS[kernel].moves


def moved_classes(
    classes: UInt8Array,
    corruption: Corrupts | None,
    *,
    severity: int,
    seed: int,
    stream: str,
    index: Int64Array,
) -> UInt8Array:
    """Move masks as a corruption moves the images they belong to: by the same kernel and draws.

    Each class is corrupted as an image of 0 and 255 would be; a pixel takes the class that most of
    its light comes from, the background's if that is as much. A corruption that moves nothing
    leaves masks as they are. What a blur smears so thin that no pixel has most of it is in no mask
    any more.

    Args:
        classes: uint8 (N, H, W), the class of each pixel, 0 for the background.
        corruption: Of the images; None for clean.
        severity: 1 to 5.
        seed: Of the corruption.
        stream: Data set and split, as for the images.
        index: int64 (N,), row of each image in its source split.

    Returns:
        uint8 (N, H, W), the class of each pixel.

    Raises:
        ConfigurationError: If it moves pixels of a region alone.
    """
    if corruption is None or not moves_pixels(corruption, severity) or not classes.any():
        return classes
    if getattr(corruption, "region", None) is not None:
        raise ConfigurationError(
            "corruption.region: what a corruption moves within a region takes its masks along in "
            "part, which is not followed. Take one that moves no pixels, or the whole image."
        )

    def light(kind: int) -> UInt8Array:
        own = classes == kind
        some = np.flatnonzero(own.any(axis=(1, 2)))
        given = torch.from_numpy(np.ascontiguousarray(own[some, None] * np.uint8(FULL)))
        rows = torch.from_numpy(np.ascontiguousarray(index[some]))
        moved = np.zeros_like(classes)
        out = corruption(given, severity=severity, seed=seed, stream=stream, index=rows)
        moved[some] = out[:, 0].numpy()
        return moved

    kinds = np.unique(classes[classes > 0]).tolist()
    return most_light(classes.shape, ((kind, light(kind)) for kind in kinds))
