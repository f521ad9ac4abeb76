"""A look at the first images of a data set, before a model sees them all."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medrobust.base.wording import agreeing, counted
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError
from medrobust.types import PixelBatch, UInt8Batch

from .experiment import AskedModel
from .plan import DatasetPlan
from .resources import Resources

log = logging.getLogger(__name__)

LOOKED_AT = 8
"""Images of a split: enough to tell a broken preprocessing, cheap for any model."""

SLACK = 1e-4
"""Of float32, in units of the standard deviation."""


def check_images(
    asked: AskedModel, resources: Resources, plans: Sequence[DatasetPlan]
) -> list[str]:
    """Preprocess the first images of each split, and check what comes out.

    Returns:
        Warnings, one sentence each; they are logged too.

    Raises:
        ConfigurationError: If pixels are not finite, or outside what uint8 images can give.
    """
    preprocess = resources.model(asked).preprocess
    found = []
    for plan in plans:
        images = _first(plan.image_set)
        pixels = preprocess(images)
        where = f"{asked.source.name} on {plan.image_set.name}/{plan.image_set.split}"
        check_range(pixels, preprocess.description(), where)
        found += constant_warnings(images, pixels, where)
    for sentence in found:
        log.warning("%s", sentence)
    return found


def _first(image_set: ImageSet) -> UInt8Batch:
    """Read the first images: uint8 (n, C, H, W)."""
    stored = np.array(image_set.images[:LOOKED_AT])
    return torch.from_numpy(
        np.ascontiguousarray(stored[:, None] if stored.ndim == 3 else np.moveaxis(stored, -1, 1))
    )


def check_range(pixels: PixelBatch, description: dict[str, Any], where: str) -> None:
    """Refuse pixels that no image of uint8 can give by that mean and standard deviation.

    Args:
        pixels: As the model takes them, (n, 3, H, W).
        description: Of the preprocessing; without `mean` and `std` only what is not finite counts.
        where: Model and data set, for the message.

    Raises:
        ConfigurationError: With the range found and the range allowed.
    """
    low, high = pixels.amin(dim=(0, 2, 3)), pixels.amax(dim=(0, 2, 3))
    if not bool(torch.isfinite(pixels).all()):
        raise ConfigurationError(
            f"{where}: preprocessed pixels are not finite. Check mean, std and the preprocessing."
        )
    if "mean" not in description or "std" not in description:
        return
    mean, std = (torch.tensor(description[name]).to(pixels) for name in ("mean", "std"))
    least, most = -mean / std, (1 - mean) / std
    if bool((low < least - SLACK).any()) or bool((high > most + SLACK).any()):
        raise ConfigurationError(
            f"{where}: preprocessed pixels span {_span(low, high)}, and images of 0 to 255 with "
            f"this mean and std give {_span(least, most)} at most. Scale and normalise once only."
        )


def _span(low: Tensor, high: Tensor) -> str:
    return f"{float(low.min()):.2f} to {float(high.max()):.2f}"


def constant_warnings(images: UInt8Batch, pixels: PixelBatch, where: str) -> list[str]:
    """Say that images are of one value throughout, as stored or only after preprocessing."""
    first = f"the first {counted(len(images), 'image')}"
    if bool((_spread(images) == 0).all()):
        are = agreeing(len(images), "is")
        return [f"{where}: {first} {are} of one value each, such as all black"]
    if bool((_spread(pixels) == 0).all()):
        return [
            f"{where}: preprocessing makes {first} one value each, such as all black; the model "
            f"cannot see them"
        ]
    return []


def _spread(values: Tensor) -> Tensor:
    """Range of each channel of each image."""
    return values.amax(dim=(2, 3)) - values.amin(dim=(2, 3))
