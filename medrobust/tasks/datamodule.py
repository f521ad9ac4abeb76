"""Stored images to loaders: uint8 batches with the index and row of each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medrobust.datasets.image_set import ImageSet


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images as stored, read together.

    Attributes:
        images: uint8 (n, C, H, W), C = 1 or 3.
        index: int64 (n,), what the corruption draws are keyed by.
        rows: int64 (n,), position in the split.
    """

    images: Tensor
    index: Tensor
    rows: Tensor


class StoredImages(Dataset[ImageBatch]):
    """Reads whole batches from the memory map of an ImageSet."""

    def __init__(self, image_set: ImageSet) -> None:
        self.images = image_set.images
        self.index = image_set.index

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: Sequence[int]) -> ImageBatch:
        """Read the given rows, in the given order."""
        stored = self.images[rows[0] : rows[-1] + 1] if _adjacent(rows) else self.images[rows]
        channel_first = stored[:, None] if stored.ndim == 3 else np.moveaxis(stored, -1, 1)
        return ImageBatch(
            torch.from_numpy(np.array(channel_first, order="C")),  # a copy: the map is read-only
            torch.from_numpy(self.index[rows]),
            torch.tensor(rows),
        )


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
        batch_size: Images read and corrupted at a time; changes no number.
        num_workers: Processes that read; changes no number.
    """
    return DataLoader(
        StoredImages(image_set),
        batch_sampler=RowBatches(len(image_set), batch_size),
        collate_fn=_as_read,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
    )


def _as_read(batch: Any) -> Any:
    return batch
