"""One report: the tables, the picture and the page of a plan, all from stored cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.whole_files import write_whole
from medrobust.base.wording import counted
from medrobust.evaluation.store import CellSpec, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings.lookup import said
from medrobust.tasks.base import Section, in_order, joined

from .collapse import collapse_notes
from .compare import COMPARISON_COLUMNS, Standing, compared, comparison_rows, standings
from .expected import ExpectedTable
from .figures import matrix_png, static_figures
from .matrices import build_matrices
from .matrix import Matrix
from .measure import Features, Measured
from .overview import Average, averages
from .page import report_html
from .reasons import REASON_COLUMNS, reason_rows, section_reasons
from .reasons_summary import summary_reasons
from .reference import References
from .tables import (
    LABELLED_COLUMNS,
    RESULT_COLUMNS,
    SUMMARY_COLUMNS,
    average_rows,
    csv_bytes,
    matrix_csv,
    result_rows,
    row_labels,
    standing_rows,
    summary_rows,
)
from .terminal import print_matrix, print_section

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Report:
    """What a plan's finished cells say.

    Attributes:
        matrices: One for each data set, split and suite.
        results: Rows of results.csv.
        summary: Rows of summary.csv.
        comparisons: Rows of comparisons.csv: pairs of models, tested on the same images.
        reasons: First rows of reasons.csv: of the report's own tables.
        ranks: For each matrix, loss -> the rank of each row with its interval.
        averages: Means over data sets.
        untuned: Tables of models as published that gains are counted from and that are no rows.
        readings: Name -> settings of the readings that speak only where they are asked for.
        beside: Cells that a search placed beside the tables; readings alone speak of them.
        missing: Planned cells that are not finished.
        total: Number of planned cells.
        notes: Lines for the reader, each printed once.
        folder: Where the files lie.
        run: The content of run.json.
    """

    matrices: tuple[Matrix, ...]
    results: tuple[dict[str, str], ...]
    summary: tuple[dict[str, str], ...]
    missing: tuple[CellSpec, ...]
    total: int
    notes: tuple[str, ...]
    folder: Path
    run: Mapping[str, Any] = field(default_factory=dict)
    comparisons: tuple[dict[str, str], ...] = ()
    reasons: tuple[dict[str, str], ...] = ()
    ranks: tuple[Mapping[str, tuple[Standing, ...]], ...] = ()
    averages: tuple[Average, ...] = ()
    untuned: tuple[Matrix, ...] = ()
    readings: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[StoredCell, ...] = ()

    def __repr__(self) -> str:
        """One line: the tables, which a notebook would show whole, are thousands."""
        models = len({row.label for matrix in self.matrices for row in matrix.rows})
        cells = f"{self.total - len(self.missing)} of {counted(self.total, 'cell')}"
        return (
            f"<Report: {counted(models, 'model')}, {cells}. print() shows the matrix, "
            f"write(folder) makes page and tables>"
        )

    @property
    def missing_line(self) -> str:
        """Such as "3 of 36 cells missing", or empty."""
        return (
            f"{len(self.missing)} of {counted(self.total, 'cell')} missing" if self.missing else ""
        )

    @property
    def standings(self) -> tuple[tuple[Standing, ...], ...]:
        """The ranks of each matrix by the loss that it shows."""
        shown = zip(self.matrices, self.ranks, strict=True)
        return tuple(ranked[matrix.shown] for matrix, ranked in shown)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the whole report says of demonstrations, each sentence once."""
        return tuple(dict.fromkeys(n for matrix in self.matrices for n in matrix.notices))

    @cached_property
    def said(self) -> Mapping[str, Section]:
        """What readings say: name -> section."""
        return said(self)

    @property
    def sections(self) -> tuple[Section, ...]:
        """What readings say, in the order of the page."""
        return tuple(in_order(self.said.values()))

    @property
    def silent_line(self) -> str:
        """Which readings were asked for and say nothing; empty where all speak."""
        silent = [name for name in self.readings if name not in self.said]
        if not silent:
            return ""
        return (
            f"readings={','.join(silent)}: nothing to say, for no table here holds the answers, "
            f"labels or features that are read"
        )

    @property
    def with_files(self) -> tuple[Section, ...]:
        """What tasks and readings write beside the page."""
        return (
            joined(part for matrix in self.matrices for part in matrix.sections),
            *self.sections,
        )

    @property
    def result_columns(self) -> tuple[str, ...]:
        """Columns of results.csv, with the labels of its rows where a model has several."""
        labelled = bool(self.results) and "label" in self.results[0]
        return LABELLED_COLUMNS if labelled else RESULT_COLUMNS

    @cached_property
    def all_reasons(self) -> tuple[dict[str, str], ...]:
        """Rows of reasons.csv: why numbers are empty, which intervals to doubt."""
        return (*self.reasons, *section_reasons(self.with_files))

    def write(
        self,
        folder: str | Path | None = None,
        *,
        tables: bool = False,
        figures: bool = False,
        interactive: bool = False,
        own_examples: bool = False,
    ) -> list[str]:
        """Write report.html, matrix.png and the tables, each whole or not at all.

        The tables are matrix.csv, results.csv, summary.csv, with two models or more
        comparisons.csv, reasons.csv where a number is empty, and those of tasks and readings that
        have something to say.

        Args:
            folder: Made if it is not there; the report's own by default.
            tables: Also write tables/ (LaTeX, Markdown) and, where pyarrow is installed,
                results.parquet and summary.parquet.
            figures: Also write figures/ (PNG, SVG, PDF).
            interactive: Put plotly into the page.
            own_examples: Show example pictures of own data, too.

        Returns:
            Names of the files beside the page, the page first.

        Raises:
            ConfigurationError: If the folder cannot be written.
        """
        page = report_html(self, interactive=interactive, own_examples=own_examples)
        files = {"report.html": page, **self._files()}
        place = self.folder if folder is None else Path(folder)
        write_files(place, files)
        if tables:
            from .export import parquet_files, text_tables

            write_files(place, parquet_files(self))
            write_files(place / "tables", text_tables(self))
        if figures:
            write_files(place / "figures", static_figures(self.matrices))
        return list(files)

    def _files(self) -> dict[str, bytes]:
        """Make everything that lies beside the page, in the order that people read it in."""
        files = {}
        if self.matrices:
            files["matrix.png"] = matrix_png(self.matrices)
            files["matrix.csv"] = matrix_csv(self.matrices)
        files["results.csv"] = csv_bytes(self.results, self.result_columns)
        files["summary.csv"] = csv_bytes(self.summary, SUMMARY_COLUMNS)
        if self.comparisons:
            files["comparisons.csv"] = csv_bytes(self.comparisons, COMPARISON_COLUMNS)
        if self.all_reasons:
            files["reasons.csv"] = csv_bytes(self.all_reasons, REASON_COLUMNS)
        for section in self.with_files:
            files |= section.files
        return files

    def print(self, console: "Console | None" = None) -> None:
        """Print a table for each matrix, what is missing, the notes, and what readings say."""
        from rich import get_console

        console = console or get_console()
        for matrix in self.matrices:
            print_matrix(matrix, console)
        for line in filter(None, (self.missing_line, self.silent_line, *self.notes)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        for section in self.sections:
            print_section(section, console)


def make_report(
    store_cells: Sequence[StoredCell],
    *,
    expected: Sequence[ExpectedTable],
    missing: Sequence[CellSpec],
    reference: References,
    reference_cells: Sequence[StoredCell],
    notes: Sequence[str],
    folder: Path,
    run: Mapping[str, Any],
    validation: Mapping[tuple[str, str], StoredCell] | None = None,
    sanity: Sequence[StoredCell] = (),
    features: Features | None = None,
    untuned: Sequence[StoredCell] = (),
    processes: int = 1,
    readings: Mapping[str, Any] | None = None,
    beside: Sequence[StoredCell] = (),
) -> Report:
    """Lay out the tables of a plan; nothing is written before `Report.write`.

    Args:
        store_cells: The plan's finished cells, in plan order.
        expected: What the plan wants: one entry for each data set, split and suite, in order.
        missing: The plan's cells that are not finished.
        reference: Name of the model whose errors normalise CE and mCE, or one a data set, or None.
        reference_cells: From `medrobust.reporting.reference_cells`.
        notes: Lines for the reader.
        folder: Where `write` puts the files.
        run: The content of run.json; `command`, `started`, `seconds`, `versions`, `device` and
            `commit` are shown where they are given.
        validation: (variant, data set) -> clean validation cell: what operating points and
            temperatures are fitted on.
        sanity: Cells of images that show nothing: shown apart, in no rank, mean or comparison.
        features: Returns kept image features of an encoding, for the feature drift.
        untuned: From `medrobust.reporting.untuned_cells`.
        processes: How many measure the cells of a large store side by side.
        readings: From `medrobust.readings.lookup.asked`.
        beside: From `medrobust.reporting.cells_beside`.

    Raises:
        ConfigurationError: If a cell is in no expected table.
    """
    measured = Measured(validation, features)
    measured.prepare([*store_cells, *reference_cells, *sanity, *untuned], processes)
    measured.align([*store_cells, *reference_cells, *untuned, *beside])
    matrices = build_matrices(
        store_cells,
        expected=expected,
        missing=missing,
        reference=reference,
        reference_cells=reference_cells,
        sanity_cells=sanity,
        measured=measured,
    )
    published = build_matrices(
        untuned,
        expected=expected,
        reference=reference,
        reference_cells=reference_cells,
        measured=measured,
    )
    joined = {table.dataset for table in expected if table.unit != "image"}
    planned_missing = [spec for spec in missing if spec.dataset not in joined]
    pairs = [compared(matrix, measured) for matrix in matrices]
    ranked = tuple(standings(*each) for each in zip(matrices, pairs, strict=True))
    means = averages(matrices)
    tables = [(matrix, summary_rows([matrix])) for matrix in matrices]
    places, over_sets = standing_rows(matrices, ranked), average_rows(means, _names(reference))
    summary = [*chain.from_iterable(rows for _, rows in tables), *places, *over_sets]
    written, labels = [*store_cells, *sanity], row_labels(matrices)
    lines = [comparison_rows(*each) for each in zip(matrices, pairs, strict=True)]
    comparisons = tuple(chain.from_iterable(lines))
    return Report(
        matrices=tuple(matrices),
        results=tuple(result_rows(written, measured, labels)),
        summary=tuple(summary),
        missing=tuple(planned_missing),
        total=len([c for c in store_cells if c.data.unit == "image"]) + len(planned_missing),
        notes=tuple(dict.fromkeys([*notes, *collapse_notes(store_cells, measured)])),
        folder=folder,
        run=run,
        comparisons=comparisons,
        reasons=(
            *reason_rows(written, measured, comparisons, labels),
            *summary_reasons(tables, places, means, over_sets),
        ),
        ranks=ranked,
        averages=tuple(means),
        untuned=tuple(published),
        readings=dict(readings or {}),
        beside=tuple(beside),
    )


def _names(reference: References) -> str | None:
    """Name the reference, or all of them."""
    if not isinstance(reference, Mapping):
        return reference
    return ", ".join(dict.fromkeys(name for name in reference.values() if name)) or None


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file under a temporary name beside its place, then rename it.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content, lasting=False)
    except OSError as error:
        raise ConfigurationError(
            f"the report cannot be written to {folder} ({error.strerror}). Free the disk or name "
            f"a folder that can be written, by --out of a report or hydra.run.dir of a run; "
            f"finished cells are kept."
        ) from error
