"""Numbers of stored cells, each computed once, with what aggregates need of them."""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import DataRecord, StoredCell
from medrobust.metrics import Estimate, Reading, cell_estimates
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.calibration import fit_temperature, likelihood_terms
from medrobust.metrics.classification import one_versus_rest
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.detection import operating_point
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import mean_interval, mean_of_shares_interval
from medrobust.tasks.base import Scores, Terms
from medrobust.types import Float32Array, Float64Array, Int64Array

MANY = 2000
"""Cells from which on processes of their own are worth their start."""

CHUNK = 100

Features: TypeAlias = Callable[[str], Float32Array | None]
"""Encoding fingerprint -> image features, or None where none were kept."""


class Measured:
    """Metrics of cells, and what each unit adds to them, each computed once.

    Args:
        validation: Variant of a row and data set -> its clean validation cell, on which operating
            point and temperature are fitted.
        features: Returns kept image features, for the drift.
    """

    def __init__(
        self,
        validation: Mapping[tuple[str, str], StoredCell] | None = None,
        features: Features | None = None,
    ) -> None:
        self._scores: dict[str, Scores] = {}
        self._groups: dict[str, Int64Array | None] = {}
        self._drawn: tuple[str, Int64Array] | None = None
        self._fits: dict[tuple[str, str], _Fit] = {}
        self._validation = dict(validation or {})
        self._features = features

    def __call__(self, cell: StoredCell) -> dict[str, float | None]:
        """Return name -> value of the cell."""
        return {name: found.value for name, found in self.scores(cell).estimates.items()}

    def scores(self, cell: StoredCell) -> Scores:
        """Return the numbers of a cell and what each unit adds to them."""
        if cell.fingerprint not in self._scores:
            self._scores[cell.fingerprint] = self._measure(cell)
        return self._scores[cell.fingerprint]

    def terms(self, cell: StoredCell, loss: str) -> Terms | Areas | None:
        """Return what each unit of a cell adds to a loss; None where it is not defined."""
        return self.scores(cell).terms.get(loss)

    def mean_terms(self, cells: Sequence[StoredCell], loss: str) -> Terms | None:
        """Return how much each unit adds on average over cells of the same units.

        This is the one place that says how often an image is wrong.

        Returns:
            float64 terms, (U,), or (U, L) with strata (U, L); None where a cell has no terms.
        """
        parts = [self.terms(cell, loss) for cell in cells]
        known = [part for part in parts if isinstance(part, Terms)]
        if not known or len(known) < len(parts):
            return None
        total = np.zeros(known[0].values.shape)
        for part in known:
            total += part.values
        total /= len(known)
        if known[0].strata is None and total.ndim == 2:
            total = total.mean(axis=1)
        return replace(known[0], values=total)

    def areas(self, cells: Sequence[StoredCell], loss: str) -> list[Areas] | None:
        """Return the areas of all cells; None where one has none."""
        areas = [self.terms(cell, loss) for cell in cells]
        defined = [area for area in areas if isinstance(area, Areas)]
        return defined if defined and len(defined) == len(areas) else None

    def groups(self, data: DataRecord, unit: str = "image") -> Int64Array | None:
        """Return the number of each image's patient, None where units stand alone."""
        if unit != "image":
            return None
        if data.fingerprint not in self._groups:
            self._groups[data.fingerprint] = group_codes(data.groups)
        return self._groups[data.fingerprint]

    def features(self, cell: StoredCell) -> Float32Array | None:
        """Return the kept features of a cell, or None."""
        if self._features is None:
            return None
        return self._features(str(cell.record["encoding_fingerprint"]))

    def prepare(self, cells: Sequence[StoredCell], processes: int) -> None:
        """Measure many cells at once, in processes of their own; of few it does nothing.

        Args:
            cells: What will be asked for.
            processes: How many run side by side; they import the main module anew, so the caller
                must be a script that guards its start (`if __name__ == "__main__"`).
        """
        different = list({c.fingerprint: c for c in cells}.values())
        if len(different) < MANY or processes < 2:
            return
        fitted = {c.fingerprint for c in different if self._fit(c) is not None}
        plain = [c for c in different if c.fingerprint not in fitted]
        parts = [plain[start : start + CHUNK] for start in range(0, len(plain), CHUNK)]
        work = [[reading(c, self.groups(c.data)) for c in part] for part in parts]
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            for part, known in zip(parts, pool.map(measure_all, work), strict=True):
                self._scores |= {c.fingerprint: k for c, k in zip(part, known, strict=True)}

    def _measure(self, cell: StoredCell) -> Scores:
        given = reading(cell, self.groups(cell.data))
        known = measure(given)
        fit = self._fit(cell)
        if fit is None:
            return known
        return replace(known, estimates={**known.estimates, **fit.estimates(given)})

    def draws(self, data: DataRecord) -> Int64Array:
        """Return how often each image (or patient) is taken, 1,000 times: int64 (1000, units).

        The same for all models, severities and reports of a data set.
        """
        if self._drawn is None or self._drawn[0] != data.fingerprint:
            groups = self.groups(data)
            units = len(data.labels) if groups is None else int(groups.max()) + 1
            counts = resample_counts(f"medrobust resamples/{data.fingerprint}", units)
            self._drawn = (data.fingerprint, counts)
        return self._drawn[1]

    def _fit(self, cell: StoredCell) -> "_Fit | None":
        key = (variant(cell), cell.spec.dataset)
        if cell.spec.split == "val" or key not in self._validation:
            return None
        if key not in self._fits:
            self._fits[key] = _Fit(reading(self._validation[key], None))
        return self._fits[key]


def measure(given: Reading) -> Scores:
    """Compute what is kept of a cell."""
    terms: dict[str, Terms | Areas] = {}
    answers = None
    if given.thresholded:
        wrong = given.predicted != given.labels
        terms = {"error": Terms(wrong), "balanced_error": Terms(wrong, given.labels)}
        answers = given.predicted.astype(bool if given.labels.ndim == 2 else np.int16)
    if (area := given.area) is not None:
        # half the memory; adding up is done in float64
        small: Any = area.influence.astype(np.float32)
        terms["auc"] = replace(area, influence=small)
    return Scores(cell_estimates(given), terms, answers)


def measure_all(given: Sequence[Reading]) -> list[Scores]:
    """Compute what is kept of several cells: the work of one call to a process."""
    return [measure(one) for one in given]


class _Fit:
    """Operating points and temperature of one model, fitted on clean validation images."""

    def __init__(self, given: Reading) -> None:
        self.given = given

    @cached_property
    def temperature(self) -> float:
        return fit_temperature(self.given.logits, self.given.labels, self.given.task)

    @cached_property
    def thresholds(self) -> list[float | None]:
        """Youden's threshold of each class that is judged, None where it has none."""
        scores, truths = _columns(self.given)
        points = [operating_point(scores[:, c], truths[:, c]) for c in range(truths.shape[1])]
        return [None if point is None else point.threshold for point in points]

    def estimates(self, given: Reading) -> dict[str, Estimate]:
        """Judge a cell of the test split: the mean over classes where there are several."""
        found = {}
        scores, truths = _columns(given)
        chosen = [
            (c, threshold)
            for c, threshold in enumerate(self.thresholds)
            if threshold is not None and 0 < truths[:, c].sum() < len(truths)
        ]
        if chosen:
            right = np.stack([(scores[:, c] >= t) == truths[:, c] for c, t in chosen], axis=1)
            for name, sides in (("sensitivity", truths), ("specificity", ~truths)):
                parts = [sides[:, c] for c, _ in chosen]
                shares = [float(right[side, i].mean()) for i, side in enumerate(parts)]
                bounds = mean_of_shares_interval(right.astype(float), parts, given.groups)
                found[name] = Estimate(float(np.mean(shares)), *bounds)
        if given.thresholded:
            terms = likelihood_terms(
                given.logits, given.labels, given.task, temperature=self.temperature
            )
            limits = (0.0, float("inf"))
            bounds = mean_interval(terms, given.groups, limits=limits)
            found["nll_calibrated"] = Estimate(float(terms.mean()), *bounds)
        return found


def _columns(given: Reading) -> tuple[Float64Array, NDArray[np.bool_]]:
    if given.task == "binary-class":
        assert given.positive is not None
        return given.scores[:, given.positive, None], given.truths
    return given.scores, one_versus_rest(given.labels, given.logits.shape[1])


def reading(cell: StoredCell, groups: Int64Array | None) -> Reading:
    """Put logits and labels of a stored cell together."""
    data = cell.data
    multi_label = data.task == "multi-label, binary-class"
    return Reading(
        cell.arrays["logits"],
        data.labels,
        data.task,
        data.positive,
        thresholded=not multi_label or bool(cell.record["head"].get("absent", True)),
        groups=groups,
    )


def variant(cell: StoredCell) -> str:
    """Fingerprint what the cells of one row share: all but data, corruption, seed and names."""
    changing = ("corruption", "data", "seed", "stream")
    encoding = {k: v for k, v in cell.record["encoding"].items() if k not in changing}
    head = {k: v for k, v in cell.record["head"].items() if k != "name"}
    return fingerprint([encoding, head])
