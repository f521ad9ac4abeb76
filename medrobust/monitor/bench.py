"""The test bench: how soon would a monitor notice, and how much accuracy is lost by then.

The images of a clean cell are the population of a site. A reference and streams are drawn from it
with replacement, a number of studies a day; from a day on, a share of the studies (the prevalence)
is replaced by the same images corrupted, whose features and logits the store holds. Everything else
is the default recipe: streams, windows, limits at one budget. So detectors and streams compare at
the same false alarms, and a model is never run.

What it does not know: days that are unlike, patients, and all that a site has beside these images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.comparisons import generator
from medrobust.metrics.drift.detectors import (
    DETECTORS,
    LARGEST,
    PageHinkley,
    check_budget,
    detector_of,
)
from medrobust.metrics.drift.run_length import limit_for
from medrobust.types import Float32Array, Float64Array, Int64Array

from .streams import Digester
from .windows import window_sums

SETTLING = PageHinkley().fewest
"""Clean days that pass first: sums gather, and Page-Hinkley is silent for so long."""

LONGEST_BUDGET = 36_500
"""Days: a limit is set on twelve budgets of clean days."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What is simulated.

    Attributes:
        per_day: Studies a day.
        reference: Studies of the reference.
        window: Days of a window.
        budget: Days between false alarms.
        onset: Clean days before the change.
        days: Days after it; a longer delay counts as not noticed.
        streams: Streams of each scenario.
        clean: Clean streams that limits are set on, each with a reference of its own.
        prevalences: Shares of studies that are corrupted.
        detectors: Names.
    """

    per_day: int = 40
    reference: int = 2000
    window: int = 7
    budget: float = 365.0
    onset: int = SETTLING
    days: int = 60
    streams: int = 40
    clean: int = 320
    prevalences: tuple[float, ...] = (0.1, 0.3, 1.0)
    detectors: tuple[str, ...] = tuple(DETECTORS)

    def __post_init__(self) -> None:
        for name in ("per_day", "reference", "window", "budget", "days", "streams", "clean"):
            if not getattr(self, name) >= 1:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be 1 or more.")
        if self.budget > LONGEST_BUDGET:
            raise ConfigurationError(
                f"budget={self.budget:g} is longer than {LONGEST_BUDGET:,} days: more clean "
                f"streams would be drawn than can be followed."
            )
        if self.window > self.onset + self.days:
            raise ConfigurationError(
                f"window={self.window} is longer than the streams of the bench, "
                f"{self.onset + self.days} days: give a shorter one."
            )
        if not all(0 < share <= 1 for share in self.prevalences):
            raise ConfigurationError("a prevalence is a share above 0 and at most 1.")
        for name in self.detectors:
            check_budget(name, self.budget)


@dataclass(frozen=True, slots=True)
class Noticed:
    """How soon one statistic and detector noticed one change.

    Attributes:
        change: Corruption, or what else has changed.
        severity: 0 for what is no corruption.
        prevalence: Share of studies that it struck.
        statistic: A stream, or `LARGEST`; of a detector that follows one stream, this alone.
        detector: Name.
        power: Share of streams in which it was noticed in time.
        delay: Days to the alarm, median over streams; None where fewer than half noticed.
        low: Lower quartile; None where fewer than a quarter noticed.
        high: Upper quartile.
        false_alarms: Streams that alarmed before the change, which count for nothing else.
        accuracy: Of clean images.
        changed: Accuracy of the stream after the change.
        wrong: Answers wrong until the alarm, more than on clean images, at the median delay.
        per_day: Studies a day.
    """

    change: str
    severity: int
    prevalence: float
    statistic: str
    detector: str
    power: float
    delay: float | None
    low: float | None
    high: float | None
    false_alarms: int
    accuracy: float
    changed: float
    wrong: float | None
    per_day: int

    @property
    def studies(self) -> float | None:
        """The delay in studies."""
        return None if self.delay is None else self.delay * self.per_day


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What happens to a stream.

    Attributes:
        name: Corruption, or what else.
        severity: Of it.
        rows: float32 (M, F), of the images that come after the change.
        right: float64 (M,), whether each is answered rightly.
        weights: float64 (M,), how likely each of them is; None: all alike.
    """

    name: str
    severity: int
    rows: Float32Array
    right: Float64Array
    weights: Float64Array | None = None


@dataclass(slots=True, eq=False)
class Site:
    """A population of clean images, and what clean windows of it look like.

    Args:
        rows: float32 (N, F).
        right: float64 (N,).
        digester: Fitted on them.
        bench: What is simulated.
        key: Of the draws.
    """

    rows: Float32Array
    right: Float64Array
    digester: Digester
    bench: Bench
    key: str
    names: tuple[str, ...] = field(init=False)
    places: dict[str, slice] = field(init=False)
    means: Float64Array = field(init=False)
    spreads: Float64Array = field(init=False)
    centers: Float64Array = field(init=False)
    scales: Float64Array = field(init=False)
    limits: dict[str, Float64Array] = field(init=False)

    def __post_init__(self) -> None:
        bench = self.bench
        columns = {name: self.digester.column(name) for name in bench.detectors}
        self.places = {
            name: slice(None) if at is None else slice(at, at + 1) for name, at in columns.items()
        }
        self.names = (*(stream.name for stream in self.digester.streams), LARGEST)
        length = max(bench.days + bench.onset, 2 * SETTLING) + SETTLING
        count = max(bench.clean, int(np.ceil(12 * bench.budget / (length - SETTLING))))
        rng = generator(f"medrobust bench clean/{self.key}")
        drawn = [
            self._statistics(self._sums(rng, length), self._reference(rng)) for _ in range(count)
        ]
        every = np.stack(drawn, axis=1)  # (days, streams drawn, S)
        self.means = every.mean(axis=(0, 1))
        spreads = every.std(axis=(0, 1))
        self.spreads = np.where(spreads > 1e-9, spreads, 1.0)
        z = (every - self.means) / self.spreads
        z = np.concatenate([z, z.max(axis=-1, keepdims=True)], axis=-1)
        self.centers, self.scales = z.mean(axis=(0, 1)), z.std(axis=(0, 1))
        self.scales = np.where(self.scales > 1e-9, self.scales, 1.0)
        steps = (z - self.centers) / self.scales
        self.limits = {}
        for name in bench.detectors:
            paths = detector_of(name).path(steps[..., self.places[name]])
            found = [
                limit_for(each, bench.budget, settling=SETTLING)
                for each in np.moveaxis(paths, -1, 0)
            ]
            self.limits[name] = np.array([one.value for one in found])

    def notice(self, change: Change, prevalence: float) -> Iterator[Noticed]:
        """Simulate a change, and yield how soon each statistic and detector notices it."""
        bench = self.bench
        rng = generator(f"medrobust bench streams/{self.key}/{prevalence}")
        drawn = [
            self._statistics(self._sums(rng, bench.days, change, prevalence), self._reference(rng))
            for _ in range(bench.streams)
        ]
        z = (np.stack(drawn, axis=1) - self.means) / self.spreads
        z = np.concatenate([z, z.max(axis=-1, keepdims=True)], axis=-1)
        steps = (z - self.centers) / self.scales
        accuracy, changed = self._accuracies(change, prevalence)
        for name in bench.detectors:
            places = self.places[name]
            above = detector_of(name).path(steps[..., places]) > self.limits[name]
            for place, statistic in enumerate(self.names[places]):
                yield self._noticed(
                    above[..., place], change, prevalence, (statistic, name), (accuracy, changed)
                )

    def _noticed(
        self,
        above: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
        change: Change,
        prevalence: float,
        by: tuple[str, str],
        accuracies: tuple[float, float],
    ) -> Noticed:
        early = above[: self.bench.onset].any(axis=0)
        after = above[self.bench.onset :, ~early]
        delays = np.where(after.any(axis=0), after.argmax(axis=0) + 1.0, np.inf)
        accuracy, changed = accuracies
        low, delay, high = (_quantile(delays, share) for share in (0.25, 0.5, 0.75))
        lost = None
        if delay is not None:
            lost = delay * self.bench.per_day * (accuracy - changed)
        return Noticed(
            change=change.name,
            severity=change.severity,
            prevalence=prevalence,
            statistic=by[0],
            detector=by[1],
            power=float(np.isfinite(delays).mean()) if len(delays) else 0.0,
            delay=delay,
            low=low,
            high=high,
            false_alarms=int(early.sum()),
            accuracy=accuracy,
            changed=changed,
            wrong=lost,
            per_day=self.bench.per_day,
        )

    def _accuracies(self, change: Change, prevalence: float) -> tuple[float, float]:
        clean = float(self.right.mean())
        struck = float(np.average(change.right, weights=change.weights))
        return clean, (1 - prevalence) * clean + prevalence * struck

    def _reference(self, rng: np.random.Generator) -> Float64Array:
        counts = rng.multinomial(self.bench.reference, np.full(len(self.rows), 1 / len(self.rows)))
        return np.asarray(counts @ self.rows, dtype=np.float64)

    def _sums(
        self,
        rng: np.random.Generator,
        days: int,
        change: Change | None = None,
        prevalence: float = 0.0,
    ) -> Float64Array:
        """Draw a stream: float64 (days, F); with a change, clean days come before."""
        images, per_day = len(self.rows), self.bench.per_day
        equal = np.full(images, 1 / images)
        before = self.bench.onset if change else days
        sums = rng.multinomial(per_day, equal, before).astype(np.float32) @ self.rows
        if change is None:
            return sums.astype(np.float64)
        struck = rng.binomial(per_day, prevalence, days)
        weights = np.ones(len(change.rows)) if change.weights is None else change.weights
        shares = weights / weights.sum()
        clean = _drawn(rng, per_day - struck, equal) @ self.rows
        changed = _drawn(rng, struck, shares) @ change.rows
        return np.concatenate([sums, clean + changed]).astype(np.float64)

    def _statistics(self, sums: Float64Array, reference: Float64Array) -> Float64Array:
        whole = window_sums(sums, self.bench.window)
        days = np.minimum(np.arange(1, len(sums) + 1), self.bench.window)
        counts = (days * self.bench.per_day).astype(float)
        return self.digester.statistics(whole, counts, reference, float(self.bench.reference))


def _drawn(rng: np.random.Generator, counts: Int64Array, shares: Float64Array) -> Float32Array:
    """Draw `counts` images a day: float32 (days, N), how often each is taken."""
    return rng.multinomial(counts, shares).astype(np.float32)


def _quantile(delays: Float64Array, share: float) -> float | None:
    """Return a quantile of delays of which some are infinite, None where it is."""
    if not len(delays):
        return None
    found = float(np.quantile(delays, share, method="higher"))
    return found if np.isfinite(found) else None


def summary(found: Sequence[Noticed], detector: str) -> Mapping[tuple[str, int, float], Noticed]:
    """Return what a monitor with a detector noticed, by change, severity and prevalence."""
    return {
        (one.change, one.severity, one.prevalence): one
        for one in found
        if one.statistic == detector_of(detector).follows and one.detector == detector
    }
