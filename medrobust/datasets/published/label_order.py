"""Which class is number 0? Label counts against the shares that are known of a set.

Several releases of one set number its classes differently. Where the counts of a split fit another
known order clearly better than the one assumed, the run stops and asks; where shares are known only
approximately, tables carry a warning. Nothing is re-ordered unasked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medrobust.base.findings import Finding
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.types import Int64Array

CLEARLY = 1000.0
"""Likelihood ratio from which another order is called clearly better."""


@dataclass(frozen=True, slots=True)
class KnownShares:
    """Shares of the classes of one set, by name.

    Attributes:
        counts: Class -> images in the source data.
        orders: Name of an order -> classes in that order; the first is the set's own.
        exact: Whether the counts are those of the source, or approximate.
        splits: Splits whose shares these are.
    """

    counts: Mapping[str, float]
    orders: Mapping[str, tuple[str, ...]]
    exact: bool
    splits: tuple[str, ...]


def classes_in_order(
    known: KnownShares | None, class_names: tuple[str, ...], order: str | None, name: str
) -> tuple[str, ...]:
    """Return the class names in the order that was asked for, their own if none was.

    Raises:
        ConfigurationError: If no such order is known.
    """
    if order is None:
        return class_names
    orders = {} if known is None else known.orders
    if order not in orders:
        raise ConfigurationError(
            f"dataset.label_order={order!r}: known orders of {name} are "
            f"{', '.join(orders) or 'none but its own (null)'}."
        )
    return orders[order]


def check_label_order(
    known: KnownShares | None,
    labels: Int64Array,
    class_names: Sequence[str],
    order: str | None,
    split: str,
    name: str,
) -> tuple[Finding, ...]:
    """Compare the counts of a split with the known shares, under each known order.

    Args:
        known: Of the set; None where nothing is known.
        labels: int64 (N,).
        class_names: In the order assumed.
        order: As asked for by the user: then it is theirs to know, and only said in the tables.
        split: Of the data.
        name: Of the set.

    Returns:
        Findings for the tables: the order that was asked for, or a warning.

    Raises:
        InvalidDataError: If shares are exact and another order is `CLEARLY` better.
    """
    if order is not None:
        return (Finding("label order", f"label order of {name}: {order}, as asked for"),)
    if known is None or split not in known.splits or set(class_names) != set(known.counts):
        return ()
    if labels.max() >= len(class_names):
        return ()  # refused elsewhere
    counts = np.bincount(labels, minlength=len(class_names))
    fits = {key: log_likelihood(counts, known, names) for key, names in known.orders.items()}
    best = max(fits, key=lambda key: fits[key])
    gain = fits[best] - log_likelihood(counts, known, class_names)
    if gain <= np.log(CLEARLY):
        return ()
    said = (
        f"labels of {name}/{split} fit the order {best!r} ({', '.join(known.orders[best])}) better "
        f"than their own, by a likelihood ratio of {ratio_text(float(gain))}"
    )
    if not known.exact:
        return (Finding("label order", f"{said}; its shares are known approximately only"),)
    raise InvalidDataError(
        f"{said}. Pass dataset.label_order={best}, or dataset.label_order="
        f"{next(iter(known.orders))} to keep the set's own."
    )


def log_likelihood(counts: Int64Array, known: KnownShares, names: Sequence[str]) -> float:
    """Return the multinomial log-likelihood of the counts, up to what no order changes."""
    shares = np.array([known.counts[name] for name in names], dtype=np.float64)
    return float((counts * np.log(shares / shares.sum())).sum())


def ratio_text(gain: float) -> str:
    """Write exp(gain) as a power of ten."""
    return f"10^{gain / np.log(10):.0f}"
