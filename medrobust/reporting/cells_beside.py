"""Cells that a search has placed beside a table: found in the store, in no mean, CE or rank."""

from collections.abc import Mapping, Sequence
from typing import Any

from medrobust.evaluation.store import Store, StoredCell

from .rows import identity

SHARED = ("kernel", "grey", "keys")
"""What the corruption of a cell beside a table shares with the published one."""


def cells_beside(
    store: Store, cells: Sequence[StoredCell], readings: Mapping[str, Any]
) -> list[StoredCell]:
    """Find the cells that readings ask for under the conditions of a table, by suite.

    Args:
        store: Where they lie.
        cells: Finished ones of the tables.
        readings: From `medrobust.readings.lookup.asked`; one that has `beside` names how the suite
            of such cells ends.

    Returns:
        Of the rows, data, corruptions and seeds of `cells`, each once.

    Raises:
        StoreError: If such a cell is damaged.
    """
    endings = [one.beside for one in readings.values() if hasattr(one, "beside")]
    known = [cell for cell in cells if cell.spec.severity and cell.data.unit == "image"]
    rows = {_condition(cell) for cell in known} if endings else set()
    columns = dict.fromkeys(
        (cell.spec.model, cell.spec.dataset, cell.spec.suite, cell.spec.corruption)
        for cell in known
    )
    found: dict[str, StoredCell] = {}
    for ending in endings:
        for model, dataset, suite, corruption in columns:
            for level in range(1, 6):
                for cell in store.find(model, dataset, f"{suite}{ending}", corruption, level):
                    if _condition(cell, ending) in rows:
                        found.setdefault(cell.fingerprint, cell)
    return list(found.values())


def _condition(cell: StoredCell, ending: str = "") -> tuple[Any, ...]:
    """What such a cell and one of a table share."""
    encoding, spec = cell.record["encoding"], cell.spec
    corruption = encoding.get("corruption", {})
    shared = tuple(corruption.get(name) for name in SHARED)
    column = (spec.suite.removesuffix(ending), spec.corruption, spec.split)
    return (cell.data.fingerprint, *identity(cell), *column, encoding.get("seed"), *shared)
