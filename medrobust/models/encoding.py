"""Encoding in micro-batches of one fixed shape, however the images arrive."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import FeatureBatch, PixelBatch, UInt8Batch

from .base import ImagePreprocess
from .patches import PatchFeatures


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


@dataclass(frozen=True)
class PatchWatch:
    """What else is read in the pass that encodes the images, and who takes it.

    Attributes:
        blocks: Numbered from 1; none of them gives patch features without levels.
        take: Called with features (m, D) and patch features of each micro-batch, in the order of
            the images; what fills up the last one is left out.
    """

    blocks: Sequence[int]
    take: Callable[[FeatureBatch, PatchFeatures], None]


_COUNT: ContextVar[int | None] = ContextVar("images of a micro-batch that count", default=None)


def images_that_count(whole: int) -> int:
    """Return how many images of the micro-batch that is being encoded are no padding.

    Args:
        whole: Images of the batch: all of them count outside of a `MicroBatcher`.
    """
    count = _COUNT.get()
    return whole if count is None else min(count, whole)


@contextmanager
def all_images_count() -> Iterator[None]:
    """Let all images count inside, whatever micro-batch is being encoded outside."""
    token = _COUNT.set(None)
    try:
        yield
    finally:
        _COUNT.reset(token)


class MicroBatcher:
    """Feeds a model batches of exactly `micro_batch` images.

    Row r of the evaluation order always sits at position r mod `micro_batch` of its batch, and the
    last batch is filled with black images whose features are dropped. The kernels of a device thus
    see the same shapes and the same neighbours for every batch size of the loader, and features
    come out bit-identical.

    Args:
        model: Encodes on its own device.
        micro_batch: Images a forward pass.
        watch: Reads patch features in the same passes; None: nobody.
    """

    def __init__(
        self, model: ImageEncoder, micro_batch: int, watch: PatchWatch | None = None
    ) -> None:
        if micro_batch < 1:
            raise ConfigurationError(f"micro_batch must be at least 1, got {micro_batch}.")
        self._model = model
        self._size = micro_batch
        self._watch = watch
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
        return [self._encode(joined[start : start + self._size], self._size) for start in starts]

    def flush(self) -> list[FeatureBatch]:
        """Encode what waits, padded to the fixed shape: one (m, D) tensor, or none."""
        if not self._count:
            return []
        joined = _joined(self._waiting)
        self._waiting, self._count = [], 0
        padding = joined.new_zeros(self._size - len(joined), *joined.shape[1:])
        return [self._encode(torch.cat([joined, padding]), len(joined))]

    def _encode(self, images: UInt8Batch, count: int) -> FeatureBatch:
        """Encode one micro-batch, of which the first images count."""
        token = _COUNT.set(count)
        try:
            return self._encoded(images, count)
        finally:
            _COUNT.reset(token)

    @torch.no_grad()
    def _encoded(self, images: UInt8Batch, count: int) -> FeatureBatch:
        pixels = self._model.preprocess(images)
        if self._watch is None or not self._watch.blocks:
            features, patches = self._model.encode_image(pixels), PatchFeatures([])
        else:
            with_patches: Any = self._model  # asked for patches only where the model has them
            features, patches = with_patches.encode_image_and_patches(pixels, self._watch.blocks)
        if self._watch is not None:
            self._watch.take(features[:count], patches.rows(0, count))
        return features[:count]


def encode_patches_of(
    model: ImageEncoder, images: Iterable[UInt8Batch], blocks: Sequence[int], micro_batch: int
) -> Iterator[tuple[FeatureBatch, PatchFeatures]]:
    """Yield features and patch features of images, one micro-batch after the other.

    Bit-identical to those of a run, whatever the sizes of the batches that come in.

    Args:
        model: Frozen encoder, in eval mode.
        images: Batches uint8 (n, C, H, W), on any device.
        blocks: Numbered from 1.
        micro_batch: Images a forward pass.

    Raises:
        ConfigurationError: If the model has no such blocks.
        InvalidImageError: If the images have several shapes.
    """
    ready: list[tuple[FeatureBatch, PatchFeatures]] = []
    watch = PatchWatch(blocks, lambda features, patches: ready.append((features, patches)))
    batcher = MicroBatcher(model, micro_batch, watch)
    for batch in images:
        batcher.push(batch)
        yield from ready
        ready.clear()
    batcher.flush()
    yield from ready


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
