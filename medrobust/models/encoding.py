"""Encoding in micro-batches of one fixed shape, however the images arrive."""

from typing import Protocol

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import FeatureBatch, PixelBatch, UInt8Batch

from .base import ImagePreprocess


class ImageEncoder(Protocol):
    """The image side of a model: what a micro-batch needs."""

    preprocess: ImagePreprocess

    def encode_image(self, pixels: PixelBatch) -> FeatureBatch:
        """Embed preprocessed pixels."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        ...


class MicroBatcher:
    """Feeds a model batches of exactly `micro_batch` images.

    Row r of the evaluation order always sits at position r mod `micro_batch` of its batch, and the
    last batch is filled with black images whose features are dropped. The kernels of a device thus
    see the same shapes and the same neighbours for every batch size of the loader, and features
    come out bit-identical.

    Args:
        model: Encodes on its own device.
        micro_batch: Images a forward pass.
    """

    def __init__(self, model: ImageEncoder, micro_batch: int) -> None:
        if micro_batch < 1:
            raise ConfigurationError(f"micro_batch must be at least 1, got {micro_batch}.")
        self._model = model
        self._size = micro_batch
        self._waiting: list[Tensor] = []
        self._count = 0

    def push(self, images: UInt8Batch) -> list[FeatureBatch]:
        """Take images (n, C, H, W), any n, on any device; encode the batches that are full.

        Returns:
            Features (micro_batch, D) of each full batch, in the order of the images.

        Raises:
            InvalidImageError: If the images have another shape than those that wait.
        """
        if self._waiting and images.shape[1:] != self._waiting[0].shape[1:]:
            raise InvalidImageError(
                f"images {tuple(images.shape[1:])} follow images "
                f"{tuple(self._waiting[0].shape[1:])}: one run needs one shape."
            )
        self._waiting.append(images.to(self._model.device, non_blocking=True))
        self._count += len(images)
        if self._count < self._size:
            return []
        joined = _joined(self._waiting)
        full = len(joined) // self._size * self._size
        self._waiting = [joined[full:]] if full < len(joined) else []
        self._count = len(joined) - full
        starts = range(0, full, self._size)
        return [self._encode(joined[start : start + self._size]) for start in starts]

    def flush(self) -> list[FeatureBatch]:
        """Encode what waits, padded to the fixed shape: one (m, D) tensor, or none."""
        if not self._count:
            return []
        joined = _joined(self._waiting)
        self._waiting, self._count = [], 0
        padding = joined.new_zeros(self._size - len(joined), *joined.shape[1:])
        return [self._encode(torch.cat([joined, padding]))[: len(joined)]]

    @torch.no_grad()
    def _encode(self, images: UInt8Batch) -> FeatureBatch:
        return self._model.encode_image(self._model.preprocess(images))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
