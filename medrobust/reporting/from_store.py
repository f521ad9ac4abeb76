"""A report from the store alone: every cell that is there, or those of some models and sets."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from medrobust.base.wording import agreeing, counted, listed
from medrobust.evaluation.store import BETWEEN, PAIRS, SANITY, CellSpec, Store, StoredCell
from medrobust.exceptions import StoreError, UnknownNameError, unknown_name
from medrobust.readings import lookup

from .expected import ExpectedTable, belongs, expected_from_cells, tasks_of, versions_of
from .joined_metadata import JoinedMetadata
from .measure import variant
from .named_reference import CellsMaking, check_reference, without_reference
from .parts import Joining
from .reference import Making, validation_cells
from .report import Report
from .request import ReportRequest, build_report

CLEAN, ALL, REGISTRY, BOTH = "clean", "all", "medmnist_c", "medimeta_c_and_registry"
"""Names that `corruption=` takes beside those of corruptions and suites."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of a store a report shows; empty: all of it.

    Attributes:
        models: Names of models.
        datasets: Names of data sets.
        corruptions: Names of corruptions or suites, "medmnist_c" or "clean", as in a run.
        severities: Numbers, or "all".
    """

    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    corruptions: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The switches of `medrobust report` that make it."""
        named = (
            ("--model", self.models),
            ("--dataset", self.datasets),
            ("--corruption", self.corruptions),
            ("--severity", self.severities),
        )
        return [word for switch, names in named if names for word in (switch, ",".join(names))]

    def takes(self, cell: StoredCell) -> bool:
        """Say whether a cell is of the models and data sets."""
        spec = cell.spec
        return (not self.models or spec.model in self.models) and (
            not self.datasets or spec.dataset in self.datasets
        )

    def cut(self, table: ExpectedTable) -> ExpectedTable:
        """Return the chosen columns and severities of a table; it knows how many it had."""
        wanted = self.severities and ALL not in self.severities
        columns = tuple(c for c in table.corruptions if self._column(table, c))
        levels = tuple(s for s in table.severities if not wanted or str(s) in self.severities)
        in_store = len(table.corruptions) if columns != table.corruptions else 0
        return replace(table, corruptions=columns, severities=levels, in_store=in_store)

    def _column(self, table: ExpectedTable, corruption: str) -> bool:
        if not self.corruptions or ALL in self.corruptions:
            return True
        groups = {table.suite, corruption}
        if table.suite == table.dataset:
            groups |= {REGISTRY, BOTH}
        if table.suite == "medimeta_c":
            groups.add(BOTH)
        return not groups.isdisjoint(self.corruptions)

    def check(self, cells: Sequence[StoredCell]) -> None:
        """Refuse a name that no cell of the store has.

        Raises:
            UnknownNameError: With the nearest names that there are.
        """
        specs = [c.spec for c in cells]
        corrupted = [s for s in specs if s.severity and not _beside_tables(s)]
        suites = {s.suite for s in corrupted}
        registries = any(s.suite == s.dataset for s in corrupted)
        groups = {REGISTRY, BOTH} if registries else set()
        columns = {s.corruption for s in corrupted} | suites | groups
        for kind, wanted, known in (
            ("model", self.models, {s.model for s in specs}),
            ("data set", self.datasets, {s.dataset for s in specs}),
            ("corruption", self.corruptions, columns | {CLEAN, ALL}),
            ("severity", self.severities, {str(s.severity) for s in corrupted} | {ALL}),
        ):
            for name in wanted:
                if name == "0" and kind == "severity":
                    raise UnknownNameError(
                        "severity 0 is clean, which every report shows; --corruption clean shows "
                        "it alone."
                    )
                if name not in known:
                    raise unknown_name(f"{kind} of this store", name, sorted(known))

    @property
    def note(self) -> list[str]:
        """Say on the page that it shows a part of the store."""
        if not self.words:
            return []
        shown = " ".join(self.words)
        return [
            f"this report shows a part of the store ({shown}): every mean, mCE, rank and "
            f"comparison is over these cells alone"
        ]


def report_store(
    root: Path,
    folder: Path,
    *,
    reference: str | None = None,
    reference_prompts: str | None = None,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[str] = (),
    interactive: bool = True,
    examples: bool = False,
    figures: bool = True,
    processes: int = 1,
    metadata: Sequence[JoinedMetadata] = (),
    aggregations: Sequence[Joining] = (),
    readings: Mapping[str, Any] | None = None,
    command: str | None = None,
    making: CellsMaking | None = None,
) -> Report:
    """Write page, tables and figures of a store; no model is run and no data set opened.

    Args:
        root: Folder of the store.
        folder: Where the files go; made if it is not there.
        reference: Model whose errors normalise CE and mCE; None: no ratios.
        reference_prompts: Prompt set of the reference, where the store holds several of it.
        models: Names of models, all by default.
        datasets: Names of data sets, all by default.
        corruptions: Names of corruptions or suites, as `corruption=` takes them; all by default.
        severities: "1" to "5", all by default.
        interactive: Put plotly into the page (5 MB) for curves and scatter that answer the mouse.
        examples: Show example pictures of own data, where the store was told to keep them.
        figures: Also draw figures/ (nine files a matrix, a few seconds each matrix).
        processes: How many measure the cells of a large store side by side; more than one needs a
            script that guards its start.
        metadata: Columns that join stored images by their ids.
        aggregations: What images are joined to, in tables beside their own, such as
            `medrobust.readings.Aggregation()`.
        readings: What stored cells shall say further, such as
            `{"conformal": medrobust.readings.Conformal(alpha=0.05)}`.
        command: What was typed for this report, for the commands that it offers; None: what makes
            it again.
        making: Writes the commands for cells that are not there; None: they are not written.

    Returns:
        The report.

    Raises:
        StoreError: If there is no store, nothing in it that was asked for, or a damaged cell.
        UnknownNameError: If a name or severity is not in the store, or nothing has the reference's.
        ConfigurationError: If the folder cannot be written, or images name no units to join.
    """
    store = Store(root)
    choice = Choice(tuple(models), tuple(datasets), tuple(corruptions), tuple(severities))
    whole, chosen = _chosen(store, choice)
    if reference and making is not None:
        check_reference(whole, reference, reference_prompts, making)
    for one in metadata:
        chosen = one.join(chosen)
    shown = [c for c in chosen if not _beside_tables(c.spec)]
    shown = [c for c in shown if c.spec.split != "val"] or shown
    cells, expected, missing = _part(store, choice, shown)
    words = [
        *(word for one in metadata for word in one.words),
        *(word for one in aggregations for word in one.words),
        *lookup.words(readings or {}),
        *choice.words,
        *_switches(
            {
                "--reference": reference,
                "--reference-prompts": reference_prompts,
                "--light": not interactive,
                "--no-figures": not figures,
                "--examples": examples,
            }
        ),
    ]
    typed = command or _typed(_from_here(root), [*words, "--out", _from_here(folder)])
    request = ReportRequest(
        store=store,
        cells=cells,
        expected=expected,
        folder=folder,
        run={"command": _typed(_on_page(root), words)},
        reference=reference,
        reference_prompts=reference_prompts,
        commands={reference: _made_by(making, reference, typed)} if reference else {},
        validation=validation_cells(store, cells),
        sanity=[c for c in chosen if c.spec.suite == SANITY],
        missing=missing,
        notes=[
            *store.left_out,
            *choice.note,
            *version_notes(expected),
            *between_notes(expected),
            *narrow_notes(cells, expected),
            *(one.note(cells) for one in metadata),
            *([] if reference else without_reference(cells, whole, expected, typed, making)),
        ],
        processes=processes,
        aggregations=aggregations,
        readings=readings or {},
    )
    report = build_report(request)
    report.write(tables=True, figures=figures, interactive=interactive, own_examples=examples)
    return report


def _typed(root: str, words: Sequence[str]) -> str:
    """Write a command that makes a report of a store."""
    return shlex.join(["medrobust", "report", root, *words])


def _switches(given: Mapping[str, str | bool | None]) -> list[str]:
    """Write switches that are on, and those that have a value with it."""
    on = {switch: value for switch, value in given.items() if value}
    return [
        word
        for switch, value in on.items()
        for word in ((switch, value) if isinstance(value, str) else (switch,))
    ]


def _from_here(place: Path) -> str:
    """Name a place as it is typed from this folder, and one elsewhere whole."""
    here, there = Path.cwd(), place.absolute()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else str(place)


def _on_page(root: Path) -> str:
    """Name a store as it is typed from this folder; one elsewhere by its name alone."""
    return _from_here(root) if root.absolute().is_relative_to(Path.cwd()) else root.name


def _made_by(making: CellsMaking | None, reference: str, typed: str) -> Making:
    """Say what makes the cells of a reference: a command, or where that command is written."""
    if making is not None:
        return partial(making, reference)
    named = typed if " --reference " in typed else f"{typed} --reference {shlex.quote(reference)}"
    return f"{named} writes the command"


def _chosen(store: Store, choice: Choice) -> tuple[list[StoredCell], list[StoredCell]]:
    """Return all cells of a store, and those of the chosen models and data sets.

    Raises:
        StoreError: If there are none.
        UnknownNameError: If no cell has a name that was chosen.
    """
    if not (store.root / "cells").is_dir():
        raise StoreError(f"{store.root} holds no cells. Pass the folder that store.dir names.")
    cells = list(store.cells())
    choice.check(cells)
    kept = [c for c in cells if choice.takes(c)]
    if all(_beside_tables(c.spec) for c in kept):
        raise StoreError(f"{store.root} holds no cell of these models on these data sets.")
    return cells, kept


def _part(
    store: Store, choice: Choice, cells: Sequence[StoredCell]
) -> tuple[list[StoredCell], list[ExpectedTable], list[CellSpec]]:
    """Return the chosen cells, clean ones included, the tables they make, and what these lack.

    Raises:
        StoreError: If no corrupted cell is left, though corruptions were asked for.
    """
    whole = expected_tables(cells)
    if not (choice.corruptions or choice.severities):
        return list(cells), whole, gaps(cells, whole)
    if set(choice.corruptions) == {CLEAN}:
        clean = [c for c in cells if c.spec.severity == 0]
        tables = expected_tables(clean)
        return clean, tables, gaps(clean, tables)
    tables = [
        table
        for table in map(choice.cut, whole)
        if any(c.spec.severity and table.holds(c) for c in cells)
    ]
    if not tables:
        raise StoreError(
            f"{store.root} holds no corrupted cell of {' '.join(choice.words)} together. "
            f"Leave one of them out to see what there is."
        )
    kept = [c for c in cells if any(table.holds(c) for table in tables)]
    missing = [spec for spec in gaps(cells, whole) if any(belongs(spec, t) for t in tables)]
    return kept, tables, missing


def _beside_tables(spec: CellSpec) -> bool:
    """Say whether a cell is in no table: its images show nothing, or a search placed it."""
    return spec.suite == SANITY or spec.suite.endswith((BETWEEN, PAIRS))


def expected_tables(cells: Sequence[StoredCell]) -> list[ExpectedTable]:
    """Derive the tables: one a task, data set, split and suite; clean alone without a suite.

    Data of one name that differ make tables of their own.
    """
    tables = expected_from_cells(cells)
    covered = {(table.dataset, table.split, table.task, table.version) for table in tables}
    tasks, versions = tasks_of(cells), versions_of(cells)
    alone = [(*key, task, one) for key in tasks for task in tasks[key] for one in versions[key]]
    return tables + [
        ExpectedTable(dataset, split, "none", (), (), version, task=task)
        for dataset, split, task, version in alone
        if (dataset, split, task, version) not in covered
    ]


def version_notes(expected: Iterable[ExpectedTable]) -> list[str]:
    """Say which data sets the store holds in several versions."""
    found: dict[str, set[str]] = {}
    for table in expected:
        if table.version:
            found.setdefault(table.dataset, set()).add(table.version)
    return [
        f"the store holds {counted(len(versions), 'version')} of the data set {name} (other "
        f"images, labels, limit or metadata columns): each has a table of its own"
        for name, versions in found.items()
    ]


def between_notes(expected: Iterable[ExpectedTable]) -> list[str]:
    """Say where levels lie that were computed between the published ones, as their run does.

    Example:
        >>> between_notes([ExpectedTable("toy", "test", "imagenet_c@2.5", ("contrast",), (3,))])
        ['contrast (imagenet_c@2.5): 3 at 2.5']
    """
    notes: dict[str, None] = {}
    for table in expected:
        levels = zip(table.severities, table.placed, strict=True)
        for name, (level, at) in product(table.corruptions, levels):
            if at != level:
                notes[f"{name} ({table.suite}): {level} at {at:g}"] = None
    return list(notes)


def gaps(cells: Sequence[StoredCell], expected: Iterable[ExpectedTable]) -> list[CellSpec]:
    """List the cells that a model lacks and another model of the same table has.

    A model counts as part of a table where it has a corrupted cell in it.
    """
    missing: dict[CellSpec, None] = {}
    for table in expected:
        for specs in _rows(cells, table):
            ours = [s for s in specs if s.suite == table.suite and s.severity]
            if table.corruptions and not ours:
                continue
            missing |= dict.fromkeys(_gaps(table, specs, ours))
    return list(missing)


def _rows(cells: Sequence[StoredCell], table: ExpectedTable) -> list[list[CellSpec]]:
    """Part the cells of a table by the row that they stand in."""
    rows: dict[tuple[str, ...], list[CellSpec]] = {}
    for cell in cells:
        spec = cell.spec
        if table.is_of(cell):
            key = (spec.model, spec.adapter, cell.data.fingerprint, variant(cell))
            rows.setdefault(key, []).append(spec)
    return list(rows.values())


def narrow_notes(cells: Sequence[StoredCell], expected: Iterable[ExpectedTable]) -> list[str]:
    """Say which rows have all cells of some severities alone, and what compares them there."""
    notes = []
    for table in expected:
        narrow: dict[tuple[int, ...], list[str]] = {}
        for specs in _rows(cells, table):
            have = {(s.corruption, s.severity) for s in specs if s.suite == table.suite}
            whole = tuple(
                level
                for level in table.severities
                if all((name, level) in have for name in table.corruptions)
            )
            if table.corruptions and 0 < len(whole) < len(table.severities):
                name = " + ".join([specs[0].model, *({specs[0].adapter} - {"none"})])
                narrow.setdefault(whole, []).append(name)
        notes += [
            f"{table.dataset}/{table.split} {table.suite}: {listed(names)} "
            f"{agreeing(len(names), 'has')} severity {','.join(map(str, whole))} of "
            f"{','.join(map(str, table.severities))} alone, and so no means over this table: "
            f"--severity {','.join(map(str, whole))} compares rows there"
            for whole, names in narrow.items()
        ]
    return notes


def _gaps(
    table: ExpectedTable, specs: Sequence[CellSpec], ours: Sequence[CellSpec]
) -> list[CellSpec]:
    first = (ours or specs)[0]
    model = (first.model, first.adapter, first.dataset, first.split)
    have = {(s.corruption, s.severity) for s in ours}
    missing = [
        CellSpec(*model, table.suite, name, level, first.seed)
        for name in table.corruptions
        for level in table.severities
        if (name, level) not in have
    ]
    if not any(spec.severity == 0 for spec in specs):
        missing.append(CellSpec(*model, "none", "clean", 0, None))
    return missing
