"""Where the right answer stands: exact ranks from features, a block of similarities at a time."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from medrobust.types import FeatureBatch, Float32Array, Int64Array

from .counting import count_above
from .scores import CUTS

TIE = 1e-6
"""Cosines that differ by no more count as equal, and then the wrong answer goes first: a model that
says the same of everything finds nothing. It is ten times what float32 sums differ by when they
are taken in another order."""

BLOCK = 1 << 24
"""Similarities that are held at once: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Found:
    """How well the right answers of each query were found.

    Attributes:
        rank: int32 (Q,), of its best right answer, 1 for the first.
        average_precision: float32 (Q,), over all its right answers.
        hits: int32 (Q, 4), right answers among the first 1, 5, 10 and 100.
        right: int32 (Q,), right answers that there are; 0 where a text belongs to no image.
    """

    rank: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
    average_precision: Float32Array
    hits: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
    right: np.ndarray[tuple[int, ...], np.dtype[np.int32]]


def found_both_ways(
    images: FeatureBatch, texts: FeatureBatch, pairs: Int64Array
) -> tuple[Found, Found]:
    """Rank texts for each image, and images for each text.

    Where every query has one right answer, the similarities are computed once for both.

    Args:
        images: float32 (N, D) of unit norm, on the CPU.
        texts: float32 (C, D), likewise.
        pairs: int64 (P, 2), image and text that belong together, without repeats.

    Returns:
        Of images, and of texts.
    """
    single = len(pairs) == len(images) == len(texts)
    if single and len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs):
        first, second = _ranks_of_one(images, texts, pairs)
        return _single(first), _single(second)
    own = [_rows(pairs[:, side], count) for side, count in ((0, len(images)), (1, len(texts)))]
    return (
        _found(images, texts, Right(own[0], pairs[:, 1])),
        _found(texts, images, Right(own[1], pairs[:, 0])),
    )


def found_by_labels(
    images: FeatureBatch, texts: FeatureBatch, pairs: Int64Array, labels: Int64Array
) -> tuple[Found, Found]:
    """Rank both ways where a text is right for all images that show what one of its own shows.

    Args:
        images: float32 (N, D) of unit norm, on the CPU.
        texts: float32 (C, D), likewise.
        pairs: int64 (P, 2), image and text that were given together, without repeats.
        labels: int64 (N,), the label set of each image by its number, from 0.

    Returns:
        Of images, and of texts.
    """
    shown = np.unique(np.column_stack([labels[pairs[:, 0]], pairs[:, 1]]), axis=0)
    sets = int(labels.max()) + 1
    of_images = Right(_rows(shown[:, 0], sets), shown[:, 1], (np.arange(len(images) + 1), labels))
    starts, places = _rows(shown[:, 1], len(texts))
    of_texts = Right(_rows(labels, sets), np.arange(len(images)), (starts, shown[places, 0]))
    return _found(images, texts, of_images), _found(texts, images, of_texts)


Rows: TypeAlias = tuple[Int64Array, Int64Array]
"""Of each of some things, where its values begin in a list, and the list: (Q + 1,) and (P,)."""


@dataclass(frozen=True, slots=True)
class Right:
    """The right answers of each query, a query or a set of labels at a time.

    Attributes:
        rows: Of each query, or of each set, the places of its answers in `answers`.
        answers: int64 (P,), candidates.
        sets: Of each query, the sets whose answers are right for it; None where its own row is.
    """

    rows: Rows
    answers: Int64Array
    sets: Rows | None = None

    def of(self, queries: slice) -> tuple[Int64Array, Int64Array]:
        """Return how many right answers each query has, and all of them, query by query."""
        chosen = np.arange(queries.start, queries.stop)
        counts = np.ones(len(chosen), np.int64)
        if self.sets is not None:
            chosen, counts = _taken(self.sets, chosen)
        places, lengths = _taken(self.rows, chosen)
        whose = np.repeat(np.arange(len(counts)), counts)
        sums = np.bincount(whose, weights=lengths, minlength=len(counts)).astype(np.int64)
        return sums, self.answers[places]


def _rows(keys: Int64Array, count: int) -> Rows:
    """Return where in a list the entries of each key stand."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))])
    return starts.astype(np.int64), np.argsort(keys, kind="stable").astype(np.int64)


def _taken(rows: Rows, chosen: Int64Array) -> Rows:
    """Return the values of the chosen, one after the other, and how many each has."""
    starts, values = rows
    lengths = starts[chosen + 1] - starts[chosen]
    shifts = np.repeat(starts[chosen] - (np.cumsum(lengths) - lengths), lengths)
    return values[shifts + np.arange(len(shifts))], lengths


def _ranks_of_one(
    images: FeatureBatch, texts: FeatureBatch, pairs: Int64Array
) -> tuple[Tensor, Tensor]:
    """Return the rank of the one right text of each image, and of the one image of each text."""
    partner = torch.empty(len(images), dtype=torch.int64)
    partner[torch.from_numpy(pairs[:, 0].copy())] = torch.from_numpy(pairs[:, 1].copy())
    right = _cosines(images, texts[partner]) - TIE
    of_text = torch.empty_like(right)
    of_text[partner] = right
    ranks = [torch.ones(len(side), dtype=torch.int64) for side in (images, texts)]
    for rows in _blocks(len(images), len(texts)):
        cosines = images[rows] @ texts.T
        cosines[torch.arange(len(cosines)), partner[rows]] = -2
        parts = (cosines, right[rows], of_text, ranks[0][rows], ranks[1])
        count_above(*(part.numpy() for part in parts))
    return ranks[0], ranks[1]


def _found(queries: FeatureBatch, candidates: FeatureBatch, right: Right) -> Found:
    """Rank the candidates for each query, which may have several right ones."""
    parts, numbers = [], []
    for rows in _blocks(len(queries), len(candidates)):
        mine, answers = right.of(rows)
        numbers.append(mine)
        given = torch.from_numpy(mine), torch.from_numpy(answers)
        parts.append(_positions(queries[rows], candidates, *given))
    rank, precision, hits = (torch.cat(part) for part in zip(*parts, strict=True))
    counts = np.concatenate(numbers)
    return Found(
        np.where(counts > 0, rank.int().numpy(), 0).astype(np.int32),
        precision.float().numpy(),
        hits.int().numpy(),
        counts.astype(np.int32),
    )


def _positions(
    queries: FeatureBatch, candidates: FeatureBatch, counts: Tensor, right: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rank, average precision and hits of some queries.

    Args:
        queries: (B, D).
        candidates: (C, D).
        counts: int64 (B,), how many right answers each query has.
        right: int64 (sum of counts,), the right answers, query by query.
    """
    row = torch.repeat_interleave(torch.arange(len(queries)), counts)
    turn = torch.arange(len(right)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    own = torch.full((len(queries), max(1, int(counts.max()))), -2.0)
    own[row, turn] = _cosines(queries[row], candidates[right])
    own = own.sort(dim=1, descending=True).values
    wrong = queries @ candidates.T
    wrong[row, right] = -3
    wrong = wrong.sort(dim=1).values
    before = wrong.shape[1] - torch.searchsorted(wrong, own - TIE, right=True)
    nth = torch.arange(1, own.shape[1] + 1)
    position = before + nth
    there = own > -1.5
    precision = torch.where(there, nth / position.double(), 0.0).sum(1) / counts.clamp(min=1)
    hits = [((position <= cut) & there).sum(1) for cut in CUTS]
    return position[:, 0], precision, torch.stack(hits, dim=1)


def _single(rank: Tensor) -> Found:
    """Return what follows from the rank of the only right answer."""
    hits = torch.stack([(rank <= cut).int() for cut in CUTS], dim=1)
    precision = (1 / rank.double()).float().numpy()
    return Found(rank.int().numpy(), precision, hits.numpy(), np.ones(len(rank), np.int32))


def _cosines(first: FeatureBatch, second: FeatureBatch) -> Tensor:
    """Return the cosine of each row with its partner: float32 (N,), summed in float64."""
    parts = zip(torch.split(first, 4096), torch.split(second, 4096), strict=True)
    return torch.cat([(a.double() * b.double()).sum(1) for a, b in parts]).float()


def _blocks(queries: int, candidates: int) -> list[slice]:
    """Divide queries so that a block of similarities stays below `BLOCK`."""
    rows = max(1, BLOCK // max(1, candidates))
    return [slice(start, min(start + rows, queries)) for start in range(0, queries, rows)]
