"""Intervals over test images of what several draws of shots have in common."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medrobust.metrics.aggregates import (
    error_influence,
    error_interval,
    mce_interval,
    most_unseen,
    ratio_influence,
)
from medrobust.metrics.influence import unseen_variance
from medrobust.metrics.intervals import Bounds, Spread, mean_interval
from medrobust.metrics.paired import too_few_of
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.uncertainty import mean_error
from medrobust.types import Float64Array

from .lines import Draw


class OverImages:
    """Intervals over images of the mean over draws, draws taken as given."""

    def __init__(self, matrix: Matrix, draws: Sequence[Draw], base: Draw | None) -> None:
        first = draws[0].clean
        self.strata, self.smallest = first.strata, first.smallest
        spreads = [draw.clean.spread for draw in draws if draw.clean.spread is not None]
        self.spread = Spread.of_mean(spreads) if spreads else None
        self.share = matrix.task.metrics[matrix.shown].share
        self.groups = matrix.measured.groups(matrix.data, first)
        self.unbounded = first.unbounded
        self.too_few = self.unbounded or too_few_of(self.strata, self.groups, len(first.values))
        self.base = base
        columns = [draw.columns for draw in draws if draw.columns is not None]
        self.mean = Draw(
            numbers={},
            clean=replace(first, values=np.mean([draw.clean.values for draw in draws], axis=0)),
            columns=np.mean(columns, axis=0) if len(columns) == len(draws) else None,
            reference=draws[0].reference,
        )

    def value(self, metric: str) -> Bounds | None:
        """Return the interval of a metric; None where it is 1 by definition, or of too few."""
        if metric == "mCE":
            if self.mean.columns is None or self.mean.reference is None:
                return None
            own, reference = self.mean.columns, self.mean.reference
            if self.too_few or (self.base is None and np.array_equal(own, reference)):
                return None
            ratio = (*self._ratio(own), *self._ratio(reference))
            return mce_interval(*ratio, self.groups, smallest=self.smallest, labels=self.strata)
        wrong = self._wrong(self.mean, metric)
        if wrong is None or self.unbounded:
            return None
        kind: Any = {"share": self.share, "smallest": self.smallest, "spread": self.spread}
        return error_interval(wrong, self.strata, self.groups, **kind)

    def gain(self, metric: str) -> Bounds | None:
        """Return the interval of base minus adapted, image by image.

        None without a base, or of too few patients, or units of a class.
        """
        if self.too_few:
            return None
        influences = []
        for draw in (self.base, self.mean):
            if draw is None:
                return None
            if metric == "mCE":
                if draw.columns is None or draw.reference is None:
                    return None
                ratio = (*self._ratio(draw.columns), *self._ratio(draw.reference))
                influences.append((float((ratio[0] / ratio[2]).mean()), ratio_influence(*ratio)))
                continue
            wrong = self._wrong(draw, metric)
            if wrong is None:
                return None
            value = mean_error(wrong, self.strata)
            influences.append((value, error_influence(wrong, self.strata, self.groups)))
        (first, one), (second, other) = influences
        moved, value = one - other, first - second
        unseen = 0.0 if self.strata is None else unseen_variance(moved, self.strata, self.groups)
        low, high = mean_interval(moved, self.groups, value=value, unseen=unseen)
        if low < high:
            return low, high
        may = most_unseen(len(moved), self.strata, self.groups, smallest=self.smallest)
        if metric == "mCE" and self.mean.reference is not None:
            may *= float((1 / self._ratio(self.mean.reference)[0]).mean())
        return value - may, value + may

    def _wrong(self, draw: Draw, metric: str) -> Float64Array | None:
        if metric == "clean error":
            return draw.clean.values
        return None if draw.columns is None else draw.columns.mean(axis=0)

    def _ratio(self, columns: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the errors of the columns, and their influence values."""
        values = np.array([mean_error(wrong, self.strata) for wrong in columns])
        return values, np.stack(
            [error_influence(wrong, self.strata, self.groups) for wrong in columns]
        )
