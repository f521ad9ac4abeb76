"""Windows of days as sums of rows, their standardised statistics, and the limit they alarm at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.steps import OnStep, nothing
from medrobust.exceptions import InvalidDataError
from medrobust.metrics.comparisons import generator
from medrobust.metrics.drift.clean_streams import CleanPeriod, Days, clean_period
from medrobust.metrics.drift.detectors import check_budget, detector_of
from medrobust.metrics.drift.run_length import Limit, limit_over_references
from medrobust.types import Float32Array, Float64Array, Int64Array

from .streams import Digester

REFERENCES = 48
"""References that are drawn, each with a standard of its own, to set the limit."""

STREAMS = 12
"""Clean streams that each of them watches."""

SHORTEST, LONGEST = 240, 1460
"""Days of a clean stream; between them, four budgets: few streams end before their alarm."""

LONGEST_BUDGET = 50_000
"""Days: sixteen false alarms or more on all clean streams together."""

POOL, INNER, GATHERED = 600, 200, 40
"""Blocks drawn of the reference, and of each drawn reference; streams that a standard is set on."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose of the default recipe.

    Attributes:
        window: Days of a window.
        fewest: Studies below which a window says nothing.
        block: Days that stay together in clean streams.
        budget: Days between false alarms.
        detector: One of `metrics.drift.detectors.DETECTORS`.
        confidence: Share of references like this one whose monitors must keep the budget; 0: it
            is kept on average over them, which no confidence goes below.
        seed: Of the draws that set the limit.
    """

    window: int = 7
    fewest: int = 30
    block: int = 7
    budget: float = 365.0
    detector: str = "ewma"
    confidence: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        detector_of(self.detector)
        if not 0 <= self.confidence < 1:
            raise InvalidDataError(f"--confidence {self.confidence} must be a share below 1.")
        for name in ("window", "fewest", "block", "budget"):
            if not 1 <= getattr(self, name) < inf:
                raise InvalidDataError(f"--{name} {getattr(self, name)} must be 1 or more.")
        if self.budget > LONGEST_BUDGET:
            raise InvalidDataError(
                f"--budget {self.budget:g} is longer than {LONGEST_BUDGET:,} days, more than can "
                f"be told of the clean streams that are drawn: ask for a smaller one."
            )
        check_budget(self.detector, self.budget)


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """What windows of a clean stream look like, and the limit of the detector.

    Attributes:
        means: float64 (S,) of each stream's statistic.
        spreads: float64 (S,).
        center: Of the largest standardised statistic.
        spread: Of it.
        limit: An alarm is a value of the detector above it; `low` and `high` are where the run
            lengths of eight in ten references of this length lie.
        studies: Studies of a clean day, on average.
    """

    means: Float64Array
    spreads: Float64Array
    center: float
    spread: float
    limit: Limit
    studies: float

    def z(self, statistics: Float64Array) -> Float64Array:
        """Standardise statistics (..., S)."""
        found: Float64Array = (statistics - self.means) / self.spreads
        return found

    def unified(self, z: Float64Array, column: int | None = None) -> Float64Array:
        """Return one number of each window (...), 0 and spread 1 when nothing has changed.

        A window without enough studies (NaN) counts as one in which nothing has changed.

        Args:
            z: float64 (..., S).
            column: Whose number it is; None: the largest of all.
        """
        largest = (z.max(axis=-1) - self.center) / self.spread
        found: Float64Array = largest if column is None else z[..., column]
        return np.where(np.isnan(found), 0.0, found)

    def record(self) -> dict[str, Any]:
        """Return what JSON keeps."""
        return {
            "means": self.means.tolist(),
            "spreads": self.spreads.tolist(),
            "center": self.center,
            "spread": self.spread,
            "studies": self.studies,
            "limit": asdict(self.limit),
        }


def read_standard(record: Mapping[str, Any]) -> Standard:
    """Read what `record` wrote."""
    return Standard(
        means=np.array(record["means"]),
        spreads=np.array(record["spreads"]),
        center=float(record["center"]),
        spread=float(record["spread"]),
        limit=Limit(**record["limit"]),
        studies=float(record["studies"]),
    )


def daily_sums(
    rows: Float32Array, days: Int64Array, first: int, total: int
) -> tuple[Float64Array, Float64Array]:
    """Sum rows by day: float64 (total, F), and count them: float64 (total,).

    Args:
        rows: float32 (N, F).
        days: int64 (N,), any order.
        first: The day that is row 0.
        total: How many days.
    """
    from scipy import sparse

    shape = (total, len(rows))
    ones = sparse.csr_matrix((np.ones(len(rows)), (days - first, np.arange(len(rows)))), shape)
    counts = np.bincount(days - first, minlength=total).astype(np.float64)
    return np.asarray(ones @ rows, dtype=np.float64), counts


def window_sums(sums: Float64Array, window: int) -> Float64Array:
    """Return the sums over each day and the `window - 1` before it: float64 (T, ...)."""
    total = np.cumsum(np.concatenate([np.zeros((window, *sums.shape[1:])), sums]), axis=0)
    found: Float64Array = total[window:] - total[:-window]
    return found


def window_statistics(
    digester: Digester,
    sums: Float64Array,
    counts: Float64Array,
    reference: tuple[Float64Array, float],
    settings: Settings,
) -> Float64Array:
    """Return the statistics of the window that ends on each day: float64 (T, S).

    NaN where it has too few studies.
    """
    sizes = np.round(window_sums(counts, settings.window))
    enough = sizes >= settings.fewest
    whole = window_sums(sums, settings.window)
    found = np.full((len(sums), len(digester.streams)), np.nan)
    found[enough] = digester.statistics(whole[enough], sizes[enough], *reference)
    return found


def drawn_path(
    digester: Digester,
    pool: Days,
    blocks: Int64Array,
    reference: tuple[Float64Array, float],
    settings: Settings,
) -> Float64Array:
    """Return `window_statistics` of blocks of days that follow each other: float64 (T, S)."""
    from .windows_numba import drawn_statistics

    streams = digester.places
    found = np.empty((len(blocks) * pool.counts.shape[1], len(streams)))
    window, fewest = settings.window, float(settings.fewest)
    drawn_statistics(pool.sums, pool.counts, blocks, window, fewest, *reference, streams, found)
    return found


def fit_standard(
    digester: Digester,
    rows: Float32Array,
    days: Int64Array,
    patients: Int64Array,
    settings: Settings,
    on_step: OnStep = nothing,
) -> Standard:
    """Learn what clean windows look like, and set the limit, on streams drawn from the reference.

    The reference is a sample: from another one of the same site, bins apart, all that a monitor
    learns would be a little different, and its false alarms with it. So references are drawn, each
    learns its own standard, watches clean streams that it never saw, and the limit is the one at
    which all of them together keep the budget.

    Args:
        digester: Fitted on the reference.
        rows: float32 (N, F), of the reference.
        days: int64 (N,).
        patients: int64 (N,), whose study it is.
        settings: Window, budget, detector.
        on_step: Told of each reference that is drawn.

    Raises:
        InvalidDataError: If the reference is too short, has too few studies a day, or lacks what
            the detector follows.
    """
    detector = detector_of(settings.detector)
    columns = (digester.column(settings.detector),)
    own, series = clean_series(digester, rows, days, patients, settings, on_step, columns=columns)
    found = detector.path(series[0])
    limit = limit_over_references(found, settings.budget, confidence=settings.confidence)
    if limit.value <= 0:
        raise InvalidDataError(
            f"--budget {settings.budget:g} gives the limit {limit.value:.2g}, which windows pass "
            f"that are no farther from clean than usual: ask for a longer one."
        )
    return replace(own, limit=limit)


def clean_series(
    digester: Digester,
    rows: Float32Array,
    days: Int64Array,
    patients: Int64Array,
    settings: Settings,
    on_step: OnStep = nothing,
    *,
    columns: Sequence[int | None] = (None,),
) -> tuple[Standard, list[Float64Array]]:
    """Return a standard without a limit, and unified series of clean streams to set one on.

    Args:
        digester: Fitted on the reference.
        rows: float32 (N, F), of the reference.
        days: int64 (N,).
        patients: int64 (N,).
        settings: Window, budget; the detector does not count.
        on_step: Told of each reference that is drawn.
        columns: What detectors follow, as `Digester.column` has it.

    Returns:
        The standard, and for each column float64 (days, REFERENCES, STREAMS), each reference by its
        own standard.

    Raises:
        InvalidDataError: If the reference is too short, or has too few studies a day.
    """
    length = int(days.max() - days.min()) + 1
    if settings.window > length:
        raise InvalidDataError(
            f"--window {settings.window} is longer than the reference ({length} days): give a "
            f"shorter one."
        )
    order = fingerprint([days.tolist(), patients.tolist()])
    rng = generator(f"medrobust monitor clean streams/{settings.seed}/{order}")
    period = clean_period(rows, days, patients, digester.sizes_near(rows), block=settings.block)
    blocks = len(period.patients)
    pool = period.drawn(max(POOL, 4 * blocks), rng)
    own = _look(digester, pool, blocks, settings, rng, streams=3 * GATHERED)
    series = []
    for done in range(1, REFERENCES + 1):
        series.append(_watched(digester, period, pool, settings, rng, columns))
        on_step(done, REFERENCES)
    each = [np.stack(found, axis=1) for found in zip(*series, strict=True)]
    return replace(own, studies=len(rows) / length), each


def _watched(
    digester: Digester,
    period: CleanPeriod,
    pool: Days,
    settings: Settings,
    rng: np.random.Generator,
    columns: Sequence[int | None],
) -> list[Float64Array]:
    """Draw a reference, learn its standard, and unify clean streams by each column.

    Returns:
        For each float64 (days, STREAMS).
    """
    blocks, block = len(period.patients), settings.block
    rows, days, patients = period.drawn_studies(blocks, rng)
    drawn = clean_period(
        rows, days, patients, digester.sizes_near(rows), block=block, total=blocks * block
    )
    look = _look(digester, drawn.drawn(max(INNER, 2 * blocks), rng), blocks, settings, rng)
    known = (rows.sum(axis=0, dtype=np.float64), float(len(rows)))
    length = int(np.ceil(np.clip(4 * settings.budget, SHORTEST, LONGEST) / block))
    found = []
    for _ in range(STREAMS):
        stream = rng.integers(0, len(pool.counts), length)
        z = look.z(drawn_path(digester, pool, stream, known, settings))
        found.append([look.unified(z, column) for column in columns])
    return [np.stack(each, axis=1) for each in zip(*found, strict=True)]


def _look(
    digester: Digester,
    pool: Days,
    blocks: int,
    settings: Settings,
    rng: np.random.Generator,
    *,
    streams: int = GATHERED,
) -> Standard:
    """Learn what windows of clean streams look like, each beside a reference of its own.

    Args:
        digester: Turns sums into statistics.
        pool: Blocks of clean days.
        blocks: Of a reference.
        settings: Window.
        rng: Source of the draws.
        streams: How many.

    Raises:
        InvalidDataError: If the reference has too few studies a day.
    """
    total, sizes = pool.sums.sum(axis=1), pool.counts.sum(axis=1)
    length = -(-settings.window // settings.block) + 7
    found = []
    for _ in range(streams):
        drawn = rng.permutation(len(sizes))
        reference, stream = drawn[:blocks], drawn[blocks : blocks + length]
        known = (total[reference].sum(axis=0), float(sizes[reference].sum()))
        paths = drawn_path(digester, pool, stream, known, settings)
        found.append(paths[settings.window - 1 :])
    flat = np.concatenate(found)
    flat = flat[~np.isnan(flat).any(axis=1)]
    if len(flat) < sum(map(len, found)) / 4:
        raise InvalidDataError(
            f"windows of {settings.window} days of the reference rarely hold {settings.fewest} "
            f"studies (it has {pool.counts.mean():.1f} a day): widen --window or lower --fewest."
        )
    means, spreads = flat.mean(axis=0), flat.std(axis=0)
    spreads = np.where(spreads > 1e-9, spreads, 1.0)
    largest = ((flat - means) / spreads).max(axis=1)
    spread = max(float(largest.std()), 1e-9)
    return Standard(means, spreads, float(largest.mean()), spread, NONE, float(pool.counts.mean()))


NONE = Limit(float("inf"), float("inf"), float("inf"), float("inf"), 0)
"""Stands where no limit is set yet."""
