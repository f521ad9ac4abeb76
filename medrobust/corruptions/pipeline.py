"""`RandomCorruption` as a transform of albumentations."""

from typing import Any

import numpy as np
import torch
from albumentations import ImageOnlyTransform

from medrobust.exceptions import InvalidImageError
from medrobust.types import UInt8Array

from .training import RandomCorruption


class CorruptionTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Corrupts the image of an albumentations pipeline, keyed by its row and the epoch.

    Call the pipeline with `index` (row of the image in its source split) and `epoch`: then the
    result does not depend on workers, order or the pipeline's random state. Without `index` one is
    drawn from the pipeline's own random state, which `Compose(seed=...)` fixes.

    Args:
        corruption: What is drawn, and how.
        p: Chance that an image is touched at all. Leave it at 1 for results that depend on the key
            alone: `clean` is one of the choices of `corruption`.

    Example:
        >>> import albumentations
        >>> augment = RandomCorruption("bloodmnist", stream="bloodmnist/train")
        >>> pipeline = albumentations.Compose([CorruptionTransform(augment)])
        >>> image = np.zeros((32, 32, 3), np.uint8)
        >>> pipeline(image=image, index=5, epoch=1)["image"].shape
        (32, 32, 3)
    """

    def __init__(self, corruption: RandomCorruption, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.corruption = corruption

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Read the key from the call, or draw an index."""
        index = data.get("index")
        drawn = self.py_random.getrandbits(62) if index is None else int(index)
        return {"index": drawn, "epoch": int(data.get("epoch", 0))}

    def apply(self, img: UInt8Array, *, index: int, epoch: int, **_: Any) -> UInt8Array:
        """Corrupt uint8 (H, W), (H, W, 1) or (H, W, 3).

        Raises:
            InvalidImageError: For floats; corrupt before scaling.
        """
        if img.dtype != np.uint8:
            raise InvalidImageError(
                f"a corruption takes uint8 images, got {img.dtype}. Put CorruptionTransform before "
                f"the transform that scales to floats."
            )
        channels = img.reshape(*img.shape[:2], -1)
        batch = torch.from_numpy(np.ascontiguousarray(channels.transpose(2, 0, 1)))[None]
        out = self.corruption(batch, index=torch.tensor([index]), epoch=epoch)[0]
        last: UInt8Array = out.movedim(0, -1).contiguous().numpy()
        return last[..., 0] if img.ndim == 2 and last.shape[-1] == 1 else last

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Name the arguments of the constructor, for the representation."""
        return ("corruption",)
