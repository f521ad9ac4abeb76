"""Accuracy estimated without labels, per cell against the truth: label_free.csv and a section.

Every method learns on the clean validation cell of its row, sees a cell of the evaluated split
without its labels, and is then judged by them. What counts is whether it errs less than "no change"
does, which says that accuracy is what it was on the validation images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import label_free
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.calibration import fit_temperature
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.label_free import Answers
from medrobust.metrics.scores import probabilities
from medrobust.reporting.figures import title
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array, Int64Array, LabelKind

RESAMPLES = 200

METHODS: Mapping[str, str] = {
    "no_change": "no change",
    "ac": "AC",
    "doc": "DoC",
    "atc_mc": "ATC-MC",
    "atc_ne": "ATC-NE",
    "cbpe": "CBPE",
    "cot": "COT",
    "cott": "COTT",
    "gde": "GDE (prompt sets)",
}
"""Method -> what tables call it."""

COLUMNS = (
    "model", "label", "dataset", "split", "suite", "corruption", "severity", "method", "estimate",
    "low", "high", "accuracy", "error", "nuclear_norm", "n", "cell",
)  # fmt: skip

EXPLAINED = (
    "Mean absolute error, in points of accuracy, of accuracy estimated without labels, over all "
    "corrupted cells of a row; in brackets 95 % over images (validation and test drawn anew, each "
    'apart). Learned on clean validation images, at the temperature fitted there. Below "no '
    'change" a method is of use. AC: mean confidence; DoC: difference of confidences; ATC: share '
    "above a threshold; CBPE: calibrated chance of the answer; COT, COTT: optimal transport; GDE: "
    "how often prompt sets agree. No method is right under every change."
)


@dataclass(frozen=True, slots=True)
class LabelFree:
    """What may be asked.

    Args:
        transport: Also COT and COTT, which solve an assignment for every cell.
    """

    transport: bool = True


SETTINGS = LabelFree


@dataclass(frozen=True, slots=True)
class Estimated:
    """Accuracy of one cell, estimated by one method.

    Attributes:
        row: Of the matrix.
        place: Corruption and severity.
        cell: What was estimated.
        method: One of `METHODS`.
        value: The estimate.
        draws: float64 (B,), of images drawn anew; empty where there are none.
        truth: The accuracy.
        truth_draws: float64 (B,), of the same draws.
        norm: Nuclear norm of the probabilities, a score that goes with accuracy.
    """

    row: int
    place: tuple[str, int]
    cell: StoredCell
    method: str
    value: float
    draws: Float64Array
    truth: float
    truth_draws: Float64Array
    norm: float


def section(report: Report) -> Section | None:
    """Return the table of errors where it was asked for and a row has a clean validation cell."""
    asked = report.readings.get("label_free")
    if asked is None:
        return None
    found = [
        (matrix, one)
        for matrix in report.matrices
        for one in estimates(matrix, transport=asked.transport)
    ]
    if not found:
        return None
    rows = [_csv_row(matrix, one) for matrix, one in found]
    return Section(
        "Accuracy without labels",
        order=58,
        shows="accuracy",
        html=_html(report.matrices, found),
        files={"label_free.csv": csv_bytes(rows, COLUMNS)},
        rows={"label_free.csv": "a cell and method"},
    )


def estimates(matrix: Matrix, *, transport: bool = True) -> Iterator[Estimated]:
    """Estimate every corrupted cell of every row that has a clean validation cell."""
    kind = matrix.data.label_kind
    if matrix.task.kind != "classification" or kind is None or matrix.data.labels.ndim != 1:
        return
    sources = {}
    for place, cell in sorted(matrix.cells.items(), key=lambda pair: tuple(map(str, pair[0]))):
        row, name, level = place
        known = matrix.measured.validation(cell)
        if known is None or level == 0 or cell.spec.split == "val":
            continue
        if row not in sources:
            sources[row] = Source(known, kind, transport)
        twins = [
            other
            for (r, *rest), other in matrix.cells.items()
            if r != row and rest == [name, level] and _same_model(other, cell)
        ]
        yield from sources[row].estimate(row, (name, level), cell, twins)


def _same_model(first: StoredCell, other: StoredCell) -> bool:
    """Say whether two cells differ in their prompts alone."""
    return bool(first.record["encoding_fingerprint"] == other.record["encoding_fingerprint"])


class Source:
    """What is learned on a clean validation cell.

    Args:
        cell: Of the validation split.
        kind: Of the labels, one an image.
        transport: Whether COT and COTT are computed.
    """

    def __init__(self, cell: StoredCell, kind: LabelKind, transport: bool) -> None:
        self.kind, self.labels, self.transport = kind, cell.data.labels, transport
        logits = cell.arrays["logits"]
        self.temperature = fit_temperature(logits, self.labels, kind)
        self.answers = self.read(logits, self.labels)
        self.marginal = label_free.class_shares(self.labels, logits.shape[1])
        self.counts = _draws(cell)

    def read(self, logits: NDArray[np.float32], labels: Int64Array) -> Answers:
        """Return the answers at the fitted temperature."""
        chances = probabilities(logits.astype(np.float64) / self.temperature, self.kind)
        return Answers(chances, chances.argmax(axis=1) == labels)

    def estimate(
        self, row: int, place: tuple[str, int], cell: StoredCell, twins: Sequence[StoredCell]
    ) -> Iterator[Estimated]:
        """Estimate a cell by every method."""
        target = self.read(cell.arrays["logits"], cell.data.labels)
        assert target.right is not None
        counts = _draws(cell)
        values = self._values(target, twins)
        drawn = self._drawn(target, counts)
        truth_draws = _means(counts, target.right.astype(float))
        norm = label_free.nuclear_norm(target.chances)
        for method, value in values.items():
            yield Estimated(
                row,
                place,
                cell,
                method,
                value,
                drawn.get(method, np.empty(0)),
                float(target.right.mean()),
                truth_draws,
                norm,
            )

    def _values(self, target: Answers, twins: Sequence[StoredCell]) -> dict[str, float]:
        source = self.answers
        assert source.right is not None
        found = {
            "no_change": float(source.right.mean()),
            "ac": label_free.average_confidence(target),
            "doc": label_free.difference_of_confidences(source, target),
            "atc_mc": label_free.thresholded_confidence(
                source.confidence, source.right, target.confidence
            ),
            "atc_ne": label_free.thresholded_confidence(
                source.negative_entropy, source.right, target.negative_entropy
            ),
            "cbpe": label_free.expected_accuracy(self._calibrated(target), target.predicted),
        }
        if self.transport:
            found["cot"] = label_free.transported_accuracy(target, self.marginal)
            found["cott"] = label_free.thresholded_transport(source, target, self.marginal)
        if twins:
            others = [twin.arrays["logits"].argmax(axis=1) for twin in twins]
            agree = [label_free.agreement(target.predicted, other) for other in others]
            found["gde"] = float(np.mean(agree))
        return found

    def _calibrated(self, target: Answers) -> Float64Array:
        return label_free.calibrated(self.answers.chances, self.labels, target.chances)

    def _drawn(self, target: Answers, counts: Int64Array) -> dict[str, Float64Array]:
        """Estimate from images drawn anew, calibration and temperature held fixed."""
        source, known = self.answers, self.counts
        assert source.right is not None
        accuracy = _means(known, source.right.astype(float))
        confidence = _means(counts, target.confidence)
        difference = confidence - _means(known, source.confidence)
        chance = self._calibrated(target)[np.arange(len(target.chances)), target.predicted]
        return {
            "no_change": accuracy,
            "ac": confidence,
            "doc": np.clip(accuracy + difference, 0.0, 1.0),
            "atc_mc": _thresholded(
                source.confidence, source.right, known, target.confidence, counts
            ),
            "atc_ne": _thresholded(
                source.negative_entropy, source.right, known, target.negative_entropy, counts
            ),
            "cbpe": _means(counts, chance),
        }


def _draws(cell: StoredCell) -> Int64Array:
    """Draw how often each image is taken, patients whole: int64 (B, N), equal for all models."""
    groups = group_codes(cell.data.groups)
    units = len(cell.data) if groups is None else int(groups.max()) + 1
    key = f"medrobust label-free/{cell.data.fingerprint}"
    counts = resample_counts(key, units, resamples=RESAMPLES)
    return counts if groups is None else counts[:, groups]


def _means(counts: Int64Array, values: Float64Array) -> Float64Array:
    found: Float64Array = (counts @ values) / counts.sum(axis=1)
    return found


def _thresholded(
    source: Float64Array,
    right: NDArray[np.bool_],
    known: Int64Array,
    target: Float64Array,
    counts: Int64Array,
) -> Float64Array:
    """Return ATC for each draw: thresholds from the source, shares from the target."""
    order = np.argsort(source, kind="stable")
    passed = known[:, order].cumsum(axis=1) > (known @ ~right)[:, None]
    limits = np.where(passed.any(axis=1), source[order][passed.argmax(axis=1)], np.inf)
    limits = np.where((known @ ~right) == 0, -np.inf, limits)
    ordered = np.argsort(target, kind="stable")
    below = np.c_[np.zeros(len(counts), int), counts[:, ordered].cumsum(axis=1)]
    place = np.searchsorted(target[ordered], limits, side="left")
    found: Float64Array = 1 - below[np.arange(len(counts)), place] / counts.sum(axis=1)
    return found


def _csv_row(matrix: Matrix, one: Estimated) -> dict[str, str]:
    low, high = _bounds(one.draws)
    return {
        "model": matrix.rows[one.row].model,
        "label": matrix.rows[one.row].label,
        "dataset": matrix.table.dataset,
        "split": matrix.table.split,
        "suite": matrix.table.suite,
        "corruption": one.place[0],
        "severity": str(one.place[1]),
        "method": one.method,
        "estimate": number(one.value),
        "low": number(low),
        "high": number(high),
        "accuracy": number(one.truth),
        "error": number(one.value - one.truth),
        "nuclear_norm": number(one.norm),
        "n": str(len(one.cell.data)),
        "cell": one.cell.fingerprint,
    }


def _bounds(draws: Float64Array) -> tuple[float | None, float | None]:
    if not len(draws):
        return None, None
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def mean_errors(found: Sequence[Estimated]) -> dict[str, tuple[float, float | None, float | None]]:
    """Return method -> mean absolute error over cells, with its interval over images."""
    errors = {}
    for method in METHODS:
        own = [one for one in found if one.method == method]
        if not own:
            continue
        value = label_free.mean_absolute_error([o.value for o in own], [o.truth for o in own])
        drawn = [np.abs(o.draws - o.truth_draws) for o in own if len(o.draws)]
        errors[method] = value, *_bounds(np.mean(drawn, axis=0) if drawn else np.empty(0))
    return errors


def _html(matrices: Sequence[Matrix], found: Sequence[tuple[Matrix, Estimated]]) -> str:
    parts = []
    for matrix in matrices:
        own = [one for other, one in found if other is matrix]
        if not own:
            continue
        methods = [name for name in METHODS if any(one.method == name for one in own)]
        rows = []
        for index in sorted({one.row for one in own}):
            errors = mean_errors([one for one in own if one.row == index])
            shown = [_shown(errors[name]) if name in errors else "–" for name in methods]
            rows.append([matrix.rows[index].label, *shown])
        head = ["model", *(METHODS[name] for name in methods)]
        parts.append(f"<h3>{escape(title(matrix))}</h3>{plain_table(head, rows, tight=True)}")
    return (
        '\n<section aria-labelledby="label-free"><h2 id="label-free">Accuracy without labels</h2>'
        f'<p class="soft small">{escape(EXPLAINED)}</p>{"".join(parts)}</section>'
    )


def _shown(error: tuple[float, float | None, float | None]) -> str:
    value, low, high = error
    text = f"{100 * value:.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"
