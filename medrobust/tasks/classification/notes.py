"""What is said of a number of a cell that is empty, or whose interval holds less than it says."""

import numpy as np

from medrobust.base.wording import counted
from medrobust.metrics.calibration_bounds import FEWEST_CALIBRATED, FEWEST_RARE, rare_answers
from medrobust.metrics.estimates import Estimate
from medrobust.metrics.paired import FEWEST_UNITS

from .answers import Answers

FEWEST_POSITIVES = 12
"""Positives a class (harmonic mean; patients who have one) that the interval of the AUPRC needs."""

FEWEST_OF_F1 = 3
"""Images (or patients) of a class that the interval of macro F1 needs to hold."""

OF_CHANCES = ("brier", "ece", "adaptive_ece", "nll_calibrated")
"""Numbers that a rare wrong answer decides: where few were seen, what one costs is not known."""

COVERED = {"brier": 40, "nll_calibrated": 40, "ece": 64, "adaptive_ece": 87, "macro_f1": 65}
"""Percent of simulated intervals that held the true number, at least (docs/metrics.md)."""


def noted(found: dict[str, Estimate], given: Answers) -> dict[str, Estimate]:
    """Say why numbers or bounds are empty, and which intervals hold less often than 95 %.

    Args:
        found: Numbers of a cell.
        given: Of the cell.
    """
    rare = FEWEST_RARE
    if given.thresholded:
        rare = rare_answers(given.predicted, given.labels, given.groups)
    notes = {name: _note(name, one, given, rare) for name, one in found.items()}
    return {
        name: Estimate(one.value, one.low, one.high, notes[name]) if notes[name] else one
        for name, one in found.items()
    }


def _note(name: str, found: Estimate, given: Answers, rare: int) -> str:
    if found.value is None:
        return _undefined(name)
    if found.lacks:
        return _unbounded(name, given)
    if name == "macro_f1" and given.class_units.min(initial=FEWEST_OF_F1) < FEWEST_OF_F1:
        units = "image" if given.groups is None else "patient"
        few = f"a class has {counted(int(given.class_units.min()), units)}"
        return f"{few}, {FEWEST_OF_F1} are needed: {_held('macro_f1')}"
    if name in OF_CHANCES and rare < FEWEST_RARE:
        return _doubtful(name, given, rare)
    return ""


def _undefined(name: str) -> str:
    if name == "quadratic_weighted_kappa":
        return "labels and answers are all of one grade, so that there is nothing to agree beyond"
    if name == "macro_f1":
        return "no label is there, and none is answered"
    return "it needs images of a class and images of another, and all are of one"


def _unbounded(name: str, given: Answers) -> str:
    units = "image" if given.groups is None else "patient"
    if name == "auprc":
        return f"it rests on fewer than {FEWEST_POSITIVES} positives a class"
    sizes = given.labels if given.groups is None else np.bincount(given.groups)
    count = len(sizes) if given.groups is None else int(np.count_nonzero(sizes))
    if name.endswith("ece") and count < FEWEST_CALIBRATED:
        return f"{counted(count, units)}, and {FEWEST_CALIBRATED} are needed"
    if name == "nll_calibrated" and count < FEWEST_UNITS and given.groups is not None:
        return f"{counted(count, units)}, and {FEWEST_UNITS} are needed"
    return f"nothing varies between {counted(count, units)}"


def _doubtful(name: str, given: Answers, rare: int) -> str:
    units = "image" if given.groups is None else "patient"
    many = counted(FEWEST_RARE, units)
    few = f"{many} with wrong answers and as many with right ones are needed"
    return f"{few}, and of one kind there are {rare}: {_held(name)}"


def _held(name: str) -> str:
    least = f"as few as {COVERED[name]} % of such intervals held the true number"
    return f"in simulations {least}, not 95"
