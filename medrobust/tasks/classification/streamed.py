"""Answers of a method that adapts the model while the images of a split come, without a label.

A head of a cell of its own, as those of `online`; but what it reads is not the model's features:
the pass that it has to itself gives its answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    NotFiniteError,
    UnknownNameError,
)
from medrobust.keys import Draws, derive_key
from medrobust.tasks.base import ONLINE, HeadDescription, ModelSide
from medrobust.types import Int64Array

if TYPE_CHECKING:
    from medrobust.types import LogitBatch, UInt8Batch

    from .logits import ClassHead

SOURCE = "source"
"""Key of a method that reads clean images of another split: their fingerprint."""


def read_besides(method: Any, data: Any) -> dict[str, Any]:
    """Return what decides the clean images of another split that a method reads, if it does.

    Raises:
        ConfigurationError: If the data set has no such split.
    """
    if method.source() is None:
        return {}
    return {SOURCE: _other_split(method, data).fingerprint}


READS_NONE = {
    "eata": "Choose eta, which reads none.",
    "norm_swap": "Name one by split, or set images: 0, which reads none.",
}
"""Method that reads clean images -> what to do where there are none."""


def _other_split(method: Any, data: Any) -> Any:
    split, _ = method.source()
    try:
        return data.other_split(split)
    except (DatasetNotFoundError, UnknownNameError) as error:
        raise ConfigurationError(
            f"adapter.online={method.method} reads clean images of {split!r}, which {data.name!r} "
            f"has not ({error}). {READS_NONE.get(method.method, 'Name one by split.')}"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What a session may use of its cell, as `medrobust.adapters.online.adapting.Scene` has it."""

    model: Any
    head: Any
    texts: Any
    stream: str
    source: Any
    kept: dict[str, Any]


class StreamedHead:
    """Gives the logits of a method that answers images while they come.

    Args:
        side: The model that answers.
        description: Of `adapted_heads`.
        data: Facts of the split.

    Attributes:
        looks: Whether it sees all images before it answers the first one.
        goes_on: Whether it keeps what it has learned from one condition to the next.
    """

    def __init__(self, side: ModelSide, description: HeadDescription, data: Any) -> None:
        assert side.trained is not None
        self._method = side.trained.method(description[ONLINE])
        self._own = own_head(side, description, data)
        self._texts = description.get("texts", ())
        self._size: int = side.source.micro_batch
        self._kept: dict[str, Any] = {}
        self.looks: bool = self._method.looks
        self.goes_on: bool = self._method.begins_anew == "continual"

    def order(self, data: Any, conditions: Sequence[str] = ()) -> Int64Array:
        """Return the rows of a split in the order in which they come, int64 (N,).

        Args:
            data: The split.
            conditions: Where images of several conditions are mixed, their C digests: (C N,) comes
                back, N rows of the first condition, then N of the second, and so on.
        """
        if not self._method.ordered:
            return np.arange(len(data.index), dtype=np.int64)
        return stream_order(data.index, data.stream, self._method.order, conditions)

    def stream(self, model: Any, data: Any) -> Mapping[str, Any]:
        """Return what begins a session on a model, and whether each micro-batch has its own."""
        watched = Watched(
            model,
            deepcopy(self._own.module).to(model.device),
            self._texts,
            data.stream,
            partial(self._source, data),
            self._kept,
        )
        begin = partial(self._method.begin, watched)
        return {"begin": begin, "anew": self._method.begins_anew == "episodic"}

    def _source(self, data: Any, split: str, count: int) -> "Iterator[UInt8Batch]":
        """Yield the first clean images of another split, in the order of their keys."""
        import torch

        other = _other_split(self._method, data)
        rows = stream_order(other.index, other.stream, 0)[:count]
        for start in range(0, len(rows), self._size):
            images = np.stack([other.images[row] for row in rows[start : start + self._size]])
            whole = torch.from_numpy(images)
            yield whole[:, None] if whole.ndim == 3 else whole.permute(0, 3, 1, 2).contiguous()

    def outputs(self, features: "LogitBatch") -> Mapping[str, NDArray[Any]]:
        """Return the answers of a pass, float32 (N, K) on the CPU, as they are.

        Raises:
            NotFiniteError: If some are not finite.
        """
        logits = np.asarray(features.float().numpy())
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                f"logits adapted by {self._method.name} are not finite: its steps are too long for "
                f"this model and these images. The cell was not stored."
            )
        return {"logits": logits}


def own_head(side: ModelSide, description: HeadDescription, data: Any) -> "ClassHead":
    """Return what classifies before anything is adapted, its texts encoded once."""
    own = {name: value for name, value in description.items() if name != ONLINE}
    if side.known_head is not None:
        return side.known_head(own, data)  # type: ignore[return-value]  # of this task
    from .logits import class_head

    return class_head(side, own)


def stream_order(
    index: Int64Array, stream: str, order: int, conditions: Sequence[str] = ()
) -> Int64Array:
    """Return rows in the order in which the images of a split come.

    It follows from the keys of the images alone: not from how they lie in the split, who reads them
    or which corruption they are under. Left-out images leave the others' order as it is.

    Args:
        index: int64 (N,), as of an `ImageSet`.
        stream: Name of data set and split.
        order: Which of many orders.
        conditions: Digests of C conditions whose images are mixed: int64 (C N,) comes back, and
            each image under each condition has a key of its own.

    Example:
        >>> index = np.array([10, 11, 12, 13, 14, 15])
        >>> keys = index[stream_order(index, "toy/test", 0)]
        >>> bool((index[::-1][stream_order(index[::-1], "toy/test", 0)] == keys).all())
        True
    """
    import torch

    rows = torch.from_numpy(np.ascontiguousarray(index))
    purpose = "order of images online"
    purposes = [f"{purpose}, {one}" for one in conditions] or [purpose]
    keys = [derive_key(order, stream, purpose, 0) for purpose in purposes]
    words = np.concatenate([Draws(key, rows).words(2).numpy() for key in keys])
    every = np.tile(index, len(keys))
    return np.lexsort((every, words[:, 1], words[:, 0])).astype(np.int64)
