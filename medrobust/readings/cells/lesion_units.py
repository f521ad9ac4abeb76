"""Windows of a split as lesions, images and patients: which are positive, how sure a cell is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import WindowLabels
from medrobust.evaluation.store import StoredCell
from medrobust.metrics.froc import Boxes
from medrobust.metrics.joining import How, joined_log_odds
from medrobust.metrics.scores import class_scores
from medrobust.types import Float64Array, Int64Array

LEVELS = ("lesion", "image", "patient")


@dataclass(frozen=True, slots=True)
class LesionUnits:
    """Units of one level.

    Attributes:
        codes: int64 (N,), the unit of each window, from 0.
        positive: bool (U,), whether one of its windows shows what is looked for.
        patients: int64 (U,), of each unit, from 0.
        counts: int64 (U,), windows of each unit.
    """

    codes: Int64Array
    positive: NDArray[np.bool_]
    patients: Int64Array
    counts: Int64Array

    def joined(self, suspicion: Float64Array, how: How) -> Float64Array:
        """Return how suspicious each unit is, as log-odds: float64 (U,)."""
        if len(self.counts) == len(self.codes):
            return suspicion
        return joined_log_odds(suspicion[:, None], self.codes, how)[:, 0]


@dataclass(frozen=True, slots=True)
class LesionSplit:
    """What is known of the windows of a split.

    Attributes:
        grid: Whether they are those of a grid, whose first class is background.
        column: Class that is looked for; of a grid background, which is not.
        levels: "lesion", "image", "patient" -> its units.
        windows: Where they lie, images numbered from 0.
        lesions: What lies in these images.
    """

    grid: bool
    column: int
    levels: Mapping[str, LesionUnits]
    windows: Boxes
    lesions: Boxes

    @classmethod
    def of(cls, data: SplitFacts, target: WindowLabels) -> "LesionSplit":
        """Read the facts of a split."""
        grid = target.grid
        last = len(data.class_names) - 1 if data.positive is None else data.positive
        positive = target.values > 0 if grid else target.values == last
        known, images = np.unique(target.images, return_inverse=True)
        patients = images if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
        codes = {"lesion": np.arange(len(positive)), "image": images, "patient": patients}
        levels = {
            level: _units(one.astype(np.int64), positive, patients.astype(np.int64))
            for level, one in codes.items()
        }
        here = np.isin(target.lesions.images, known)
        lesions = np.searchsorted(known, target.lesions.images[here]).astype(np.int64)
        return cls(
            grid,
            0 if grid else last,
            levels,
            Boxes(target.windows.astype(np.float64), images.astype(np.int64)),
            Boxes(target.lesions.values[here].astype(np.float64), lesions),
        )

    def suspicion(self, cell: StoredCell) -> Float64Array:
        """Return how surely each window shows what is looked for, as log-odds: float64 (N,)."""
        kind = cell.data.label_kind
        assert kind is not None
        scores = class_scores(cell.arrays["logits"], kind)[:, self.column]
        return -scores if self.grid else scores


def _units(codes: Int64Array, positive: NDArray[np.bool_], patients: Int64Array) -> LesionUnits:
    counts = np.bincount(codes)
    first = np.unique(codes, return_index=True)[1]
    found = np.bincount(codes, weights=positive) > 0
    return LesionUnits(codes, found, patients[first], counts.astype(np.int64))
