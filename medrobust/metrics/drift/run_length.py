"""Run lengths: how many steps a detector takes to its alarm, and the limit that a budget buys.

ARL is the mean run length. On a clean stream it is the false-alarm budget: one false alarm in so
many steps. For independent Gaussian steps it is computed by a Markov chain; for everything else the
limit is set on simulated or resampled clean streams.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array

STATES = 400
"""Of the Markov chain: the ARL is then right to about three digits."""

TELLING = 4
"""False alarms a reference that tell how far references differ; of fewer the spread comes out too
small (simulated spreads of 0.9 and 1.5: 0.9 and 1.4 of five, 0.7 and 0.8 of three, 0 of less than
one)."""


def cusum_arl(limit: float, *, shift: float = 0.0, slack: float = 0.5) -> float:
    """Return the ARL of the upper CUSUM on Gaussian steps of mean `shift` and spread 1.

    Two-sided: 1 / ARL = 1 / ARL+ + 1 / ARL-.

    References:
        Brook and Evans, Biometrika 59 (1972) 539.

    Example:
        >>> round(cusum_arl(4.0), 0), round(cusum_arl(4.0, shift=1.0), 2)
        (335.0, 8.38)
    """
    width = 2 * limit / (2 * STATES - 1)
    centers = np.arange(STATES) * width
    upper = _normal_cdf(centers[None] + width / 2 - centers[:, None] - shift + slack)
    lower = _normal_cdf(centers[None] - width / 2 - centers[:, None] - shift + slack)
    moves = upper - lower
    moves[:, 0] = upper[:, 0]  # all that falls below 0 stays there
    return float(np.linalg.solve(np.eye(STATES) - moves, np.ones(STATES))[0])


def siegmund_arl(limit: float, *, shift: float = 0.0, slack: float = 0.5) -> float:
    """Return Siegmund's approximation of `cusum_arl`, a = shift - slack and b = limit + 1.166.

    ARL = (e^(-2ab) + 2ab - 1) / (2 a^2).

    Example:
        >>> round(siegmund_arl(4.0), 1)
        338.1
    """
    drift, reach = shift - slack, limit + 1.166
    if drift == 0:
        return reach**2
    return float((np.exp(-2 * drift * reach) + 2 * drift * reach - 1) / (2 * drift**2))


def ewma_arl(limit: float, weight: float, *, shift: float = 0.0) -> float:
    """Return the ARL of the two-sided EWMA, its limit in units of its lasting spread.

    Example:
        >>> round(ewma_arl(2.814, 0.1), 1)
        499.5
    """
    reach = limit * np.sqrt(weight / (2 - weight))
    states = STATES + 1  # odd: the start is a center
    width = 2 * reach / states
    centers = -reach + (np.arange(states) + 0.5) * width
    start = (1 - weight) * centers[:, None]
    upper = _normal_cdf((centers[None] + width / 2 - start) / weight - shift)
    lower = _normal_cdf((centers[None] - width / 2 - start) / weight - shift)
    times = np.linalg.solve(np.eye(states) - (upper - lower), np.ones(states))
    return float(times[states // 2])


def shewhart_arl(limit: float, *, shift: float = 0.0) -> float:
    """Return the ARL of the two-sided Shewhart chart.

    Example:
        >>> round(shewhart_arl(3.0), 3)
        370.398
    """
    inside = _normal_cdf(np.array([limit - shift, -limit - shift]))
    return float(1 / (1 - (inside[0] - inside[1])))


def first_alarms(paths: Float64Array, limit: float) -> Int64Array:
    """Return the steps to the first alarm of each replica, counted from 1: int64 (B,).

    Args:
        paths: float64 (T, B) statistics.
        limit: An alarm is a value above it.

    Returns:
        T + 1 where there was none.
    """
    above = paths > limit
    return np.where(above.any(axis=0), above.argmax(axis=0) + 1, len(paths) + 1)


def mean_run_length(paths: Float64Array, limit: float, *, settling: int = 0) -> float:
    """Estimate the ARL from replicas that may end before their alarm.

    The mean time up to `settling` is that of the replicas; what survives it goes on with a constant
    chance of an alarm a step, estimated by the steps watched per alarm after it.

    Args:
        paths: float64 (T, B).
        limit: An alarm is a value above it.
        settling: First steps, in which alarms may be rarer than later.

    Returns:
        Infinity where there was no alarm after `settling`.
    """
    found = first_alarms(paths, limit)
    later = found[found > settling] - settling
    if not len(later):
        return float(found.mean())
    watched, alarms = _watched(later, len(paths) - settling)
    after = watched / alarms if alarms else float("inf")
    return float(np.minimum(found, settling).mean() + len(later) / len(found) * after)


def _watched(found: Int64Array, length: int) -> tuple[int, int]:
    """Return the steps until alarms or the end, and the alarms."""
    return int(np.minimum(found, length).sum()), int((found <= length).sum())


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and what it costs on clean streams.

    Attributes:
        value: An alarm is a statistic above it.
        run_length: Mean steps between false alarms, as found on the streams it was set on.
        low: Lower 95 % bound of `run_length`.
        high: Upper bound.
        alarms: False alarms that the estimate rests on.
    """

    value: float
    run_length: float
    low: float
    high: float
    alarms: int


def limit_for(paths: Float64Array, budget: float, *, settling: int = 0) -> Limit:
    """Set the lowest limit whose mean run length on clean streams is at least the budget.

    Args:
        paths: float64 (T, B) statistics of clean streams.
        budget: Steps between false alarms.
        settling: First steps, in which alarms may be rarer than later.

    Raises:
        InvalidDataError: If the streams are too short to tell: fewer than ten false alarms.
    """
    highest = np.maximum.accumulate(paths, axis=0)[settling:]
    if highest.size < 10 * budget:
        raise InvalidDataError(
            f"a budget of one false alarm in {budget:g} steps needs {10 * budget:g} steps of clean "
            f"streams or more, and has {highest.size}: draw more streams, or ask for a smaller one."
        )
    candidates = np.unique(highest)
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if mean_run_length(paths, float(candidates[middle]), settling=settling) >= budget:
            high = middle
        else:
            low = middle + 1
    value = float(candidates[low])
    arl = mean_run_length(paths, value, settling=settling)
    found = first_alarms(paths, value)
    alarms = int(((found > settling) & (found <= len(paths))).sum())
    half = 1.96 / np.sqrt(max(alarms, 1))
    return Limit(value, arl, arl * float(np.exp(-half)), arl * float(np.exp(half)), alarms)


def limit_over_references(paths: Float64Array, budget: float, *, confidence: float = 0.0) -> Limit:
    """Set the limit at which monitors of one site, fitted to different references, keep a budget.

    Each has its own run length R. The limit makes the mean of 1 / R, false alarms a step, 1 /
    budget; the mean of R itself is larger, more so the more references differ. With a confidence c
    it is raised until c of all R, supposed log-normal, are the budget or more; it stays where the
    mean does as much (of half of all R always). A rate is alarms per step watched, by the jackknife
    over streams.

    Args:
        paths: float64 (T, references, streams), from the first step on.
        budget: Steps between false alarms.
        confidence: Share c of the references, to one of them; 0: their mean.

    Returns:
        The limit; `run_length` is 1 over the mean of false alarms a step; `low` and `high` are
        where eight in ten references lie, supposed log-normal, and alike where references differ
        by no more than chance has it.

    Raises:
        InvalidDataError: If the streams are too short to tell, or nothing tells a limit for the
            confidence.
    """
    from scipy import special

    if paths.size < 10 * budget:
        raise InvalidDataError(
            f"a budget of one false alarm in {budget:g} steps needs {10 * budget:g} steps of clean "
            f"streams or more, and has {paths.size}: ask for a smaller one."
        )
    highest = np.maximum.accumulate(paths, axis=0)
    value = _lowest(highest, lambda at: _rate(highest, at) * budget <= 1)
    if confidence > 0:
        value = _raised(highest, value, budget, confidence)
    mean, spread = 1 / max(_rate(highest, value), 1e-12), _spread(highest, value)
    median, far = mean * np.exp(spread**2 / 2), np.exp(special.ndtri(0.9) * spread)
    alarms = int(alarm_rates(highest, value)[1].sum())
    return Limit(value, mean, float(median / far), float(median * far), alarms)


def _raised(highest: Float64Array, value: float, budget: float, confidence: float) -> float:
    """Raise the limit of the mean until a share of the references keeps the budget.

    By the spread at the limit of the mean first, which is enough for most detectors. Where that of
    the raised limit is larger and more than one reference is missing, the limit is searched at
    which the quantile by its own spread is the budget.
    """
    from scipy import special

    alarms, spread = int(alarm_rates(highest, value)[1].sum()), _spread(highest, value)
    if alarms < TELLING * highest.shape[1]:
        raise InvalidDataError(
            f"{alarms} false alarms on the clean streams that are drawn for a budget of {budget:g} "
            f"are too few to tell how far references differ, and a limit for --confidence "
            f"{confidence:g}: ask for a smaller budget, or leave it out."
        )
    if spread == 0:
        raise InvalidDataError(
            f"references like this one differ in their false alarms by no more than chance has "
            f"it, so that nothing tells a limit for --confidence {confidence:g}: leave it out."
        )
    far = float(special.ndtri(confidence))
    more = budget * float(np.exp(far * spread - spread**2 / 2))
    value = max(value, _lowest(highest, lambda at: _rate(highest, at) * more <= 1))

    def keeps(at: float, share: float) -> bool:
        spread = _spread(highest, at)
        quantile = np.exp(spread**2 / 2 - special.ndtri(share) * spread)
        return bool(_rate(highest, at) * budget <= quantile)

    if keeps(value, confidence - 1 / highest.shape[1]):
        return value
    return _lowest(highest, lambda at: at >= value and keeps(at, confidence))


def _rate(highest: Float64Array, value: float) -> float:
    """Return the mean of the references' false alarms a step."""
    return float(alarm_rates(highest, value)[0].mean())


def _lowest(highest: Float64Array, enough: Callable[[float], bool]) -> float:
    """Return the lowest limit that is enough, by bisection."""
    candidates = np.unique(highest)
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if enough(float(candidates[middle])):
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def alarm_rates(highest: Float64Array, value: float) -> tuple[Float64Array, Int64Array]:
    """Return false alarms a step, and how many, of each reference, from running maxima.

    Alarms over steps watched is too large with few streams, by the squared coefficient of variation
    of run lengths over their number: an n-th where alarms come by pure chance, less where a
    detector has to gather first (Page-Hinkley). The jackknife takes off what there is.

    Args:
        highest: float64 (T, references, streams), the largest statistic so far.
        value: An alarm is a statistic above it.

    Returns:
        float64 and int64 (references,).
    """
    alarms, total, without = _left_out(highest, value)
    streams = without.shape[1]
    if streams == 1:
        return alarms / total, alarms
    rates = streams * alarms / total - (streams - 1) * without.mean(axis=1)
    return rates, alarms


def _left_out(highest: Float64Array, value: float) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Return alarms and steps watched (references,), and rates without each stream.

    The last is float64 (references, streams), NaN of a single stream.
    """
    before = (highest <= value).sum(axis=0)  # (references, streams) steps without an alarm
    alarmed = before < len(highest)
    watched = np.minimum(before + 1, len(highest))
    alarms, total = alarmed.sum(axis=1), watched.sum(axis=1)
    if alarmed.shape[1] == 1:
        return alarms, total, np.full(alarmed.shape, np.nan)
    return alarms, total, (alarms[:, None] - alarmed) / (total[:, None] - watched)


def _spread(highest: Float64Array, value: float) -> float:
    """Return the spread of log run lengths between references, less that of few alarms."""
    rates, alarms = alarm_rates(highest, value)
    known = np.maximum(alarms, 0.5)
    logs = np.log(np.maximum(rates, 0.5 / highest[:, 0].size))
    beyond = float(np.var(logs, ddof=1)) - float(np.mean(_chance(highest, value) / known))
    return float(np.sqrt(max(beyond, 0.0)))


def _chance(highest: Float64Array, value: float) -> float:
    """Return the variance of rates by the jackknife over streams, in that of pure chance.

    At most 1, which it passes by its own bias where alarms come by pure chance. It is less where a
    detector has to gather first: its run lengths scatter by less than their mean.
    """
    alarms, total, without = _left_out(highest, value)
    streams = without.shape[1]
    if streams == 1 or not alarms.any():
        return 1.0
    scatter = (streams - 1) * without.var(axis=1)
    return min(1.0, float(scatter.sum() / (alarms / total**2).sum()))


def online_mmd_limits(
    kernel: Float64Array,
    window: int,
    budget: float,
    rng: np.random.Generator,
    *,
    replicas: int = 1000,
) -> Float64Array:
    """Set the limits of the online MMD so that the chance of an alarm is 1 / budget at every step.

    Each replica permutes the reference, takes its last 2 W - 1 rows as a stream and the rest as the
    reference, and follows the unbiased MMD^2 of the last W rows. The limit of a step is the
    (1 - 1 / budget) quantile over replicas that have not passed an earlier limit.

    Args:
        kernel: float64 (N, N) of the reference with itself.
        window: W.
        budget: Mean steps to a false alarm.
        rng: Source of the permutations.
        replicas: How many; ten times the budget or more.

    Returns:
        float64 (W,); the last holds for all later steps.

    Raises:
        InvalidDataError: If the reference is shorter than 3 W.

    References:
        Cobb, Van Looveren and Klaise, AISTATS 2022, arXiv:2108.00883.
    """
    rows, ahead = len(kernel), 2 * window - 1
    if rows < 3 * window:
        raise InvalidDataError(
            f"the online MMD with windows of {window} needs a reference of {3 * window} studies, "
            f"and has {rows}: take a shorter window."
        )
    paths = np.empty((window, replicas))
    columns, total, trace = kernel.sum(axis=0), kernel.sum(), np.trace(kernel)
    for replica in range(replicas):
        stream = rng.permutation(rows)[rows - ahead :]
        pairs = kernel[np.ix_(stream, stream)]
        between = columns[stream] - pairs.sum(axis=0)
        own = total - 2 * columns[stream].sum() + pairs.sum() - (trace - np.trace(pairs))
        paths[:, replica] = _followed(own, between, pairs, rows - ahead, window)
    limits = np.empty(window)
    alive = np.ones(replicas, dtype=bool)
    for step in range(window):
        limits[step] = np.quantile(paths[step, alive], 1 - 1 / budget, method="higher")
        alive &= paths[step] <= limits[step]
    return limits


def online_mmd(
    kernel: Float64Array, reference: NDArray[np.int64], stream: NDArray[np.int64], window: int
) -> Float64Array:
    """Return the unbiased MMD^2 of each window of a stream: float64 (len(stream) - window + 1,).

    Args:
        kernel: float64 (N, N) of all rows that occur.
        reference: Rows of the reference.
        stream: Rows of the stream, in order.
        window: W, at least 2.
    """
    own = kernel[np.ix_(reference, reference)]
    between = kernel[np.ix_(reference, stream)].sum(axis=0)
    pairs = kernel[np.ix_(stream, stream)]
    return _followed(own.sum() - np.trace(own), between, pairs, len(reference), window)


def _followed(
    own: float, between: Float64Array, pairs: Float64Array, reference: int, window: int
) -> Float64Array:
    """Return the unbiased MMD^2 of each window.

    Args:
        own: Sum of the kernel over pairs of different rows of the reference.
        between: float64 (T,), sum over the reference for each row of the stream.
        pairs: float64 (T, T) of the stream.
        reference: Rows of the reference.
        window: Rows of a window.
    """
    m, n = reference, window
    diagonal = _moving_sums(np.diag(pairs), n)
    total = np.zeros((len(pairs) + 1, len(pairs) + 1))
    total[1:, 1:] = pairs.cumsum(axis=0).cumsum(axis=1)
    start = np.arange(len(pairs) - n + 1)
    end = start + n
    within = total[end, end] - total[start, end] - total[end, start] + total[start, start]
    across = _moving_sums(between, n)
    return own / (m * (m - 1)) + (within - diagonal) / (n * (n - 1)) - 2 * across / (m * n)


def _moving_sums(values: Float64Array, size: int) -> Float64Array:
    total = np.cumsum(np.r_[0.0, values])
    sums: Float64Array = total[size:] - total[:-size]
    return sums


def _normal_cdf(values: Float64Array) -> Float64Array:
    from scipy import special

    return np.asarray(special.ndtr(values), dtype=np.float64)
