"""The two published monitors, CheXstray and MMC+, as their code computes them.

Both compare, for every day t, the studies of [t - 30 days, t] (both days included) with those of
the reference, if there are 150 or more; both standardise each stream by windows of the reference
period and add the streams up. Draws are keyed by the window, so that it has one value.

CheXstray: every number (each component of a vector, too) by its KS distance from the whole
reference, every category by chi-squared of raw counts, which grows with the window; the mean over
20 resamples of 2,500 with replacement. z is cut at 10 spreads; MMC = -sum of weights times z, which
*falls* when studies drift. Nothing was published that alarms.

MMC+: vectors by the squared earth mover's distance, numbers by Wasserstein-1, categories by
Hellinger, each as D+ = max(d(r1, x) - d(r1, r2), 0), mean over 20 draws. No cut; a third of the
weight each for embedding, scores and metadata; MMC+ rises, and alarms at 10.

References:
    CheXstray, arXiv:2202.02833; MMC+, arXiv:2410.13174, and the code of both (MIT), from which
    nothing is copied.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.metrics.comparisons import generator
from medrobust.metrics.drift.transport import earth_movers, matched
from medrobust.metrics.drift.univariate import (
    category_counts,
    chi2_test,
    hellinger,
    resampled_ks,
    wasserstein,
)
from medrobust.types import Float64Array

from .studies import Studies

WINDOW = 30
"""Days before the day of a window; with that day, 31 dates."""

FEWEST = 150
REPEATS = 20
RESAMPLED = 2500
CUT = 10.0
LARGEST_TRANSPORT = 500
"""Studies of a window up to which MMC+ is exact; of more, a subsample of this size is compared."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published recipe.

    Attributes:
        name: As `--recipe` has it.
        limit: Of the unified number; None where none was published.
        window: Days before the day of a window.
        fewest: Studies below which there is no window.
        repeats: Draws that a statistic is a mean over.
        resampled: Studies of a resample (CheXstray).
        seed: Of the draws.
    """

    name: str
    limit: float | None
    window: int = WINDOW
    fewest: int = FEWEST
    repeats: int = REPEATS
    resampled: int = RESAMPLED
    seed: int = 0


RECIPES = {"chexstray": Published("chexstray", None), "mmc_plus": Published("mmc_plus", 10.0)}


def window_of(studies: Studies, day: int, recipe: Published) -> NDArray[np.int64]:
    """Return the rows of the window that ends on a day."""
    return np.flatnonzero((studies.days >= day - recipe.window) & (studies.days <= day))


def content(studies: Studies, rows: NDArray[np.int64]) -> str:
    """Fingerprint which studies a window holds."""
    return fingerprint(sorted(studies.ids[rows].tolist()))


def statistics(reference: Studies, window: Studies, recipe: Published) -> dict[str, float]:
    """Return the mean statistic of each stream of a window.

    Args:
        reference: All of it, in the order of its content.
        window: Studies of the window, in that order, too.
        recipe: Which.
    """
    times = fingerprint(window.times.tolist())
    rng = generator(f"medrobust monitor {recipe.name}/{recipe.seed}/{times}")
    if recipe.name == "mmc_plus":
        return dict(_mmc_plus(reference, window, recipe, rng))
    return dict(_chexstray(reference, window, recipe, rng))


def _chexstray(
    reference: Studies, window: Studies, recipe: Published, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    drawn = rng.integers(0, len(window), (recipe.repeats, recipe.resampled))
    known, given = _numbers(reference), _numbers(window)
    for name, values in known.items():
        first = np.sort(values[np.isfinite(values)])
        yield name, float(resampled_ks(first, given[name], drawn).mean())
    for name, texts in reference.categories.items():
        both = np.concatenate([texts, window.categories[name]])
        names, _ = category_counts(both.tolist())
        _, counts = category_counts(texts.tolist(), names)
        own = window.categories[name]
        found = [
            chi2_test(counts, category_counts(own[rows].tolist(), names)[1])[0] for rows in drawn
        ]
        yield name, float(np.mean(found))


def _numbers(studies: Studies) -> dict[str, Float64Array]:
    parts = {
        f"{name} {column}": rows[:, column].astype(np.float64)
        for name, rows in studies.vectors.items()
        for column in range(rows.shape[1])
    }
    return parts | dict(studies.numbers)


def _mmc_plus(
    reference: Studies, window: Studies, recipe: Published, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    for name, rows in reference.vectors.items():
        own = window.vectors[name]
        twins = np.isin(rows[:, 0], own[:, 0])
        if twins.any():
            known = {row.tobytes() for row in own}
            twins[twins] = [row.tobytes() in known for row in rows[twins]]
        left = np.flatnonzero(~twins)
        found = matched(_moved(rows, own, rng), left, own, rng, repeats=recipe.repeats)
        yield name, float(found.mean())
    for name, values in reference.numbers.items():
        first, given = (v[np.isfinite(v)] for v in (values, window.numbers[name]))
        if not len(given) or not len(first):
            yield name, float("nan")
            continue
        found = matched(wasserstein, first, given, rng, repeats=recipe.repeats)
        yield name, float(found.mean())
    for name, texts in reference.categories.items():
        found = matched(_apart, texts, window.categories[name], rng, repeats=recipe.repeats)
        yield name, float(found.mean())


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Rows drawn from a reference: copied only where they are looked at.

    Attributes:
        rows: All of it.
        index: Which were drawn.
    """

    rows: NDArray[Any]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.rows[self.index[chosen]]
        return found


def _moved(
    rows: NDArray[Any], own: NDArray[Any], rng: np.random.Generator
) -> Callable[[Any, Any], float]:
    """Return the earth mover's distance of drawn rows from the window, or from other drawn ones."""

    def moved(first: Any, second: Any) -> float:
        given = own if second is own else _Drawn(rows, second)
        drawn, size = _Drawn(rows, first), LARGEST_TRANSPORT
        return earth_movers(drawn, given, rng, most=size, repeats=1).value if len(first) else 0.0

    return moved


def _apart(first: Any, second: Any) -> float:
    names, own = category_counts(first.tolist())
    names, other = category_counts(second.tolist(), names)
    return hellinger(np.pad(own, (0, len(names) - len(own))), other)


def standard(
    series: Mapping[str, Float64Array], recipe: Published
) -> dict[str, tuple[float, float]]:
    """Return center and spread of each stream over windows of the reference period.

    CheXstray: sample spread, 0 becoming 1. MMC+: population spread as pandas gives it (ddof 1)
    plus 1e-6.
    """
    found = {}
    for name, values in series.items():
        spread = float(np.std(values, ddof=1))
        if recipe.name == "chexstray":
            spread = spread if spread > 0 else 1.0
        else:
            spread += 1e-6
        found[name] = float(np.mean(values)), spread
    return found


def unified(
    values: Mapping[str, float],
    known: Mapping[str, tuple[float, float]],
    recipe: Published,
    groups: Mapping[str, str],
    weights: Mapping[str, float] | None = None,
) -> tuple[float, dict[str, float]]:
    """Return MMC or MMC+ of a window, and the z of each stream.

    Args:
        values: Statistic of each stream.
        known: From `standard`.
        recipe: Which.
        groups: Stream -> "embedding", "scores" or "metadata".
        weights: Stream -> weight, 0 or more; None: all alike, or a third for each group (MMC+).
    """
    z = {name: (values[name] - known[name][0]) / known[name][1] for name in known}
    if recipe.name == "chexstray":
        z = {name: float(np.clip(value, -CUT, CUT)) for name, value in z.items()}
    if weights is None:
        kinds = [groups[name] for name in z]
        weights = {
            name: 1.0 if recipe.name == "chexstray" else 1 / kinds.count(groups[name]) for name in z
        }
    total = sum(weights[name] for name in z)
    found = sum(weights[name] * value for name, value in z.items()) / total
    return (-found if recipe.name == "chexstray" else found), z


def groups_of(studies: Studies, recipe: Published) -> dict[str, str]:
    """Say which group each stream of a recipe belongs to."""
    vectors = studies.vectors
    found = (
        {name: name for name in vectors}
        if recipe.name == "mmc_plus"
        else {f"{n} {c}": n for n, rows in vectors.items() for c in range(rows.shape[1])}
    )
    return found | dict.fromkeys([*studies.numbers, *studies.categories], "metadata")
