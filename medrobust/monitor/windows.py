"""Windows of days as sums of rows, their standardised statistics, and the limit they alarm at."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.comparisons import generator
from medrobust.metrics.drift.clean_streams import clean_streams
from medrobust.metrics.drift.detectors import detector_of
from medrobust.metrics.drift.run_length import Limit, limit_for
from medrobust.types import Float32Array, Float64Array, Int64Array

from .streams import Digester

STREAMS = 400
"""Clean streams that a limit is set on, or more for larger budgets."""

SETTLING = 14
"""Days of a clean stream that are not counted: sums have not gathered yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose of the default recipe.

    Attributes:
        window: Days of a window.
        fewest: Studies below which a window says nothing.
        block: Days that stay together in clean streams.
        budget: Days between false alarms.
        detector: One of `metrics.drift.detectors.DETECTORS`.
    """

    window: int = 7
    fewest: int = 30
    block: int = 7
    budget: float = 365.0
    detector: str = "ewma"

    def __post_init__(self) -> None:
        detector_of(self.detector)
        for name in ("window", "fewest", "block", "budget"):
            if not getattr(self, name) >= 1:
                raise InvalidDataError(f"--{name} {getattr(self, name)} must be 1 or more.")


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """What windows of a clean stream look like, and the limit of the detector.

    Attributes:
        means: float64 (S,) of each stream's statistic.
        spreads: float64 (S,).
        center: Of the largest standardised statistic.
        spread: Of it.
        limit: An alarm is a value of the detector above it.
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

    def unified(self, z: Float64Array) -> Float64Array:
        """Return the largest of each window (...), 0 and spread 1 when nothing has changed.

        A window without enough studies (NaN) counts as one in which nothing has changed.
        """
        found: Float64Array = (z.max(axis=-1) - self.center) / self.spread
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


def fit_standard(
    digester: Digester, rows: Float32Array, days: Int64Array, settings: Settings
) -> Standard:
    """Learn what clean windows look like, and set the limit, on streams drawn from the reference.

    Each stream is compared with half of the reference that it never saw.

    Args:
        digester: Fitted on the reference.
        rows: float32 (N, F), of the reference.
        days: int64 (N,).
        settings: Window, budget, detector.

    Raises:
        InvalidDataError: If the reference is too short, or has too few studies a day.
    """
    first = int(days.min())
    sums, counts = daily_sums(rows, days, first, int(days.max()) - first + 1)
    length = len(sums) // settings.block // 2 * settings.block - settings.window
    drawn = clean_streams(
        len(sums),
        max(STREAMS, int(30 * settings.budget / max(length - SETTLING, 1))),
        generator("medrobust monitor clean streams"),
        block=settings.block,
    )
    found = []
    for stream in drawn:
        known = (sums[stream.reference].sum(axis=0), float(counts[stream.reference].sum()))
        own, sizes = sums[stream.sources], counts[stream.sources]
        paths = window_statistics(digester, own, sizes, known, settings)
        found.append(paths[settings.window - 1 :])
    every = np.stack(found, axis=1)  # (days, streams drawn, S)
    flat = every.reshape(-1, every.shape[-1])
    flat = flat[~np.isnan(flat).any(axis=1)]
    if len(flat) < every.shape[0]:
        raise InvalidDataError(
            f"windows of {settings.window} days of the reference rarely hold {settings.fewest} "
            f"studies (it has {counts.mean():.1f} a day): widen --window or lower --fewest."
        )
    means, spreads = flat.mean(axis=0), flat.std(axis=0)
    spreads = np.where(spreads > 1e-9, spreads, 1.0)
    z = (every - means) / spreads
    largest = z.max(axis=-1)
    center, spread = float(np.nanmean(largest)), float(np.nanstd(largest))
    steps = np.where(np.isnan(largest), 0.0, (largest - center) / max(spread, 1e-9))
    paths = detector_of(settings.detector).path(steps)
    limit = limit_for(paths, settings.budget, settling=min(SETTLING, len(paths) // 2))
    return Standard(means, spreads, center, max(spread, 1e-9), limit, float(counts.mean()))
