"""Preprocessing of models that scale every image by its own darkest and brightest value: MedSAM."""

from dataclasses import dataclass
from typing import Any, ClassVar

from medrobust.exceptions import InvalidImageError
from medrobust.types import PixelBatch, UInt8Batch

from .preprocess import Fit
from .resample import Interpolation, resize

LEAST_RANGE = 1e-8
"""Range that an image of one value is divided by, as published."""


@dataclass(frozen=True, slots=True)
class RangePreprocess:
    """Squash to the input size, expand grey, and bring each image's own range to [0, 1].

    The published code resizes by a cubic spline of scikit-image; here it is Pillow's bicubic, the
    same on every device.

    Attributes:
        size: Side of the model's input in pixels.
        interpolation: "bicubic" or "bilinear".
    """

    size: int
    interpolation: Interpolation = "bicubic"

    fit: ClassVar[Fit] = "squash"

    def __call__(self, images: UInt8Batch) -> PixelBatch:
        """Return float32 pixels (N, 3, size, size) in [0, 1].

        Args:
            images: uint8 batch (N, C, H, W), C = 1 or 3; not modified.

        Raises:
            InvalidImageError: If `images` is anything else.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InvalidImageError(
                f"a model takes uint8 images (N, 1 or 3, H, W), got {tuple(images.shape)}."
            )
        sized = images
        if images.shape[-2:] != (self.size, self.size):
            sized = resize(images, self.size, self.size, self.interpolation)
        values = sized.float()
        low = values.amin(dim=(1, 2, 3), keepdim=True)
        span = (values.amax(dim=(1, 2, 3), keepdim=True) - low).clamp_min(LEAST_RANGE)
        return ((values - low) / span).expand(-1, 3, -1, -1)

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide the output."""
        return {"scale": "range", "size": self.size, "interpolation": self.interpolation}
