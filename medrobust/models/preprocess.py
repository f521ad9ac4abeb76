"""A model's own way from stored uint8 images to what its visual encoder takes."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medrobust.base.numba_threads import empty, run_native_into
from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import PixelBatch, UInt8Batch

from .resample import Interpolation, resize

Fit: TypeAlias = Literal["shortest", "squash", "pad", "longest"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize, crop or pad, expand grey, scale to [0, 1] and normalise, each exactly once.

    The resize is bit-identical to Pillow's (uint8 in, uint8 out, antialiased), which is what the
    published pipelines run, and the same on every device. An image that already has the size is
    not touched by it. Normalisation is that of torchvision (divide by 255, subtract, divide), done
    once for each of the 256 values, so the output equals the published pipelines on the CPU to the
    last bit, on every device.

    Attributes:
        size: Side of the model's input in pixels; None keeps the stored size.
        mean: Of the three channels, on the scale of [0, 1].
        std: Of the three channels, on the scale of [0, 1].
        interpolation: "bicubic" or "bilinear".
        fit: "shortest" resizes the shortest side and crops the centre; "squash" ignores the aspect
            ratio; "pad" centres the image on a black square of side max(size, height, width) first;
            "longest" resizes the longest side and fills the right and the lower margin with zeros
            after normalisation, as SAM does.
        resize: Length that "shortest" gives the shortest side before it crops; None: `size`.
        grey: Turn color images to grey first (Pillow's mode L), for models of grey images.
        stretch: Spread each image's own range over 0 to 255 before all else, cut off to whole
            numbers; an image of one value is left as it is.
    """

    size: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    fit: Fit = "shortest"
    resize: int | None = None
    grey: bool = False
    stretch: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no image could go through."""
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3:
                raise ConfigurationError(f"{name} needs three values, got {values}.")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise ConfigurationError(f"std must be positive, got {self.std}.")
        if self.size is not None and self.size < 1:
            raise ConfigurationError(f"size must be at least 1 pixel, got {self.size}.")
        if self.resize is not None and (self.size is None or self.resize < self.size):
            raise ConfigurationError(f"resize={self.resize} must not be below size={self.size}.")
        for value, known in ((self.interpolation, Interpolation), (self.fit, Fit)):
            if value not in get_args(known):
                raise ConfigurationError(f"{value!r} is none of {get_args(known)}.")

    def __call__(self, images: UInt8Batch) -> PixelBatch:
        """Return float32 pixels (N, 3, size, size) on the device of `images`.

        Args:
            images: uint8 batch (N, C, H, W), C = 1 or 3; not modified.

        Raises:
            InvalidImageError: If `images` is anything else.
        """
        check_images(images)
        if self.stretch:
            images = _stretched(images)
        if self.grey:
            images = greyed(images)
        fitted = images if self.size is None else self._fit(images, self.size)
        pixels = _look_up(fitted, _levels(self.mean, self.std))
        if self.size is None or self.fit != "longest":
            return pixels
        height, width = pixels.shape[-2:]
        return functional.pad(pixels, (0, self.size - width, 0, self.size - height))

    def at(self, size: int | None, patch: int) -> "Preprocess":
        """Return the same preprocessing for another input size (None: this one).

        Args:
            size: Side in pixels.
            patch: Side of the model's patches, which the size must be a multiple of.

        Raises:
            ConfigurationError: If it is not.
        """
        if size is None:
            return self
        if size % patch:
            raise ConfigurationError(
                f"model.image_size={size} is no multiple of the patch size {patch}."
            )
        return replace(self, size=size, resize=None)

    def _fit(self, images: UInt8Batch, size: int) -> UInt8Batch:
        height, width = images.shape[-2:]
        if height == width == (self.resize or size) == size:
            return images
        if self.fit == "squash":
            return resize(images, size, size, self.interpolation)
        if self.fit == "pad":
            side = max(size, height, width)
            left, top = (side - width) // 2, (side - height) // 2
            margins = (left, side - width - left, top, side - height - top)
            return resize(functional.pad(images, margins), size, size, self.interpolation)
        if self.fit == "longest":
            scale = size / max(height, width)
            tall, wide = (int(side * scale + 0.5) for side in (height, width))
            return resize(images, tall, wide, self.interpolation)
        short = min(height, width)
        tall, wide = (int((self.resize or size) * side / short) for side in (height, width))
        # torchvision's centre crop rounds half to even, and so does Python.
        top, left = round((tall - size) / 2), round((wide - size) / 2)
        whole = resize(images, tall, wide, self.interpolation)
        return whole[..., top : top + size, left : left + size]

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide the output."""
        description: dict[str, Any] = {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "fit": self.fit,
        }
        if self.resize not in (None, self.size):
            description["resize"] = self.resize
        if self.grey:
            description["grey"] = True
        if self.stretch:
            description["stretch"] = True
        return description


@lru_cache(maxsize=64)
def _levels(mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Return what each grey level becomes in each channel: float32 (3, 256)."""
    levels = torch.arange(256).to(torch.float32).div_(255)
    return levels.sub(torch.tensor(mean)[:, None]).div_(torch.tensor(std)[:, None])


def _look_up(images: UInt8Batch, table: Tensor) -> PixelBatch:
    """Look up every value (N, 1 or 3, H, W) in the three rows of a table."""
    shape = (len(images), 3, *images.shape[2:])
    if images.device.type == "cpu":
        from .levels_numba import look_up

        return run_native_into(look_up, images, empty(shape, np.float32), table.numpy())
    first = 256 * torch.arange(3, dtype=torch.int32, device=images.device).view(3, 1, 1)
    values = (
        table.to(images.device, non_blocking=True)
        .flatten()
        .index_select(0, (images + first).flatten())
    )
    return values.view(shape)


def _stretched(images: UInt8Batch) -> UInt8Batch:
    """Spread the range of each image (N, C, H, W) over 0 to 255, in double precision."""
    values = images.double()
    low = values.amin(dim=(1, 2, 3), keepdim=True)
    span = values.amax(dim=(1, 2, 3), keepdim=True) - low
    spread = ((values - low) / span.clamp_min(1) * 255).to(torch.uint8)
    return torch.where(span > 0, spread, images)


def check_images(images: UInt8Batch) -> None:
    """Refuse what is no batch of stored images.

    Raises:
        InvalidImageError: If it is not uint8 (N, 1 or 3, H, W).
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InvalidImageError(
            f"a model takes uint8 images (N, 1 or 3, H, W), got {images.dtype} "
            f"{tuple(images.shape)}."
        )


def greyed(images: UInt8Batch) -> UInt8Batch:
    """Weigh the channels with the integers of Pillow's conversion to mode L, rounded as there."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.to(torch.int32).unbind(dim=1)
    weighed = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return weighed.to(torch.uint8)[:, None]
