"""Stored images to loaders: uint8 batches with the index and row of each image."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medrobust.base.lazy_rows import windows_of
from medrobust.datasets.image_set import ImageSet
from medrobust.engine import streams
from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .passes import Images, Pass
from .windows import cut

Item = TypeVar("Item")

Request: TypeAlias = tuple[int, Sequence[int]]
"""Number of a pass and rows of its images."""

AHEAD = 2
"""Batches that are read and corrupted while the encoder works on one."""

KEPT_SHARE, KEPT_BYTES = 0.25, 1 << 27
"""Of the free memory of a GPU, and in main memory, for clean images that many passes corrupt."""


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images as stored, read together.

    Attributes:
        images: uint8 (n, C, H, W), C = 1 or 3.
        index: int64 (n,), what the corruption draws are keyed by.
        rows: int64 (n,), position in the split.
        windows: int64 (n, 4), what is cut from each image once it is corrupted; None: nothing.
    """

    images: Tensor
    index: Tensor
    rows: Tensor
    windows: Int64Array | None = None

    @property
    def seen(self) -> Tensor:
        """What a model sees of the images as they are."""
        return self.images if self.windows is None else cut(self.images, self.windows)

    def corrupted(self, corrupt: Callable[[UInt8Batch, Tensor], UInt8Batch]) -> UInt8Batch:
        """Corrupt the images, whole and each once, and cut the windows from them.

        Args:
            corrupt: As `Pass.corrupt`.
        """
        if self.windows is None:
            return corrupt(self.images, self.index)
        index, places = torch.unique_consecutive(self.index, return_inverse=True)
        first = torch.searchsorted(places, torch.arange(len(index)))
        return cut(corrupt(self.images[first.to(self.images.device)], index), self.windows, places)

    def pin_memory(self) -> Self:
        """Copy the images to where a GPU reads them while others work; the loader calls this."""
        return replace(self, images=self.images.pin_memory())


class StoredImages(Dataset[ImageBatch]):
    """Reads whole batches from the memory map of an ImageSet."""

    def __init__(self, image_set: Images) -> None:
        parts = windows_of(image_set.images)
        self.images = image_set.images if parts is None else parts.whole
        self.windows = None if parts is None else parts.windows
        self.index = image_set.index

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: Sequence[int]) -> ImageBatch:
        """Read the given rows, in the given order."""
        stored = self.images[rows[0] : rows[-1] + 1] if _adjacent(rows) else self.images[rows]
        return ImageBatch(
            torch.from_numpy(channel_first(stored)),
            torch.from_numpy(self.index[rows]),
            torch.tensor(rows),
            None if self.windows is None else self.windows[rows],
        )


def channel_first(images: Sequence[UInt8Array] | UInt8Array) -> UInt8Array:
    """Copy images (H, W) or (H, W, C), since the map is read-only, to one array (n, C, H, W)."""
    height, width, *channels = images[0].shape
    copied = np.empty((len(images), *(channels or [1]), height, width), np.uint8)
    for image, planes in zip(images, copied, strict=True):
        cv2.split(image, list(planes))  # six times as fast as numpy
    return copied


def _adjacent(rows: Sequence[int]) -> bool:
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))


class RowBatches:
    """Rows 0..count-1 in order, `batch_size` at a time."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.count = count
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, self.count, self.batch_size):
            yield list(range(start, min(start + self.batch_size, self.count)))


def evaluation_loader(
    image_set: ImageSet, *, batch_size: int, num_workers: int
) -> DataLoader[ImageBatch]:
    """Read a split once, in order.

    Args:
        image_set: The split.
        batch_size: Images read at a time; changes no number.
        num_workers: Processes that read; changes no number.
    """
    return _loader(StoredImages(image_set), RowBatches(len(image_set), batch_size), num_workers)


def _loader(dataset: Dataset[ImageBatch], batches: Any, num_workers: int) -> DataLoader[ImageBatch]:
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_as_read,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )


def _as_read(batch: Any) -> Any:
    return batch


@dataclass(frozen=True, slots=True)
class CorruptedBatch:
    """What the encoder takes.

    Attributes:
        images: uint8 (n, C, H, W), corrupted, on the device of the encoder.
        rows: int64 (n,), position in the split.
        number: Of the pass.
        last: Whether the pass ends with it.
        shown: Row -> the corrupted image, uint8 (C, H, W), for the rows asked for.
        ready: On a GPU, the moment from which `images` may be read.
    """

    images: UInt8Batch
    rows: Tensor
    number: int
    last: bool
    shown: Mapping[int, UInt8Array]
    ready: torch.cuda.Event | None = None

    def wait(self) -> UInt8Batch:
        """Return `images`, safe to use in the current stream of their device."""
        if self.ready is not None:
            stream = torch.cuda.current_stream(self.images.device)
            stream.wait_event(self.ready)
            self.images.record_stream(stream)
        return self.images


class PassImages(Dataset[ImageBatch]):
    """Reads whole batches of several passes, with one set of images open at a time."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.reads = [one.read for one in passes]
        self._open: tuple[int, StoredImages] | None = None

    def __getitems__(self, requests: Sequence[Request]) -> ImageBatch:
        """Read the one batch that is asked for."""
        ((number, rows),) = requests
        if self._open is None or self._open[0] != number:
            self._open = number, StoredImages(self.reads[number]())
        return self._open[1].__getitems__(rows)


class PassBatches:
    """All batches of the passes that are wanted, in order: the same at each walk.

    Args:
        passes: What is read.
        batch_size: Images a batch.
        kept: Of the passes over clean images, all but the first one need not read so many batches.
    """

    def __init__(self, passes: Sequence[Pass], batch_size: int, kept: int = 0) -> None:
        self._passes = passes
        self._rows = [RowBatches(one.count, batch_size) for one in passes]
        self._wanted: dict[int, bool] = {}
        self._kept = kept * batch_size

    def __len__(self) -> int:
        """Return how many there are at most."""
        return sum(map(len, self._rows))

    def __iter__(self) -> Iterator[Sequence[Request]]:
        """Give what is to be read."""
        return ([request] for request, is_kept in self.walk(reading=True) if not is_kept)

    def walk(self, *, reading: bool = False) -> Iterator[tuple[Request, bool]]:
        """Give every batch, and whether an earlier pass has read it and kept it.

        With `reading`, passes of which nothing is left to read are left out, and not asked for.
        """
        filled = False
        for number, batches in enumerate(self._rows):
            clean = self._passes[number].clean
            kept = self._kept if clean and filled else 0
            if (reading and batches.count <= kept) or not self._is_wanted(number):
                continue
            for rows in batches:
                yield (number, rows), rows[0] < kept
            filled |= clean

    def _is_wanted(self, number: int) -> bool:
        if number not in self._wanted:
            self._wanted[number] = self._passes[number].wanted()
        return self._wanted[number]

    def keeps(self, request: Request) -> bool:
        """Say whether a batch that was read is kept for later passes."""
        number, rows = request
        return self._passes[number].clean and rows[0] < self._kept


class CorruptedBatches:
    """Batches of several passes, one pass after the other, made ahead of their use.

    A thread reads the next batches and corrupts them while the caller encodes; the kernels release
    the interpreter. On a GPU the batches are moved and corrupted in a stream of their own. Not even
    between two passes does the encoder wait. Where the encoder has every core of a CPU, the thread
    only reads: kernels beside it would make its threads wait for one another, and cost more than
    they do in turn.

    Args:
        passes: What to read and how to corrupt it.
        batch_size: Images read and corrupted at a time; changes no number.
        num_workers: Processes that read; changes no number.
        device: Of the encoder.
        kept_bytes: What clean images may take there to stay; changes no number.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        *,
        batch_size: int,
        num_workers: int,
        device: torch.device,
        kept_bytes: int = 0,
    ) -> None:
        self.passes = passes
        self.device = device
        self._batches = PassBatches(passes, batch_size, _batches_in(kept_bytes, passes, batch_size))
        self._loader = _loader(PassImages(passes), self._batches, num_workers)
        self._running: Generator[Any, None, None] | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[CorruptedBatch]:
        reading = iter(self._loader)  # its processes are forked here, while no thread works
        if self.device.type == "cpu" and torch.get_num_threads() >= (os.cpu_count() or 1):
            self._running = ahead(reading)
            return self._corrupted(self._running)
        self._running = ahead(self._corrupted(reading))
        return self._running

    def close(self) -> None:
        """Stop the thread and the processes that read."""
        if self._running is not None:
            self._running.close()

    def _corrupted(self, reading: Iterator[ImageBatch]) -> Iterator[CorruptedBatch]:
        stream = streams.corrupting(self.device)
        kept: dict[int, ImageBatch] = {}
        for request, is_kept in self._batches.walk():
            number, rows = request
            one = self.passes[number]
            with streams.inside(stream):
                batch = kept[rows[0]] if is_kept else self._moved(next(reading))
                if self._batches.keeps(request):
                    kept[rows[0]] = batch
                images = batch.corrupted(one.corrupt)
                shown = {
                    row: images[position].cpu().numpy().copy()
                    for position, row in enumerate(rows)
                    if row in one.show
                }
            ready = None if stream is None else stream.record_event()
            last = rows[-1] + 1 == one.count
            yield CorruptedBatch(images, batch.rows, number, last, shown, ready)

    def _moved(self, batch: ImageBatch) -> ImageBatch:
        return replace(batch, images=batch.images.to(self.device, non_blocking=True))


def kept_bytes(device: torch.device) -> int:
    """Return what clean images may take on a device, so that they are read once for many passes.

    On a CPU a thread that reads takes turns with the encoder; few are kept, for memory is shared.
    """
    if device.type != "cuda":
        return KEPT_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return int(KEPT_SHARE * free)


def _batches_in(size: int, passes: Sequence[Pass], batch_size: int) -> int:
    """Count the batches of clean images that fit."""
    opened = next((one.read() for one in passes if one.clean), None) if size else None
    if opened is None or not len(opened):
        return 0
    return int(size // (batch_size * opened.images[0].nbytes))


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Make items in a thread, `AHEAD` of them before they are asked for; errors come in turn."""
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="medrobust-ahead") as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item
