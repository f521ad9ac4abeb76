"""Ways of joining probabilities that have a number: the top k, log-sum-exp, a norm, a softmax."""

import numpy as np

from medrobust.types import Float64Array, Int64Array


def joined_by_number(
    log_odds: Float64Array, starts: Int64Array, name: str, number: float
) -> Float64Array:
    """Join the probabilities of each unit; of a unit of one image its log-odds come back.

    Args:
        log_odds: float64 (N, L), unit by unit.
        starts: First row of each unit.
        name: "top", "lse", "norm" or "softmax", as `joined_log_odds` describes them.
        number: k, r, p or a.

    Returns:
        Log-odds, float64 (U, L).
    """
    present, absent = -np.logaddexp(0.0, -log_odds), -np.logaddexp(0.0, log_odds)
    counts = np.diff(np.r_[starts, len(log_odds)])
    if name == "top":
        joined = _top(log_odds, starts, counts, int(number))
    elif name == "lse":
        joined = _log_sum_exp(present, absent, starts, counts, number)
    elif name == "norm":
        joined = _norm(present, absent, starts, counts, number)
    else:
        weights = number * np.exp(present)  # the sum of the weights cancels
        joined = log_sums(present + weights, starts) - log_sums(absent + weights, starts)
    return np.where(counts[:, None] == 1, log_odds[starts], joined)


def _top(
    log_odds: Float64Array, starts: Int64Array, counts: Int64Array, largest: int
) -> Float64Array:
    """Average the probabilities of the largest few of each unit."""
    units = np.repeat(np.arange(len(starts)), counts)
    columns = []
    for column in log_odds.T:
        order = np.lexsort((-column, units))
        kept = order[np.arange(len(column)) - np.repeat(starts, counts) < largest]
        chosen = column[kept, None]
        first = np.flatnonzero(np.r_[True, np.diff(units[kept]) > 0])
        logs = [log_sums(-np.logaddexp(0.0, sign * chosen), first) for sign in (-1, 1)]
        columns.append(logs[0] - logs[1])
    return np.concatenate(columns, axis=1)


def _log_sum_exp(
    present: Float64Array,
    absent: Float64Array,
    starts: Int64Array,
    counts: Int64Array,
    sharpness: float,
) -> Float64Array:
    """Return the log-odds of (1/r) ln mean exp(r p).

    From the largest p, and from the smallest 1 - p, so that neither end loses its digits.
    """
    odds = []
    for values, sign, extreme in ((present, 1, np.maximum), (absent, -1, np.minimum)):
        each = np.exp(values)
        first = extreme.reduceat(each, starts)
        terms = np.expm1(sign * sharpness * (each - np.repeat(first, counts, axis=0)))
        means = np.add.reduceat(terms, starts) / counts[:, None]
        with np.errstate(divide="ignore"):
            odds.append(np.log(first + sign * np.log1p(means) / sharpness))
    joined: Float64Array = odds[0] - odds[1]
    return joined


def _norm(
    present: Float64Array,
    absent: Float64Array,
    starts: Int64Array,
    counts: Int64Array,
    power: float,
) -> Float64Array:
    """(mean p^k)^(1/k), with the mean near 1 from what it lacks."""
    sums = log_sums(power * present, starts) - np.log(counts)[:, None]
    lacks = np.add.reduceat(np.expm1(power * present), starts) / counts[:, None]
    near = np.log1p(np.maximum(lacks, -0.5))
    logs = np.where(lacks > -0.5, near, sums) / power
    with np.errstate(divide="ignore"):
        joined: Float64Array = logs - np.log(-np.expm1(logs))
    return joined


def log_sums(logs: Float64Array, starts: Int64Array) -> Float64Array:
    """Return log(sum of exp) over each run of rows that begins at `starts`."""
    largest = np.maximum.reduceat(logs, starts)
    counts = np.diff(np.r_[starts, len(logs)])
    terms = np.exp(logs - np.repeat(largest, counts, axis=0))
    sums: Float64Array = largest + np.log(np.add.reduceat(terms, starts))
    return sums
