"""Passes in which a method answers the images of all conditions of a table in one order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.datasets.image_set import ImageSet
from medrobust.engine.passes import Encoded, Images
from medrobust.evaluation.columns import Column
from medrobust.evaluation.mixture import Mixture
from medrobust.tasks.base import StreamHead
from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .answering import Answering, Stream
from .encoding import Encoding


@dataclass(frozen=True, slots=True)
class Mixing(Answering):
    """A pass over the images of every condition; what was missing of their cells is written.

    A row is number c N + n: image n of N under condition c of the mixture.
    """

    @property
    def mixture(self) -> Mixture:
        """What is mixed."""
        assert self.encoding.first.mixture is not None
        return self.encoding.first.mixture

    @property
    def read(self) -> Callable[[], Images]:
        """Opens the images that are read for each condition, in the order of the stream."""
        columns = tuple(self.mixture.conditions)
        return partial(_opened, self.encoding.image_set, columns, self.rows)

    def corrupt(self, images: UInt8Batch, index: Tensor) -> UInt8Batch:
        """Corrupt each image as its condition has it; `index` is that of the stream."""
        image_set, rows = self.encoding.image_set, index.numpy()
        numbers, own = np.divmod(rows, len(image_set))
        corrupted = images.clone()
        for number in np.unique(numbers):
            column, severity = self.mixture.conditions[number]
            if column is None:
                continue
            places = torch.from_numpy(np.flatnonzero(numbers == number))
            there = places.to(images.device)
            corrupted[there] = column(
                images[there],
                severity=severity,
                seed=self.seed,
                stream=image_set.stream,
                index=torch.from_numpy(image_set.index[own[places.numpy()]]),
            )
        return corrupted

    def finished(self, encoded: Encoded) -> None:
        """Give each cell the answers to its own images, in the order of the split."""
        image_set = self.encoding.image_set
        places = torch.from_numpy(np.argsort(self.rows))
        every = encoded.features[places.to(encoded.features.device)]
        answers = every.reshape(len(self.mixture.digests), len(image_set), -1)
        parts = []
        for cell, head in self.encoding.missing:
            number = self.mixture.place(cell.key.encoding)
            shown = {
                int(self.rows[place]) % len(image_set): image
                for place, image in encoded.shown.items()
                if self.rows[place] // len(image_set) == number
            }
            part = Encoding(image_set, cell, ((cell, head),))
            notes = self.shared.notes
            parts.append((part, Encoded(answers[number], shown, notes=notes)))
        self.queue.done(self.encoding)
        self.writer.write_parts(self.encoding, parts)


class MixedStream(Stream):
    """What the pass of a mixture has: the encoder with its session, in the order of all images.

    Args:
        head: Its method answers.
        image_set: The split.
        mixture: The conditions.
    """

    def __init__(self, head: StreamHead, image_set: Any, mixture: Mixture) -> None:
        super().__init__(head, image_set)
        self.order = head.order(image_set, mixture.digests)
        self.index = image_set.index[self.order % len(image_set)]


class MixedRows:
    """Images of every condition as they are read, in the order of a stream; read when asked for.

    Args:
        sources: uint8 (N, H, W) or (N, H, W, 3), what is read for each of C conditions.
        rows: int64 (C N,), numbers c N + n.
    """

    def __init__(self, sources: Sequence[UInt8Array], rows: Int64Array) -> None:
        self.sources, self.rows = sources, rows
        self.dtype, self.ndim = sources[0].dtype, sources[0].ndim
        self.shape = (len(rows), *sources[0].shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows: an integer, a slice, a list or an array."""
        rows = self.rows[key]
        if rows.ndim == 0:
            number, row = divmod(int(rows), len(self.sources[0]))
            return np.asarray(self.sources[number][row])
        return np.stack([self[place] for place in np.arange(len(self))[key]])


@dataclass(frozen=True, slots=True)
class _Mixed:
    """What the engine reads of a stream: images, and their numbers in place of keys."""

    images: UInt8Array
    index: Int64Array

    def __len__(self) -> int:
        return len(self.index)


def _opened(
    image_set: ImageSet, conditions: Sequence[tuple[Column | None, int]], rows: Int64Array
) -> Images:
    read = [
        image_set if column is None else column.images(image_set, severity)
        for column, severity in conditions
    ]
    return _Mixed(cast(UInt8Array, MixedRows([one.images for one in read], rows)), rows)
