"""What the default recipe keeps of each study: a few hundred numbers that can be added up.

Windows of days, resampled clean streams and halves of the reference are then sums of rows, so that
limits are set on thousands of clean days in seconds, and a monitor folder needs no study's vector:
it keeps sums of days.

Streams: every measure, in bins of the reference, missing values as a bin of their own (KS);
every category (chi-squared); each score, the predicted class; of the embedding its mean (leading
components, whitened), its shape (random Fourier features of these: MMD), its distance from the
reference within and outside the components. Statistics are scaled so that they do not grow with the
number of studies of an unchanged stream.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from medrobust.base.wording import counted
from medrobust.exceptions import InvalidDataError
from medrobust.metrics.comparisons import generator
from medrobust.metrics.drift.detectors import LARGEST, SHAPE, detector_of
from medrobust.metrics.drift.kernels import median_bandwidth
from medrobust.metrics.drift.univariate import MISSING
from medrobust.metrics.label_free import threshold
from medrobust.types import Float32Array, Float64Array, Int64Array

from .studies import Studies

BINS = 32
"""Of a measure; as many studies of the reference in each."""

COMPONENTS = 32
STUDIES_PER_COMPONENT = 30
"""Of the reference: whitening must not fit its noise."""

WAVES = 64
"""Random Fourier features."""

SCORES = 30
"""Scores up to which each is a stream of its own."""

FOLDS = 5
"""Parts of the reference whose distances are measured without them."""

SLACK = 1e-3
"""By which the sum of the probabilities of a study may differ from 1."""

NO_CONFIDENCE = (
    "this monitor was fitted with labels to scores that are no probabilities, and estimates no "
    "accuracy: fit a new one, to the softmax of logits."
)
"""Said of monitors that were fitted before such scores were refused."""

LARGE = 1e30
"""Stands for an infinite threshold, which JSON has no word for."""

DISTANCES = ("embedding distance", "embedding residual")

Kind = Literal["ordered", "category", "mean"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream and its columns among the numbers that are kept of each study.

    Attributes:
        name: For people.
        kind: How windows are compared: KS over bins, chi-squared, or distance of means.
        start: First column.
        stop: Column after the last.
    """

    name: str
    kind: Kind
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """What the reference says of top scores, with its labels.

    Attributes:
        accuracy: Of the reference.
        mean: Of its top scores.
        threshold: As many top scores of the reference lie below it as answers are wrong (ATC).
    """

    accuracy: float
    mean: float
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class Digester:
    """Turns studies into rows of numbers whose sums describe a window.

    Attributes:
        edges: Measure -> float64 (BINS - 1,), inner edges of its bins.
        categories: Stream -> its categories in the reference.
        arrays: "mean" (D,), "components" (D, C), "waves" (C, WAVES / 2) of the embedding; empty
            without one.
        scores: Number of scores; 0 without.
        confidence: What the reference with its labels says of confidences; None without labels.
        streams: All streams, in the order of their columns.
    """

    edges: Mapping[str, Float64Array]
    categories: Mapping[str, tuple[str, ...]]
    arrays: Mapping[str, Float64Array]
    scores: int
    confidence: "Confidence | None" = None
    streams: tuple[Stream, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self._streams()))

    def _streams(self) -> Iterator[Stream]:
        sizes: list[tuple[str, Kind, int]] = [(n, "ordered", BINS + 1) for n in self.edges]
        sizes += [(n, "category", len(c) + 1) for n, c in self.categories.items()]
        if self.arrays:
            sizes.append(("embedding mean", "mean", self.arrays["components"].shape[1]))
            sizes.append((SHAPE, "mean", WAVES))
        start = 0
        for name, kind, size in sizes:
            yield Stream(name, kind, start, start + size)
            start += size

    def column(self, detector: str) -> int | None:
        """Return the column of `statistics` that a detector follows; None: the largest of all.

        Raises:
            InvalidDataError: If these studies have no such stream.
        """
        follows, names = detector_of(detector).follows, [one.name for one in self.streams]
        if follows == LARGEST:
            return None
        if follows not in names:
            raise InvalidDataError(
                f"{detector} follows the stream {follows!r}, and there is no embedding here: give "
                f"features, or choose another --detector."
            )
        return names.index(follows)

    @property
    def misled(self) -> bool:
        """Whether labels were given with scores that are no probabilities, as once was possible."""
        return self.confidence is not None and above_one(self.edges)

    def digest(
        self, studies: Studies, measured: Mapping[str, Float64Array] | None = None
    ) -> Float32Array:
        """Return the row of each study: float32 (N, F).

        Args:
            studies: With the streams of the reference.
            measured: Measures of the reference itself, to be taken as they are.

        Raises:
            InvalidDataError: If accuracy is to be estimated, and scores are no probabilities.
        """
        measures, texts, parts = _derived(studies, self.arrays, wider=measured is not None)
        measures |= measured or {}
        blocks = [_binned(measures[name], edges) for name, edges in self.edges.items()]
        blocks += [_one_hot(texts[name], known) for name, known in self.categories.items()]
        if self.confidence is not None:
            if self.misled:
                raise InvalidDataError(NO_CONFIDENCE)
            _check_probabilities(studies.vectors["scores"])
            top = studies.vectors["scores"].max(axis=1)
            parts.append(np.stack([top, top >= self.confidence.threshold], axis=1))
        return np.concatenate([*blocks, *parts], axis=1, dtype=np.float32)

    def statistics(
        self, sums: Float64Array, counts: Float64Array, reference: Float64Array, size: float
    ) -> Float64Array:
        """Compare windows with a reference: float64 (T, S), a column a stream, 0 or more.

        Args:
            sums: float64 (T, F), sum of the rows of each window.
            counts: float64 (T,), studies of each; above 0.
            reference: float64 (F,), sum of the rows of the reference.
            size: Its studies.
        """
        found = np.empty((len(sums), len(self.streams)))
        scale = counts * size / (counts + size)
        for column, stream in enumerate(self.streams):
            own = sums[:, stream.start : stream.stop]
            known = reference[stream.start : stream.stop]
            off = own / counts[:, None] - known / size
            if stream.kind == "ordered":
                found[:, column] = np.sqrt(scale) * np.abs(off.cumsum(axis=1)).max(axis=1)
            elif stream.kind == "mean":
                found[:, column] = np.sqrt(scale * (off**2).sum(axis=1))
            else:
                pooled = (own + known) / (counts + size)[:, None]
                expected = np.maximum(pooled, 1 / counts[:, None])  # one odd study is no drift
                part = np.where(pooled > 0, off**2, 0.0) / expected
                found[:, column] = np.sqrt(scale * part.sum(axis=1))
        return found

    def sizes_near(self, rows: Float32Array) -> Callable[[Float64Array], Float64Array]:
        """Return what squares differences of mean rows, all columns of a stream alike.

        Args:
            rows: float32 (N, F) whose shares categories are weighted by.
        """
        from .windows_numba import squared_sizes

        shares = np.sqrt(np.maximum(rows.mean(axis=0, dtype=np.float64), 1e-9))

        def sizes(off: Float64Array) -> Float64Array:
            found = np.empty_like(off)
            squared_sizes(off, self.places, shares, found)
            return found

        return sizes

    @property
    def places(self) -> Int64Array:
        """Kind, as kernels number them, first column and column after the last: int64 (S, 3)."""
        from .windows_numba import KINDS

        return np.array([(KINDS[one.kind], one.start, one.stop) for one in self.streams])

    def accuracy(self, sums: Float64Array, counts: Float64Array) -> dict[str, Float64Array]:
        """Estimate the accuracy in windows without labels: "doc", "atc" -> float64 (T,).

        Nothing is estimated without labels of the reference, or from scores that are no
        probabilities.

        Args:
            sums: float64 (T, F), sum of the rows of each window.
            counts: float64 (T,), above 0.
        """
        if self.confidence is None or self.misled:
            return {}
        mean, above = (sums[:, -2:] / counts[:, None]).T
        known = self.confidence
        return {"doc": np.clip(known.accuracy + mean - known.mean, 0.0, 1.0), "atc": above}

    def record(self) -> dict[str, Any]:
        """Return what JSON keeps of it, in the order of the columns; `arrays` are kept beside."""
        return {
            "edges": [[name, values.tolist()] for name, values in self.edges.items()],
            "categories": [[name, list(values)] for name, values in self.categories.items()],
            "scores": self.scores,
            "confidence": None if self.confidence is None else asdict(self.confidence),
        }


def above_one(edges: Mapping[str, Iterable[float]]) -> bool:
    """Say whether the largest scores of a reference pass 1, which no probability does."""
    return max(edges.get("top score", ()), default=0.0) > 1 + SLACK


def read_digester(record: Mapping[str, Any], arrays: Mapping[str, Float64Array]) -> Digester:
    """Read what `record` wrote."""
    return Digester(
        edges={name: np.array(values) for name, values in record["edges"]},
        categories={name: tuple(values) for name, values in record["categories"]},
        arrays=arrays,
        scores=int(record["scores"]),
        confidence=Confidence(**record["confidence"]) if record["confidence"] else None,
    )


def fit_digester(reference: Studies) -> tuple[Digester, Float32Array]:
    """Set bins, categories and components on the studies of a reference; return its rows, too.

    Distances of the embedding are measured from components that were fitted without the study:
    those it was fitted with make it lie nearer than any new one.

    Raises:
        InvalidDataError: If there is no stream, or a stream is the same for every study.
    """
    embedding = reference.vectors.get("embedding")
    arrays = {} if embedding is None else _components(embedding)
    measures, texts, _ = _derived(reference, arrays)
    unseen = {} if embedding is None else _unseen_distances(embedding, reference.days, arrays)
    measures |= unseen
    edges = {}
    for name, values in measures.items():
        known = values[np.isfinite(values)]
        if not len(known):
            raise InvalidDataError(f"stream {name!r} has no value in the reference: ignore it.")
        edges[name] = np.quantile(known, np.arange(1, BINS) / BINS)
    categories = {
        name: tuple(sorted({value or MISSING for value in values.tolist()}))
        for name, values in texts.items()
    }
    if not edges and not categories:
        raise InvalidDataError(
            "the reference has no stream: give features, scores or columns of metadata."
        )
    scores = reference.vectors["scores"].shape[1] if "scores" in reference.vectors else 0
    digester = Digester(edges, categories, arrays, scores, _confidence(reference))
    return digester, digester.digest(reference, unseen)


def _confidence(reference: Studies) -> Confidence | None:
    """Return what labels say of the top scores; None without labels or scores.

    Raises:
        InvalidDataError: If there are labels, and scores are no probabilities.
    """
    if reference.labels is None or "scores" not in reference.vectors:
        return None
    scores = reference.vectors["scores"]
    _check_probabilities(scores)
    right, top = scores.argmax(axis=1) == reference.labels, scores.max(axis=1).astype(np.float64)
    limit = float(np.clip(threshold(top, right), -LARGE, LARGE))
    return Confidence(float(right.mean()), float(top.mean()), limit)


def _check_probabilities(scores: Float32Array) -> None:
    """Refuse scores, float32 (N, K), whose largest is no confidence.

    Raises:
        InvalidDataError: If a row is no distribution over the K classes.
    """
    inside = ((scores >= -SLACK) & (scores <= 1 + SLACK)).all(axis=1)
    bad = ~inside | (np.abs(scores.sum(axis=1, dtype=np.float64) - 1) > SLACK)
    if bad.any():
        row = scores[bad.argmax()].astype(np.float64)
        raise InvalidDataError(
            f"the scores of {counted(int(bad.sum()), 'study')} of {len(scores)} are no "
            f"probabilities (one has {row.min():.3g} to {row.max():.3g}, sum {row.sum():.3g}), and "
            f"accuracy is estimated from these: give the softmax of logits, each from 0 to 1 and "
            f"their sum 1, or fit without --label, which watches any scores and estimates none."
        )


def _unseen_distances(
    embedding: Float32Array, days: Int64Array, arrays: Mapping[str, Float64Array]
) -> dict[str, Float64Array]:
    """Measure each study by as many components, fitted without its day and those of its fold."""
    folds = days % FOLDS
    count = arrays["components"].shape[1]
    found = {name: np.empty(len(embedding)) for name in distances(embedding[:1], arrays)}
    for fold in np.unique(folds):
        out = folds == fold
        kept = embedding[~out] if (~out).sum() > count else embedding
        mean = kept.mean(axis=0, dtype=np.float64)
        own = {"mean": mean, "components": _whitened(kept, mean, count)}
        for name, values in distances(embedding[out], own).items():
            found[name][out] = values
    return found


def distances(
    embedding: Float32Array, arrays: Mapping[str, Float64Array]
) -> dict[str, Float64Array]:
    """Return the squared distances from the reference, within and outside the components.

    There is nothing outside where there are as many components as columns.
    """
    rows = embedding - arrays["mean"].astype(np.float32)
    inside = rows @ arrays["components"].astype(np.float32)
    lengths = (1 / np.linalg.norm(arrays["components"], axis=0)).astype(np.float32)
    outside = (rows**2).sum(axis=1) - ((inside * lengths) ** 2).sum(axis=1)
    found = {DISTANCES[0]: (inside**2).sum(axis=1).astype(np.float64)}
    if arrays["components"].shape[0] > arrays["components"].shape[1]:
        found[DISTANCES[1]] = np.maximum(outside, 0).astype(np.float64)
    return found


def _components(embedding: Float32Array) -> dict[str, Float64Array]:
    """Return center, whitened leading components and random waves of an embedding.

    Raises:
        InvalidDataError: If the reference is too small for one component.
    """
    count = min(COMPONENTS, embedding.shape[1], len(embedding) // STUDIES_PER_COMPONENT)
    if count < 1:
        raise InvalidDataError(
            f"a reference of {counted(len(embedding), 'study')} is too small for an embedding: "
            f"give {STUDIES_PER_COMPONENT} or more."
        )
    mean = embedding.mean(axis=0, dtype=np.float64)
    components = _whitened(embedding, mean, count)
    rng = generator("medrobust monitor waves")
    some = (embedding[rng.permutation(len(embedding))[:1000]] - mean) @ components
    waves = rng.standard_normal((components.shape[1], WAVES // 2)) / median_bandwidth(some)
    return {"mean": mean, "components": components, "waves": waves}


def _whitened(embedding: Float32Array, mean: Float64Array, count: int) -> Float64Array:
    """Return the leading components, scaled to spread 1: float64 (D, C), C at most `count`."""
    from scipy import linalg

    centered = embedding - mean.astype(np.float32)
    covariance, size = (centered.T @ centered).astype(np.float64) / len(embedding), len(mean)
    values, axes = linalg.eigh(covariance, subset_by_index=[size - count, size - 1])
    values, axes = values[::-1], axes[:, ::-1]
    kept = values > max(values[0] * 1e-8, 1e-30)
    if not kept.any():
        raise InvalidDataError(
            "the embedding is the same for every study of the reference: no change could be seen. "
            "Encode the images again, or leave the features out."
        )
    axes = axes[:, kept] * np.where(axes[:, kept].sum(axis=0) < 0, -1.0, 1.0)
    found: Float64Array = axes / np.sqrt(values[kept])
    return found


def _derived(
    studies: Studies, arrays: Mapping[str, Float64Array], *, wider: bool = False
) -> tuple[dict[str, Float64Array], dict[str, Any], list[Float32Array]]:
    """Return measures, categories, and what is averaged of the embedding.

    Args:
        studies: Of the reference, or new ones.
        arrays: Components of the reference.
        wider: The studies are those that the components were fitted to: new ones will scatter by
            N / (N - C - 1) more, and are expected to.
    """
    measures = dict(studies.numbers)
    texts: dict[str, Any] = dict(studies.categories)
    parts: list[Float32Array] = []
    scores = studies.vectors.get("scores")
    if scores is not None:
        if scores.shape[1] <= SCORES:
            measures |= {f"score {k}": scores[:, k].astype(float) for k in range(scores.shape[1])}
        measures["top score"] = scores.max(axis=1).astype(float)
        texts["predicted class"] = scores.argmax(axis=1).astype(np.str_)
    if arrays:
        rows = studies.vectors["embedding"] - arrays["mean"].astype(np.float32)
        inside = rows @ arrays["components"].astype(np.float32)
        if wider:
            inside *= np.float32(np.sqrt(len(inside) / (len(inside) - inside.shape[1] - 1)))
        waves = inside @ arrays["waves"].astype(np.float32)
        parts = [inside, np.concatenate([np.cos(waves), np.sin(waves)], axis=1)]
        measures |= distances(studies.vectors["embedding"], arrays)
    return measures, texts, parts


def _binned(values: Float64Array, edges: Float64Array) -> Float32Array:
    """Return float32 (N, BINS + 1): one in the bin of each value, the first for missing ones."""
    found = np.zeros((len(values), len(edges) + 2), np.float32)
    place = np.where(np.isfinite(values), 1 + np.searchsorted(edges, values, side="left"), 0)
    found[np.arange(len(values)), place] = 1
    return found


def _one_hot(values: Sequence[str], known: tuple[str, ...]) -> Float32Array:
    """Return float32 (N, K + 1): one in the category of each value, the last for new ones."""
    place = {name: index for index, name in enumerate(known)}
    codes = [place.get(value or MISSING, len(known)) for value in np.asarray(values).tolist()]
    found = np.zeros((len(codes), len(known) + 1), np.float32)
    found[np.arange(len(codes)), codes] = 1
    return found
