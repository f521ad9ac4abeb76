"""Operating points and temperature: what is fitted on clean validation images."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.calibration import at_limit, fit_temperature, likelihood_terms
from medrobust.metrics.classification import one_versus_rest
from medrobust.metrics.detection import operating_point
from medrobust.metrics.estimates import Estimate, with_bounds
from medrobust.metrics.intervals import mean_of_shares_interval
from medrobust.types import Float64Array

from .answers import Answers
from .intervals import cost_interval
from .notes import noted

FITTED = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "nll_calibrated": "NLL after temperature scaling",
}
"""Metric -> words of a sentence that says what lacks."""


class Fit:
    """Operating points and temperature of one model, fitted on clean validation images."""

    def __init__(self, given: Answers) -> None:
        self.given = given

    @cached_property
    def temperature(self) -> float:
        """What logits are divided by, so that probabilities fit."""
        return fit_temperature(self.given.logits, self.given.labels, self.given.label_kind)

    @cached_property
    def thresholds(self) -> list[float | None]:
        """Youden's threshold of each class that is judged, None where it has none."""
        scores, truths = _columns(self.given)
        points = [operating_point(scores[:, c], truths[:, c]) for c in range(truths.shape[1])]
        return [None if point is None else point.threshold for point in points]

    def estimates(self, given: Answers) -> dict[str, Estimate]:
        """Judge a cell of the test split: the mean over classes where there are several."""
        found: dict[str, Estimate] = {}
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
            costs = likelihood_terms(
                given.logits, given.labels, given.label_kind, temperature=self.temperature
            )
            around = cost_interval(costs, given.groups)
            found["nll_calibrated"] = with_bounds(float(costs.mean()), around)
        found = noted(found, given)
        if given.thresholded and at_limit(self.temperature):
            found["nll_calibrated"] = Estimate(found["nll_calibrated"].value, note=self._limit())
        return found

    def _limit(self) -> str:
        """Say why the NLL has no interval where the temperature is at the end of its search."""
        if self.temperature < 1:
            return f"the temperature is at its lower limit, {self.temperature:g}"
        return (
            f"the temperature is at its upper limit, {self.temperature:,.0f}, since on clean "
            f"validation images equal chances fit better than any answer of the model"
        )


def _columns(given: Answers) -> tuple[Float64Array, NDArray[np.bool_]]:
    if given.label_kind == "binary-class":
        assert given.positive is not None
        return given.scores[:, given.positive, None], given.truths
    return given.scores, one_versus_rest(given.labels, given.logits.shape[1])
