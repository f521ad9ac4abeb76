"""Which model a report may be asked to name as its reference, and what is said where none was."""

import shlex
from collections.abc import Collection, Sequence
from typing import Protocol

from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import unknown_name
from medrobust.tasks.lookup import task_of

from .expected import ExpectedTable
from .reference import condition, conditions, head_name


class CellsMaking(Protocol):
    """Writes the commands that make cells of another model, under the conditions of stored ones."""

    def __call__(self, model: str, cells: Sequence[StoredCell], prompts: str | None = None) -> str:
        """Write the command for a model, with a prompt set where that is named."""

    def another(self, cells: Sequence[StoredCell]) -> str:
        """Name a model that the only one of some cells may be compared with."""

    def options(self, group: str) -> Collection[str]:
        """Name the options that a run could choose from: of "model" or "prompts"."""


def check_reference(
    whole: Sequence[StoredCell], reference: str, prompts: str | None, making: CellsMaking
) -> None:
    """Refuse a reference that is not in the store and that no run could make.

    Raises:
        UnknownNameError: If nothing has the name of the model or of its prompt set.
    """
    models = {cell.spec.model for cell in whole} | set(making.options("model"))
    if reference not in models:
        raise unknown_name("reference, of this store or of a run", reference, sorted(models))
    heads = {head_name(cell) for cell in whole if cell.spec.model == reference}
    heads |= set(making.options("prompts"))
    if prompts is not None and prompts not in heads:
        raise unknown_name(f"prompt set of the reference {reference}", prompts, sorted(heads))


def without_reference(
    cells: Sequence[StoredCell],
    whole: Sequence[StoredCell],
    expected: Sequence[ExpectedTable],
    typed: str,
    making: CellsMaking | None,
) -> list[str]:
    """Say why mCE is empty, and what fills it, where no reference was named.

    Args:
        cells: Shown ones.
        whole: All of the store: a reference need not be shown.
        expected: The tables that they make.
        typed: What makes the report again.
        making: Writes commands for cells that are not there.
    """
    of_models = [cell for cell in cells if task_of(cell.task).of_models]
    if not of_models or not any(table.corruptions for table in expected):
        return []
    why = "mCE is empty: it is divided by the errors of a reference model, and none was named."
    names = _may_be_references(of_models)
    several = len({(cell.spec.model, cell.spec.adapter) for cell in of_models}) > 1
    offered = names if names and several else _beside(of_models, whole)
    if offered:
        others = f" (or another of {', '.join(offered)})" if len(offered) > 1 else ""
        return [f"{why} Name one: {typed} --reference {shlex.quote(offered[0])}{others}"]
    only = of_models[0].spec.model
    lone = (
        f"The store holds {only} alone, whose mCE by its own errors is 100 whatever it does."
        if names
        else "The store holds models with an adapter alone, and a reference has none."
    )
    if making is None:
        return [f"{why} {lone} Run another model on the same cells, and name that one."]
    other = making.another(of_models) if names else only
    made = making(other, of_models)
    return [
        f"{why} {lone} Run another on the same cells, such as {other}: {made}",
        f"mCE is filled when that has run, by: {typed} --reference {shlex.quote(other)}",
    ]


def _beside(shown: Sequence[StoredCell], whole: Sequence[StoredCell]) -> list[str]:
    """List other models of the store that have all the cells of those shown."""
    wanted = {condition(cell) for cell in shown}
    models = {cell.spec.model for cell in shown}
    plain = [cell for cell in whole if cell.spec.adapter == "none"]
    return [
        name
        for name in _may_be_references(plain)
        if name not in models
        and wanted <= conditions([c for c in plain if c.spec.model == name]).keys()
    ]


def _may_be_references(cells: Sequence[StoredCell]) -> list[str]:
    """List the models that are there without an adapter: the reference of their runs first."""
    plain = [cell for cell in cells if cell.spec.adapter == "none"]
    found = list(dict.fromkeys(cell.spec.model for cell in plain))
    named = {(cell.record.get("config") or {}).get("reference") for cell in plain}
    return sorted(found, key=lambda name: name not in named)
