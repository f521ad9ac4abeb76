"""Each group of a column against all other images: differences, intervals, corrected p-values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medrobust.base.split_facts import SplitFacts
from medrobust.metrics import Comparison, Estimate, holm
from medrobust.metrics.aggregates import error_influence, error_interval, group_codes
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.unpaired import likeness_of, unpaired_difference
from medrobust.reporting.tables import number
from medrobust.reporting.uncertainty import mean_error
from medrobust.types import Float64Array

from .subgroup_terms import Losing

OTHER_CLASSES = "no test: this group and the others have not the same classes"

UNDEFINED = "not defined on these images alone"


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """A group less all other images that have a value of the column, under one condition.

    Attributes:
        condition: "clean", "mean" over all corruptions, or the name of one.
        group: Error of the group.
        others: Error of the other images.
        count: How many the others are.
        found: Difference with interval and p-value.
        p_holm: Corrected over all lines of the column that are of the same kind.
        reason: Why there is no difference, or empty.
    """

    condition: str
    group: Estimate
    others: Estimate
    count: int
    found: Comparison | None
    p_holm: float | None = None
    reason: str = ""


def differences(
    data: SplitFacts,
    chosen: NDArray[np.bool_],
    others: NDArray[np.bool_],
    conditions: Sequence[Losing],
    *,
    share: bool = True,
) -> Iterator[GroupDifference]:
    """Compare the images of a group with all others, condition by condition.

    Args:
        data: Labels and patients.
        chosen: bool (N,), the group.
        others: bool (N,), what it is compared with.
        conditions: What the model does on all images.
        share: Of the metric that it loses.
    """
    alike = data.label_kind is None or _same_classes(data, chosen, others)
    for losing in conditions:
        group, rest = (within(losing, data, side, share=share) for side in (chosen, others))
        count = int(others.sum())
        if losing.strata is not None and not alike:
            yield GroupDifference(losing.condition, group, rest, count, None, reason=OTHER_CLASSES)
            continue
        own, theirs = _influence(losing, chosen), _influence(losing, others)
        if own is None or theirs is None:
            yield GroupDifference(losing.condition, group, rest, count, None, reason=UNDEFINED)
            continue
        likeness = likeness_of(own, theirs, group_codes(data.groups))
        found = unpaired_difference(group, rest, likeness)
        yield GroupDifference(losing.condition, group, rest, count, found)


def within(
    losing: Losing, data: SplitFacts, chosen: NDArray[np.bool_], *, share: bool = True
) -> Estimate:
    """Return the loss of some images, by what is used for all of them; empty where undefined."""
    terms = losing.of(chosen)
    if terms is None:
        return Estimate(None)
    own = chosen[losing.images]
    strata = None if losing.strata is None else losing.strata[own]
    groups = group_codes(None if data.groups is None else data.groups[losing.images[own]])
    smallest, spread = losing.smallest(chosen), losing.spread(chosen)
    bounds = error_interval(terms, strata, groups, share=share, smallest=smallest, spread=spread)
    return with_bounds(mean_error(terms, strata), bounds)


def _influence(losing: Losing, chosen: NDArray[np.bool_]) -> Float64Array | None:
    """Return how much each image of the set moves the loss of a group: float64 (N,), or None."""
    terms = losing.of(chosen)
    if terms is None:
        return None
    own = chosen[losing.images]
    strata = None if losing.strata is None else losing.strata[own]
    if strata is None and terms.ndim == 2:
        terms = terms.mean(axis=1)
    found = np.zeros(len(chosen))
    found[losing.images[own]] = error_influence(terms, strata) / len(terms)
    return found


def _same_classes(data: SplitFacts, chosen: NDArray[np.bool_], others: NDArray[np.bool_]) -> bool:
    both = [data.labels[side].reshape(int(side.sum()), -1) for side in (chosen, others)]
    return all(
        np.array_equal(np.unique(one), np.unique(two))
        for one, two in zip(both[0].T, both[1].T, strict=True)
    )


def corrected(found: Sequence[GroupDifference]) -> list[GroupDifference]:
    """Correct the p-values of one family by Holm's method, those without one left as they are."""
    values = [one.found.p for one in found if one.found is not None and one.found.p is not None]
    adjusted = iter(holm(values))
    return [
        replace(one, p_holm=next(adjusted))
        if one.found is not None and one.found.p is not None
        else one
        for one in found
    ]


def columns_of(one: GroupDifference) -> dict[str, str]:
    """Return the numbers as the columns of subgroup_differences.csv."""
    found = one.found
    return {
        "condition": one.condition,
        "value": number(one.group.value),
        "others": number(one.others.value),
        "difference": number(None if found is None else found.difference),
        "low": number(None if found is None else found.low),
        "high": number(None if found is None else found.high),
        "p": number(None if found is None else found.p),
        "p_holm": number(one.p_holm),
        "images_others": str(one.count),
        "note": one.reason,
    }
