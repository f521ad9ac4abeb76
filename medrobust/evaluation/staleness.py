"""What changed under a half-finished matrix: its fingerprints differ, and here is in what."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from medrobust.base.former_names import FIRST
from medrobust.exceptions import StoreError
from medrobust.tasks.base import READ_AS, deciding
from medrobust.tasks.lookup import task_name, task_of

from .plan import DatasetPlan
from .store import CellKey, CellSpec, Store, damaged
from .store_files import read_record

log = logging.getLogger(__name__)

DATA = "data (images, labels, limit or metadata columns)"
"""What the fingerprint of a data set takes in that a reader may have changed."""

ANSWERS = ("kind", "texts", "absent", READ_AS)
"""Parts of a head that are its sentences, or the sort of classifier; all others are the task's."""

SAID = ("weights", "adapter", "preprocessing", "data")
"""Parts of an encoding that nobody changes by choosing another option of a run."""


def differences(key: CellKey, record: Mapping[str, Any]) -> list[str]:
    """Name the parts in which a planned cell and a stored one differ.

    Args:
        key: Of the planned cell.
        record: `cell.json` of the stored one.

    Returns:
        Names of parts of the encoding, then "prompts", "texts" (of a task that reads no prompts) or
        "classifier", then "task" with what of it differs, in that order.

    Example:
        >>> from medrobust.evaluation.cells import CellSpec
        >>> spec = CellSpec("m", "none", "d", "test", "none", "clean", 0, None)
        >>> key = CellKey(spec, {}, {"kind": "neighbours", "version": 2}, "d")
        >>> differences(key, {"encoding": {}, "head": {"kind": "neighbours", "version": 1}})
        ['task (version)']
    """
    before = record["encoding"]
    names = [*key.encoding, *(name for name in before if name not in key.encoding)]
    found = [name for name in names if key.encoding.get(name) != before.get(name)]
    read = "texts" if "texts" in key.head else None
    if "name" in key.head and task_of(key.task).reads_prompts:
        read = "prompts"
    if read is None and key.task == FIRST:
        return found + (["classifier"] if deciding(key.head) != deciding(record["head"]) else [])
    return found + _of_head(deciding(key.head), deciding(record["head"]), read)


def _of_head(planned: Mapping[str, Any], stored: Mapping[str, Any], read: str | None) -> list[str]:
    """Name what differs between heads: what answers, or how the task asks."""
    names = [*planned, *(name for name in stored if name not in planned)]
    unlike = [name for name in names if planned.get(name) != stored.get(name)]
    asked = [name for name in unlike if read is None or name not in ANSWERS]
    answers = [str(read)] if len(asked) < len(unlike) else []
    return [*answers, *([f"task ({', '.join(asked)})"] if asked else [])]


def warn_of_changes(plans: Sequence[DatasetPlan], store: Store) -> list[str]:
    """Warn where the store has a clean cell of that name made with other weights, data or prompts.

    Its cells stay in the store and are in no table of this run, so that a damaged one is named and
    stops nothing.

    Returns:
        What was logged, one sentence a data set.
    """
    found = []
    for plan in plans:
        clean = plan.cells[0].key
        if store.holds(clean.spec, clean.fingerprint):
            continue
        spec = clean.spec
        place = (spec.model, spec.dataset, spec.suite, spec.corruption, spec.severity)
        changes: list[list[str]] = []
        for folder in store.places(*place):
            try:
                changed = _changed(clean, read_record(folder / "cell.json"))
            except (StoreError, KeyError, TypeError, AttributeError) as error:
                said = error if isinstance(error, StoreError) else damaged(folder, str(error))
                found.append(f"{said} This run does not use it")
                continue
            if changed and changed not in changes:
                changes.append(changed)
        found += [
            f"{spec.model} on {spec.dataset}/{spec.split}: {' and '.join(changed)} changed "
            f"since cells of that name were stored; this run uses none of them"
            for changed in changes
            if not any(set(changed) < set(other) for other in changes)  # of rows of one run
        ]
    for sentence in dict.fromkeys(found):
        log.warning("%s", sentence)
    return list(dict.fromkeys(found))


def _changed(clean: CellKey, record: Mapping[str, Any]) -> list[str]:
    """Say what nobody chose differs between a clean cell and a stored one of its name and task."""
    head = record["head"]
    if CellSpec(**record["cell"]) != clean.spec or task_name(str(head["kind"])) != clean.task:
        return []
    encoded = {*clean.encoding, *record["encoding"]}
    same_name = head.get("name") == clean.head.get("name")
    return [
        DATA if name == "data" else name
        for name in differences(clean, record)
        if name in SAID or (name not in encoded and same_name)
    ]
