"""What the answers of a stored cell are worth: BLEU, ROUGE-L, CIDEr-D, and labels in common."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from medrobust.metrics.aggregates import bounded_interval
from medrobust.metrics.estimates import Estimate, Metric, with_bounds
from medrobust.metrics.intervals import logit_interval, share_interval
from medrobust.metrics.text_overlap import ORDER, bleu
from medrobust.tasks.base import Cell, Scores, Terms
from medrobust.types import Float64Array

_less, _more = (partial(Metric, higher_is_better=better) for better in (False, True))

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "rouge_l_loss": _less("1 − ROUGE-L"),
        "cider_loss": _less("1 − CIDEr-D / 10"),
        "finding_loss": _less("1 − labels in common (Jaccard)"),
        **{f"bleu_{size}": _more(f"BLEU-{size}") for size in range(1, ORDER + 1)},
        "rouge_l": _more("ROUGE-L"),
        "cider_d": _more("CIDEr-D", share=False),
        "finding_f1": _more("F1 of labels, mean over images"),
        "finding_micro_f1": _more("F1 of labels, all images together"),
        "finding_jaccard": _more("labels in common (Jaccard), mean over images"),
    }
)
"""Every metric of a cell, in the order of the tables."""

LOSSES = ("rouge_l_loss", "cider_loss", "finding_loss")
"""What means, CE, mCE and tests are made of; the last where images have labels."""


def scores(cell: Cell) -> Scores:
    """Compute every number of a cell, and what each image adds to its losses."""
    each = _each(cell)
    estimates = {name: _share(values, cell) for name, values in each.items()}
    cider = cell.arrays["cider_d"].astype(np.float64)
    bounds = bounded_interval(cider, cell.patients, limits=(0.0, 10.0), most=10.0)
    estimates["cider_d"] = with_bounds(float(cider.mean()), bounds)
    estimates |= {f"bleu_{size}": _bleu(cell, size) for size in range(1, ORDER + 1)}
    if "finding_f1" in each:
        estimates["finding_micro_f1"] = _micro_f1(cell)
    terms = {name: Terms(each[name], unit=cell.data.unit) for name in LOSSES if name in each}
    ordered = {name: estimates[name] for name in METRICS if name in estimates}
    return Scores(ordered, terms, answers=cell.arrays["answer"])


def _each(cell: Cell) -> dict[str, Float64Array]:
    """Return what each image has of the metrics that are means over images, in [0, 1]: (N,)."""
    rouge = np.clip(cell.arrays["rouge_l"].astype(np.float64), 0, 1)
    cider = np.clip(cell.arrays["cider_d"].astype(np.float64) / 10, 0, 1)
    found = {"rouge_l_loss": 1 - rouge, "cider_loss": 1 - cider, "rouge_l": rouge}
    shared, said, shown = cell.arrays["findings"].astype(np.float64).T
    if (said < 0).any():
        return found
    both = said + shown
    found["finding_f1"] = np.where(both > 0, 2 * shared / np.maximum(both, 1), 1.0)
    found["finding_jaccard"] = np.where(both > 0, shared / np.maximum(both - shared, 1), 1.0)
    found["finding_loss"] = 1 - found["finding_jaccard"]
    return found


def _share(values: Float64Array, cell: Cell) -> Estimate:
    return with_bounds(float(values.mean()), share_interval(values, cell.patients))


def _bleu(cell: Cell, size: int) -> Estimate:
    """Compute BLEU of all answers together, whose interval goes over the logit of its influence."""
    names = ("runs_found", "runs", "nearest_length")
    hits, runs, lengths = (cell.arrays[name].astype(np.float64) for name in names)
    found = bleu(hits, runs, lengths, size)
    patients = cell.patients
    units = len(found.influence) if patients is None else len(np.unique(patients))
    bounds = logit_interval(found.value, found.influence, patients, smallest=units)
    return with_bounds(found.value, bounds)


def _micro_f1(cell: Cell) -> Estimate:
    """Compute F1 of the labels of all images together; 1 where none is said or shown."""
    shared, said, shown = cell.arrays["findings"].astype(np.float64).T
    both = float((said + shown).mean())
    if not both:
        return Estimate(1.0)
    value = 2 * float(shared.mean()) / both
    influence = (2 * shared - value * (said + shown)) / both
    patients = cell.patients
    units = len(influence) if patients is None else len(np.unique(patients))
    bounds = logit_interval(value, influence, patients, smallest=units)
    return with_bounds(value, bounds)


def collapsed(cell: Cell) -> str | None:
    """Name what is the same for every image of a cell, or None."""
    answers = cell.arrays["answer"]
    if len(answers) > 1 and bool((answers == answers[:1]).all()):
        return "the same report"
    return None
