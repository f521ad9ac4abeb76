"""BE and rBE: errors divided by the published ones of AlexNet on a registry of MedMNIST-C."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from medrobust.metrics import Estimate, baseline, baselines, benchmark_error
from medrobust.metrics import relative_benchmark_error as relative_error
from medrobust.metrics.aggregates import mce_interval, relative_mce_interval
from medrobust.metrics.baselines import MEDMNIST_C
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.robustness import GUARD, Ratios
from medrobust.types import Float64Array

from .aggregates import Aggregate

if TYPE_CHECKING:
    from .uncertainty import Errors


def benchmark_ratios(errors: "Errors") -> Iterator[Aggregate]:
    """Yield BE and rBE where the suite is the registry of a set that AlexNet is known on."""
    layout = errors.layout
    known = layout.suite in baselines(MEDMNIST_C)
    if not known or layout.suite != layout.dataset or layout.severities != (1, 2, 3, 4, 5):
        return
    published = baseline(MEDMNIST_C, layout.suite)
    if published.error != errors.of:
        return
    wrong = {
        name: terms
        for name, terms in errors.named()
        if terms is not None and name in published.corruptions
    }
    means = {name: errors.value(terms) for name, terms in wrong.items()}
    below = {name: published.corruptions[name] for name in wrong}
    yield from _of_baseline(errors, "BE", benchmark_error(means, published), wrong, below)
    if errors.clean is None:
        return
    clean = errors.value(errors.clean)
    losses = {name: terms - errors.clean for name, terms in wrong.items()}
    lost = {name: value - published.clean for name, value in below.items()}
    for name, guard in (("rBE", None), ("rBE_guarded", GUARD)):
        ratios = relative_error(means, clean, published, guard=guard)
        yield from _of_baseline(errors, name, ratios, losses, lost)


def _of_baseline(
    errors: "Errors",
    name: str,
    ratios: Ratios,
    wrong: Mapping[str, Float64Array],
    below: Mapping[str, float],
) -> Iterator[Aggregate]:
    """Yield the ratio of each column, their mean, and the ratio of sums."""
    used = [c for c, value in ratios.each.items() if value is not None]
    if not used:
        return
    values = np.array([errors.value(wrong[c]) for c in used])
    bases = np.array([below[c] for c in used])
    influence = errors.influence([wrong[c] for c in used])
    interval = mce_interval if name == "BE" else relative_mce_interval

    def estimate(
        value: float | None, own: Float64Array, moved: Float64Array, below: Float64Array
    ) -> Estimate:
        if value is None or errors.too_few:
            return Estimate(value, note="" if value is None else errors.too_few)
        still = np.zeros_like(moved)
        bounds = interval(own, moved, below, still, errors.groups, labels=errors.strata)
        return with_bounds(value, bounds)

    for i, c in enumerate(used):
        one = slice(i, i + 1)
        found = estimate(ratios.each[c], values[one], influence[one], bases[one])
        yield errors.made(f"{name}_c", found, c)
    whole = estimate(ratios.mean_of_ratios, values, influence, bases)
    yield errors.made(name, whole, covers=used)
    if name == "rBE_guarded":
        return
    total, sums = influence.sum(axis=0, keepdims=True), values.sum(keepdims=True)
    of_sums = estimate(ratios.ratio_of_sums, sums, total, bases.sum(keepdims=True))
    yield errors.made(f"{name}_ratio_of_sums", of_sums, covers=used)
