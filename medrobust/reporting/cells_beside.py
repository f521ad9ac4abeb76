"""Cells that a search has placed beside a table: found in the store, in no mean, CE or rank."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from medrobust.base.fingerprints import canonical_json
from medrobust.corruptions.suites import PAIRS, THEN
from medrobust.evaluation.store import Store, StoredCell

from .rows import identity

SHARED = ("kernel", "grey", "keys", "domain")
"""What a corruption between published severities shares with the published one."""


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
    conditions = {one for cell in known for one in _conditions(cell)} if endings else set()
    found: dict[str, StoredCell] = {}
    for ending in endings:
        for place in _places(known, ending):
            for level in range(1, 6):
                for cell in store.find(*place, level):
                    if _fits(cell, ending, conditions):
                        found.setdefault(cell.fingerprint, cell)
    return list(found.values())


def _places(known: Sequence[StoredCell], ending: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield model, data set, suite and name of the columns that cells may be in."""
    tables: dict[tuple[str, str, str], dict[str, None]] = {}
    for spec in (cell.spec for cell in known):
        table = tables.setdefault((spec.model, spec.dataset, spec.suite), {})
        table[spec.corruption] = None
    for (model, dataset, suite), names in tables.items():
        pairs = (THEN.join(two) for two in permutations(names, 2))
        for name in pairs if ending == PAIRS else names:
            yield model, dataset, f"{suite}{ending}", name


def _conditions(cell: StoredCell) -> set[tuple[Any, ...]]:
    """Say under what a cell of a table was made: which corruption of any severity, and this one."""
    row = _row(cell, "", cell.record["encoding"].get("seed"))
    return {(*row, _of_any_severity(cell)), (*row, canonical_json(_corruption(cell)))}


def _fits(cell: StoredCell, ending: str, conditions: set[tuple[Any, ...]]) -> bool:
    """Say whether a table was made under the conditions of a cell beside it.

    Of two corruptions one may draw, and the other one's cell have no seed.
    """
    row = _row(cell, ending, seed := cell.record["encoding"].get("seed"))
    if "composed" not in _corruption(cell):
        return (*row, _of_any_severity(cell)) in conditions
    rows = [row] if seed is None else [row, _row(cell, ending, None)]
    parts = map(canonical_json, _corruption(cell)["composed"])
    return all(any((*one, part) in conditions for one in rows) for part in parts)


def _corruption(cell: StoredCell) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cell.record["encoding"].get("corruption", {})
    return found


def _of_any_severity(cell: StoredCell) -> tuple[Any, ...]:
    shared = {name: _corruption(cell).get(name) for name in SHARED}
    return (cell.spec.corruption, canonical_json(shared))


def _row(cell: StoredCell, ending: str, seed: Any) -> tuple[Any, ...]:
    """What such a cell and one of a table share, beside the corruption."""
    suite = cell.spec.suite.removesuffix(ending)
    return (cell.data.fingerprint, *identity(cell), suite, cell.spec.split, seed)
