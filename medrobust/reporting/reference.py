"""The reference model's cells under the same conditions: looked up in the store, never computed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from medrobust.base.fingerprints import canonical_json
from medrobust.base.wording import agreeing, counted
from medrobust.evaluation.store import (
    CellSpec,
    Store,
    StoredCell,
    head_fingerprint,
    texts_fingerprint,
    unadapted_fingerprint,
)
from medrobust.tasks.base import AFTER, MIXED, ONLINE
from medrobust.tasks.lookup import task_of

from .measure import variant

References: TypeAlias = str | Mapping[str, str | None] | None
"""One reference model for all, or data set -> its reference model."""

Making: TypeAlias = str | Callable[[Sequence[StoredCell], str | None], str]
"""What makes the reference's cells: a command, or what writes one for cells and a prompt set."""


def reference_of(reference: References, dataset: str) -> str | None:
    """Return the reference model of a data set."""
    return reference.get(dataset) if isinstance(reference, Mapping) else reference


def condition(cell: StoredCell) -> tuple[Any, ...]:
    """What two models' cells must share to be compared: first of all, the task."""
    spec = cell.spec
    identity = canonical_json(cell.record["encoding"].get("corruption"))
    column = (spec.suite, spec.corruption, spec.severity, spec.seed)
    return (cell.task, spec.dataset, spec.split, cell.data.fingerprint, *column, identity)


def conditions(cells: Sequence[StoredCell]) -> dict[tuple[Any, ...], dict[str, StoredCell]]:
    """Sort cells by condition: condition -> fingerprint -> cell."""
    found: dict[tuple[Any, ...], dict[str, StoredCell]] = {}
    for cell in cells:
        found.setdefault(condition(cell), {})[cell.fingerprint] = cell
    return found


def choose_reference(
    cell: StoredCell,
    candidates: Mapping[tuple[Any, ...], Mapping[str, StoredCell]],
    prompts: str | None = None,
) -> StoredCell | None:
    """Return the reference's cell under the condition of `cell`, None if none or several are left.

    Several configurations of the reference may lie in the store: then the one whose prompt set has
    the name of the cell's own. With `prompts`, only cells of the prompt set of that name count. One
    whose prompt set has the name of the cell's own but other sentences is about other class texts,
    and does not count. Which blocks are read tells cells apart only where those of one model were
    read by several: towers of other depths have other blocks.
    """
    same = _of_these_texts(cell, candidates)
    if prompts is not None:
        same = [c for c in same if head_name(c) == prompts]
    elif len(same) > 1:
        same = [c for c in same if head_name(c) == head_name(cell)]
    return same[0] if len(same) == 1 else None


def _of_these_texts(
    cell: StoredCell, candidates: Mapping[tuple[Any, ...], Mapping[str, StoredCell]]
) -> list[StoredCell]:
    same = list(candidates.get(condition(cell), {}).values())
    named = [c for c in same if head_name(c) == head_name(cell)]
    alike: list[StoredCell] = []
    for read in (texts_fingerprint, _whatever_blocks):
        own = read(cell.record["head"])
        alike = alike or [c for c in named if read(c.record["head"]) == own]
    return [c for c in same if c in alike or head_name(c) != head_name(cell)]


def _whatever_blocks(head: Mapping[str, Any]) -> str:
    """Fingerprint the texts of a head, whatever blocks of its model it reads."""
    plain = {key: part for key, part in head.items() if key != "blocks"}
    if "maps" in plain:
        plain["maps"] = {key: part for key, part in head["maps"].items() if key != "blocks"}
    return texts_fingerprint(plain)


def reference_title(reference: str, prompts: str | None) -> str:
    """Name the reference in tables, with its prompt set where that was chosen.

    Example:
        >>> reference_title("clip_vit_b16", "medical"), reference_title("clip_vit_b16", None)
        ('clip_vit_b16 [medical]', 'clip_vit_b16')
    """
    return reference if prompts is None else f"{reference} [{prompts}]"


def head_name(cell: StoredCell) -> str:
    """Name of the cell's prompt set or probe."""
    return task_of(cell.task).head_name(cell.record["head"])


def reference_cells(
    store: Store,
    cells: Sequence[StoredCell],
    reference: str,
    *,
    command: Making,
    prompts: str | None = None,
) -> tuple[list[StoredCell], str | None]:
    """Find the reference model's cells for every cell of a plan.

    Args:
        store: Where cells of earlier runs lie.
        cells: The plan's finished cells.
        reference: Name of the reference model; only its cells without an adapter count.
        command: What makes the missing cells, for the note.
        prompts: Prompt set of the reference; None: the one of each cell, or the only one.

    Returns:
        The cells, each once; and one line that says what is missing and how to make it, or None.

    Raises:
        StoreError: If a cell of the reference is damaged.
    """
    own = conditions([c for c in cells if _is_reference(c, reference)])
    found: dict[tuple[CellSpec, str], StoredCell] = {}
    missing, others = 0, set()
    ambiguous = []
    for cell in cells:
        candidates = own if condition(cell) in own else _look_up(store, cell, reference)
        chosen = choose_reference(cell, candidates, prompts)
        there = [head_name(c) for c in _of_these_texts(cell, candidates)]
        if not there and condition(cell) in candidates:
            others.add("other class texts")
        if chosen is not None:
            found[chosen.spec, chosen.fingerprint] = chosen
        elif not there or (prompts is not None and prompts not in there):
            missing += 1
            others.update(there)
        else:
            ambiguous.append(prompts or head_name(cell))
            others.update(there)
    title = reference_title(reference, prompts)
    if missing:
        also = f" (those of {', '.join(sorted(others))} are)" if others else ""
        return list(found.values()), (
            f"CE and mCE need the reference {title}: {missing} of {counted(len(cells), 'cell')} "
            f"{agreeing(missing, 'is')} not in "
            f"the store{also}. To make {agreeing(missing, 'it')}: "
            f"{_made_by(command, cells, prompts)}"
        )
    if not ambiguous:
        return list(found.values()), None
    key = "reference_prompts=" if isinstance(command, str) else "--reference-prompts "
    choice = f", or choose one by {key}{'|'.join(sorted(others))}"
    return list(found.values()), (
        f"CE and mCE are left out: for {len(ambiguous)} of "
        f"{counted(len(cells), 'cell')} the store holds several configurations "
        f"of the reference {title}, and not one alone with the same prompts. To make it: "
        f"{_made_by(command, cells, ambiguous[0])}"
        f"{choice if len(others) > 1 and prompts is None else ''}"
    )


def _made_by(command: Making, cells: Sequence[StoredCell], prompts: str | None) -> str:
    """Write what makes the reference's cells, with a prompt set of that name."""
    if not isinstance(command, str):
        return command(cells, prompts)
    return f"{command} prompts={prompts}" if prompts else command


def untuned_cells(store: Store, cells: Sequence[StoredCell]) -> tuple[list[StoredCell], list[str]]:
    """Find the model as published for every adapted cell: what gains are counted from.

    Args:
        store: Where cells of earlier runs lie.
        cells: The plan's finished cells.

    Returns:
        The cells that are not among the plan's, each once; and a line for each model that lacks
        some, or of which a probe has several to choose from.

    Raises:
        StoreError: If such a cell is damaged.
    """
    own = conditions([c for c in cells if c.spec.adapter == "none"])
    added: dict[tuple[Any, ...], dict[str, StoredCell]] = {}
    counts: dict[str, list[int]] = {}
    prompts: dict[str, set[str]] = {}
    adapted = [c for c in cells if c.record.get("adaptation")]
    towers = {
        c.spec.model for c in adapted if c.record["adaptation"].get("base_classifies") is False
    }
    for cell in sorted((c for c in adapted if c.spec.model not in towers), key=is_probe):
        name, here = cell.spec.model, condition(cell)
        there = as_published(cell, own.get(here, {}).values())
        there = there or as_published(cell, added.get(here, {}).values())
        if not there:
            there = as_published(cell, _look_up(store, cell, name).get(here, {}).values())
            if len(there) == 1:
                added.setdefault(here, {})[there[0].fingerprint] = there[0]
        counts.setdefault(name, []).append(len(there))
        if len(there) > 1:
            prompts.setdefault(name, set()).update(map(head_name, there))
    notes = [
        f"probes of {name} have no gains: it has no text side, so that nothing classifies without "
        f"the adapter"
        for name in sorted(towers)
    ]
    probed = {
        c.spec.model
        for c in adapted
        if is_probe(c) and "base_classifies" not in c.record["adaptation"]
    }
    for name, numbers in counts.items():
        missing = numbers.count(0)
        if missing:
            notes.append(
                f"gains need {name} as published under the same conditions: {missing} of "
                f"{counted(len(numbers), 'cell')} {agreeing(missing, 'is')} not in the store. To "
                f"make {agreeing(missing, 'it')}: the same command without the adapter"
                f"{', if the model has a text side' if name in probed else ''}"
            )
    notes += [
        f"gains of probes of {name} are left out: a probe has no prompts, and {name} as published "
        f"is there with several ({', '.join(sorted(names))}). To count from one: run it alone"
        for name, names in prompts.items()
    ]
    return [cell for found in added.values() for cell in found.values()], notes


def as_published(cell: StoredCell, candidates: Iterable[StoredCell]) -> list[StoredCell]:
    """Return the cells that a gain of `cell` may be counted from; one alone decides.

    Args:
        cell: Adapted, or the model as published with other prompts on purpose.
        candidates: Cells without an adapter under the same condition.

    Returns:
        Those of the same model and encoding but for the adapter, with the same prompts. Where there
        are none: of a probe, which has no prompts, and of a model that was not tuned, those with
        any prompts.
    """
    same = [
        c
        for c in candidates
        if c.spec.model == cell.spec.model and without_adapter(c) == without_adapter(cell)
    ]
    own = unadapted_fingerprint(cell.record["head"])
    heads = [c for c in same if head_fingerprint(c.record["head"]) == own]
    any_prompts = is_probe(cell) or not cell.record.get("adaptation")
    return heads or (same if any_prompts else [])


def is_probe(cell: StoredCell) -> bool:
    """Whether a trained head answers, no prompts."""
    return "weights" in cell.head


def without_adapter(cell: StoredCell) -> dict[str, Any]:
    """Return what decides the image features, but for what adapts the model, before or online."""
    adapting = ("adapter", ONLINE, AFTER, MIXED)
    return {k: v for k, v in cell.record["encoding"].items() if k not in adapting}


def _look_up(
    store: Store, cell: StoredCell, reference: str
) -> dict[tuple[Any, ...], dict[str, StoredCell]]:
    spec = cell.spec
    place = (reference, spec.dataset, spec.suite, spec.corruption, spec.severity)
    there = store.find(*place, data=cell.data.fingerprint)
    return conditions([c for c in there if _is_reference(c, reference)])


def _is_reference(cell: StoredCell, reference: str) -> bool:
    return (cell.spec.model, cell.spec.adapter) == (reference, "none")


def by_variant(cells: Sequence[StoredCell]) -> dict[tuple[str, str], StoredCell]:
    """Sort clean validation cells: (variant, data set) -> the first such cell."""
    found: dict[tuple[str, str], StoredCell] = {}
    for cell in cells:
        found.setdefault((variant(cell), cell.spec.dataset), cell)
    return found


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
