"""Means over data sets, in a stated order: severities, corruptions, data sets, modalities.

Ratios are formed on each data set and then averaged, every set counting the same. A model that
lacks one of the sets has no mean over them. Sets on which the model or the reference is at chance
are averaged apart: two models at chance both score an mCE of 100 and it means nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from medrobust.metrics import Estimate, Metric

from .matrix import Matrix
from .modalities import modality
from .uncertainty import OWN_REFERENCE, joined


@dataclass(frozen=True, slots=True)
class Average:
    """One mean over data sets.

    Attributes:
        label: Row label of the model.
        suite: Common suite of the columns ("registry" where every set has its own).
        over: "all sets", "sets beyond chance", "sets at chance", or "modality: NAME"; with
            " by patient" behind it where images were joined.
        metric: "clean", "mean" or "mCE".
        of: What it is made from.
        metric_of: What tables say of that.
        estimate: The mean with its interval, empty where a set is missing.
        sets: Data sets that it covers.
        planned: How many there are.
    """

    label: str
    suite: str
    over: str
    metric: str
    of: str
    metric_of: Metric
    estimate: Estimate
    sets: tuple[str, ...]
    planned: int


def averages(matrices: Sequence[Matrix]) -> list[Average]:
    """Average over data sets, for every model and suite that spans at least two of them."""
    found = []
    for (units, suite), same in _by_suite(matrices).items():
        labels = dict.fromkeys(row.label for matrix in same for row in matrix.rows)
        for label in labels:
            for of in dict.fromkeys(of for matrix in same for of in matrix.losses):
                ours = [matrix for matrix in same if of in matrix.losses]
                means = _of_label(label, suite, of, ours)
                found += [replace(mean, over=mean.over + units) for mean in means]
    return found


def _by_suite(matrices: Sequence[Matrix]) -> dict[tuple[str, str], list[Matrix]]:
    """Sort by what numbers are over ("", " by patient") and by suite.

    Registries of MedMNIST-C, one a data set, are one suite. Phantoms are never averaged with images
    of patients, nor images with what they were joined to.
    """
    sorted_: dict[tuple[str, str], list[Matrix]] = {}
    real = [matrix for matrix in matrices if not matrix.demonstration]
    for matrix in real or matrices:
        table = matrix.table
        suite = "registry" if table.suite == matrix.data.name else table.suite
        joined = table.unit != "image"
        units = table.dataset.removeprefix(matrix.data.name) if joined else ""
        sorted_.setdefault((units, suite), []).append(matrix)
    return {
        (units, suite): same
        for (units, suite), same in sorted_.items()
        if suite != "none" and len({m.table.dataset for m in same}) > 1
    }


def _of_label(label: str, suite: str, of: str, same: Sequence[Matrix]) -> list[Average]:
    kinds = dict.fromkeys(modality(matrix.data.name) for matrix in same)
    parts: list[tuple[str, Callable[[Matrix], bool]]] = [
        ("all sets", lambda matrix: True),
        ("sets beyond chance", lambda matrix: not _marked(matrix, label)),
        ("sets at chance", lambda matrix: _marked(matrix, label)),
        *((f"modality: {kind}", _of_kind(kind)) for kind in kinds if len(kinds) > 1),
    ]
    result = []
    for over, belongs in parts:
        chosen = [matrix for matrix in same if belongs(matrix)]
        if chosen and (over != "sets beyond chance" or len(chosen) < len(same)):
            made = ("clean", "mean", "mCE") if of in chosen[0].ratios else ("clean", "mean")
            result += [_average(label, suite, over, metric, of, chosen) for metric in made]
    return result


def _of_kind(kind: str) -> Callable[[Matrix], bool]:
    return lambda matrix: modality(matrix.data.name) == kind


def _marked(matrix: Matrix, label: str) -> bool:
    row = _row(matrix, label)
    return row is not None and bool(matrix.rows[row].chance_marks)


def _row(matrix: Matrix, label: str) -> int | None:
    return next((i for i, row in enumerate(matrix.rows) if row.label == label), None)


def _average(
    label: str, suite: str, over: str, metric: str, of: str, matrices: Sequence[Matrix]
) -> Average:
    parts, sets = [], []
    for matrix in matrices:
        row = _row(matrix, label)
        found = Estimate(None) if row is None else whole(matrix, of, row, metric)
        if found.value is not None:
            parts.append(found)
            sets.append(matrix.table.dataset)
    complete = len(parts) == len(matrices)
    estimate = _joined(parts) if complete else Estimate(None)
    said = matrices[0].task.metrics[of]
    return Average(label, suite, over, metric, of, said, estimate, tuple(sets), len(matrices))


def _joined(parts: Sequence[Estimate]) -> Estimate:
    """Average; the mCE of a reference itself, 1 by definition, adds nothing to the interval."""
    if all(one.low is None for one in parts):
        return joined(parts)
    exact = Estimate(1.0, 1.0, 1.0)
    return joined([exact if one.note == OWN_REFERENCE else one for one in parts])


def whole(matrix: Matrix, of: str, row: int, metric: str) -> Estimate:
    """Return an aggregate if it covers every planned corruption, else an empty one."""
    found = matrix.estimate(of, row, metric)
    if metric == "clean":
        return found
    mean = matrix.mean(of, row) if metric == "mean" else matrix.mce(of, row)
    return found if mean.covered == mean.planned else Estimate(None)
