"""A report from the store alone: every cell that is there, or those of some models and sets."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from medrobust.evaluation.store import SANITY, CellSpec, Store, StoredCell
from medrobust.exceptions import StoreError, unknown_name

from .matrix import ExpectedTable, expected_from_cells, versions_of
from .measure import variant
from .published import published_files
from .reference import reference_cells, reference_title, validation_cells
from .report import Report, make_report, write_files


def report_store(
    root: Path,
    folder: Path,
    *,
    reference: str | None = None,
    reference_prompts: str | None = None,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    interactive: bool = True,
    examples: bool = False,
    figures: bool = True,
    processes: int = 1,
) -> Report:
    """Write page, tables and figures of a store; no model is run and no data set opened.

    Args:
        root: Folder of the store.
        folder: Where the files go; made if it is not there.
        reference: Model whose errors normalise CE and mCE; None: no ratios.
        reference_prompts: Prompt set of the reference, where the store holds several of it.
        models: Names of models, all by default.
        datasets: Names of data sets, all by default.
        interactive: Put plotly into the page (5 MB) for curves and scatter that answer the mouse.
        examples: Show example pictures of own data, where the store was told to keep them.
        figures: Also draw figures/ (nine files a matrix, a few seconds each matrix).
        processes: How many measure the cells of a large store side by side; more than one needs a
            script that guards its start.

    Returns:
        The report.

    Raises:
        StoreError: If there is no store, nothing in it that was asked for, or a damaged cell.
        UnknownNameError: If a model or data set is not in the store.
        ConfigurationError: If the folder cannot be written.
    """
    store = Store(root)
    chosen = _chosen(store, models, datasets)
    shown = [c for c in chosen if c.spec.suite != SANITY]
    cells = [c for c in shown if c.spec.split != "val"] or shown
    found: list[StoredCell] = []
    notes = []
    if reference is not None:
        command = f"python run.py model={reference} dataset=..."
        found, note = reference_cells(
            store, cells, reference, command=command, prompts=reference_prompts
        )
        notes = [note] if note else []
        reference = reference_title(reference, reference_prompts)
    expected = expected_tables(cells)
    report = make_report(
        cells,
        expected=expected,
        missing=gaps(cells, expected),
        reference=reference,
        reference_cells=found,
        notes=[*notes, *version_notes(expected)],
        folder=folder,
        run={"command": f"python scripts/report.py {root.name}"},
        validation=validation_cells(store, cells),
        sanity=[c for c in chosen if c.spec.suite == SANITY],
        features=store.read_features,
        processes=processes,
    )
    report.write(tables=True, figures=figures, interactive=interactive, own_examples=examples)
    write_files(folder, published_files(report.matrices))
    return report


def _chosen(store: Store, models: Sequence[str], datasets: Sequence[str]) -> list[StoredCell]:
    if not (store.root / "cells").is_dir():
        raise StoreError(f"{store.root} holds no cells. Pass the folder that store.dir names.")
    cells = list(store.cells())
    for kind, wanted, known in (
        ("model", models, {c.spec.model for c in cells}),
        ("data set", datasets, {c.spec.dataset for c in cells}),
    ):
        for name in wanted:
            if name not in known:
                raise unknown_name(f"{kind} of this store", name, sorted(known))
    kept = [
        c
        for c in cells
        if (not models or c.spec.model in models) and (not datasets or c.spec.dataset in datasets)
    ]
    if all(c.spec.suite == SANITY for c in kept):
        raise StoreError(f"{store.root} holds no cell of these models on these data sets.")
    return kept


def expected_tables(cells: Sequence[StoredCell]) -> list[ExpectedTable]:
    """Derive the tables: one a data set, split and suite; clean alone where there is no suite.

    Data of one name that differ make tables of their own.
    """
    tables = expected_from_cells(cells)
    covered = {(table.dataset, table.split, table.version) for table in tables}
    alone = [(*key, one) for key, versions in versions_of(cells).items() for one in versions]
    return tables + [
        ExpectedTable(dataset, split, "none", (), (), version)
        for dataset, split, version in alone
        if (dataset, split, version) not in covered
    ]


def version_notes(expected: Iterable[ExpectedTable]) -> list[str]:
    """Say which data sets the store holds in several versions."""
    found: dict[str, set[str]] = {}
    for table in expected:
        if table.version:
            found.setdefault(table.dataset, set()).add(table.version)
    return [
        f"the store holds {len(versions)} versions of the data set {name} (other images, labels, "
        f"limit or metadata columns): each has a table of its own"
        for name, versions in found.items()
    ]


def gaps(cells: Sequence[StoredCell], expected: Iterable[ExpectedTable]) -> list[CellSpec]:
    """List the cells that a model lacks and another model of the same table has.

    A model counts as part of a table where it has a corrupted cell in it.
    """
    missing: dict[CellSpec, None] = {}
    for table in expected:
        rows: dict[tuple[str, ...], list[CellSpec]] = {}
        for cell in cells:
            spec = cell.spec
            if table.is_of(cell):
                key = (spec.model, spec.adapter, cell.data.fingerprint, variant(cell))
                rows.setdefault(key, []).append(spec)
        for specs in rows.values():
            ours = [s for s in specs if s.suite == table.suite and s.severity]
            if table.corruptions and not ours:
                continue
            missing |= dict.fromkeys(_gaps(table, specs, ours))
    return list(missing)


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
