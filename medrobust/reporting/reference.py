"""The reference model's cells under the same conditions: looked up in the store, never computed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from medrobust.evaluation.store import CellSpec, Store, StoredCell
from medrobust.fingerprints import canonical_json

from .measure import variant

References: TypeAlias = str | Mapping[str, str | None] | None
"""One reference model for all, or data set -> its reference model."""


def reference_of(reference: References, dataset: str) -> str | None:
    """Return the reference model of a data set."""
    return reference.get(dataset) if isinstance(reference, Mapping) else reference


def condition(cell: StoredCell) -> tuple[Any, ...]:
    """What two models' cells must share to be compared."""
    spec = cell.spec
    identity = canonical_json(cell.record["encoding"].get("corruption"))
    column = (spec.suite, spec.corruption, spec.severity, spec.seed)
    return (spec.dataset, spec.split, cell.data.fingerprint, *column, identity)


def conditions(cells: Sequence[StoredCell]) -> dict[tuple[Any, ...], dict[str, StoredCell]]:
    """Sort cells by condition: condition -> fingerprint -> cell."""
    found: dict[tuple[Any, ...], dict[str, StoredCell]] = {}
    for cell in cells:
        found.setdefault(condition(cell), {})[cell.fingerprint] = cell
    return found


def choose_reference(
    cell: StoredCell, candidates: Mapping[tuple[Any, ...], Mapping[str, StoredCell]]
) -> StoredCell | None:
    """Return the reference's cell under the condition of `cell`, None if none or several are left.

    Several configurations of the reference may lie in the store: then the one whose prompt set has
    the name of the cell's own.
    """
    same = list(candidates.get(condition(cell), {}).values())
    if len(same) > 1:
        same = [c for c in same if head_name(c) == head_name(cell)]
    return same[0] if len(same) == 1 else None


def head_name(cell: StoredCell) -> str:
    """Name of the cell's prompt set or probe."""
    return str(cell.record["head"].get("name", ""))


def reference_cells(
    store: Store, cells: Sequence[StoredCell], reference: str, *, command: str
) -> tuple[list[StoredCell], str | None]:
    """Find the reference model's cells for every cell of a plan.

    Args:
        store: Where cells of earlier runs lie.
        cells: The plan's finished cells.
        reference: Name of the reference model; only its cells without an adapter count.
        command: What makes the missing cells, for the note.

    Returns:
        The cells, each once; and one line that says what is missing and how to make it, or None.

    Raises:
        StoreError: If a cell of the reference is damaged.
    """
    own = conditions([c for c in cells if _is_reference(c, reference)])
    found: dict[tuple[CellSpec, str], StoredCell] = {}
    missing, ambiguous = 0, []
    for cell in cells:
        candidates = own if condition(cell) in own else _look_up(store, cell, reference)
        chosen = choose_reference(cell, candidates)
        if chosen is not None:
            found[chosen.spec, chosen.fingerprint] = chosen
        elif condition(cell) in candidates:
            ambiguous.append(head_name(cell))
        else:
            missing += 1
    return list(found.values()), _note(missing, ambiguous, len(cells), reference, command)


def _look_up(
    store: Store, cell: StoredCell, reference: str
) -> dict[tuple[Any, ...], dict[str, StoredCell]]:
    spec = cell.spec
    place = (reference, spec.dataset, spec.suite, spec.corruption, spec.severity)
    return conditions([c for c in store.find(*place) if _is_reference(c, reference)])


def _is_reference(cell: StoredCell, reference: str) -> bool:
    return (cell.spec.model, cell.spec.adapter) == (reference, "none")


def _note(
    missing: int, ambiguous: Sequence[str], total: int, reference: str, command: str
) -> str | None:
    if missing:
        return (
            f"CE and mCE need the reference {reference}: {missing} of {total} cells are not in "
            f"the store. To make them: {command}"
        )
    if ambiguous:
        return (
            f"CE and mCE are left out: for {len(ambiguous)} of {total} cells the store holds "
            f"several configurations of the reference {reference}, and not one alone with the same "
            f"prompts. To make it: {command} prompts={ambiguous[0]}"
        )
    return None


def validation_cells(
    store: Store, cells: Sequence[StoredCell]
) -> dict[tuple[str, str], StoredCell]:
    """Find the clean validation cell of every model and data set, made with the same texts.

    Args:
        store: Where cells of earlier runs lie.
        cells: The plan's finished cells.

    Returns:
        (variant, data set) -> cell; what is not in the store is left out.

    Raises:
        StoreError: If such a cell is damaged.
    """
    wanted = {(variant(c), c.spec.dataset): c for c in cells if c.spec.split != "val"}
    found: dict[tuple[str, str], StoredCell] = {}
    for key, cell in wanted.items():
        place = (cell.spec.model, cell.spec.dataset, "none", "clean", 0)
        for candidate in store.find(*place):
            if candidate.spec.split == "val" and variant(candidate) == key[0]:
                found.setdefault(key, candidate)
    return found
