"""Why numbers or bounds of tables are empty, and which intervals hold less often than they say."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from medrobust.evaluation.store import StoredCell
from medrobust.tasks.base import Section

from .measure import Measured
from .tables import Labels, label_of

REASON_COLUMNS = (
    "table", "line", "dataset", "split", "suite", "model", "place", "metric", "which", "kind",
    "reason", "cell",
)  # fmt: skip
COMPARED = ("difference", "low", "high", "p", "p_holm", "p_bh", "p_familywise")
"""Numbers of a line of comparisons.csv."""


def reason_rows(
    cells: Sequence[StoredCell],
    measured: Measured,
    comparisons: Sequence[Mapping[str, str]],
    labels: Labels = MappingProxyType({}),
) -> Iterator[dict[str, str]]:
    """Yield a row for each number of results.csv and comparisons.csv of which something is said.

    `line` is that of the table, its heading being line 1; `which` names what is concerned. `kind`
    is `empty`, or `caution` for an interval that holds less often than it says.

    Args:
        cells: In the order of results.csv.
        measured: Their numbers.
        comparisons: Rows of comparisons.csv.
        labels: From `tables.row_labels`.
    """
    line = 1
    for cell in cells:
        for metric, found in measured.scores(cell).estimates.items():
            line += 1
            if not found.lacks and not found.note:
                continue
            spec = cell.spec
            yield {
                "table": "results.csv",
                "line": str(line),
                "dataset": spec.dataset,
                "split": spec.split,
                "suite": spec.suite,
                "model": label_of(cell, labels),
                "place": f"{spec.corruption} s{spec.severity}" if spec.severity else "clean",
                "metric": metric,
                "which": ", ".join(found.lacks or ("low", "high")),
                "kind": "empty" if found.lacks else "caution",
                "reason": found.note,
                "cell": cell.fingerprint,
            }
    yield from _of_comparisons(comparisons)


def _of_comparisons(comparisons: Sequence[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    for line, row in enumerate(comparisons, 2):
        empty = [name for name in COMPARED if not row[name]]
        if empty:
            yield {
                "table": "comparisons.csv",
                "line": str(line),
                **{name: row[name] for name in ("dataset", "split", "suite")},
                "model": f"{row['first']} against {row['second']}",
                "place": row["condition"],
                "metric": row["of"],
                "which": ", ".join(empty),
                "kind": "empty",
                "reason": row["reason"],
                "cell": "",
            }


def section_reasons(sections: Iterable[Section]) -> Iterator[dict[str, str]]:
    """Yield a row for each row of a table of a task or reading of which something is said.

    A row with numbers that are empty for several reasons has one for each.

    Args:
        sections: What tasks and readings write, in order.
    """
    for section in sections:
        for table in section.files:
            empty, doubts = section.empty.get(table, {}), section.doubts.get(table, {})
            if not empty and not doubts:
                continue
            text = io.StringIO(section.files[table].decode(), newline="")
            for line, row in enumerate(csv.DictReader(text), 2):
                found: dict[str, list[str]] = {}
                for column in (name for name in empty if not row[name]):
                    why = row.get("note") or empty[column]
                    found.setdefault(why if isinstance(why, str) else why(row), []).append(column)
                for reason, columns in found.items():
                    yield _of_line(table, line, row, (", ".join(columns), "empty", reason))
                if line in doubts:
                    which, reason = doubts[line]
                    yield _of_line(table, line, row, (which, "caution", reason))


def _of_line(
    table: str, line: int, row: Mapping[str, str], said: tuple[str, str, str]
) -> dict[str, str]:
    """Name a row of a table, as far as it names itself, and say what is said of it."""
    severity = row.get("severity", "")
    place = "clean" if severity == "0" else f"{row.get('corruption', '')} s{severity}".strip()
    places = [place if severity else row.get("corruption", ""), row.get("condition", "")]
    which, kind, reason = said
    return {
        "table": table,
        "line": str(line),
        **{name: row.get(name, "") for name in ("dataset", "split", "suite")},
        "model": row.get("label") or row.get("model", ""),
        "place": ", ".join(filter(None, places)),
        "metric": row.get("metric") or row.get("of", ""),
        "which": which,
        "kind": kind,
        "reason": reason,
        "cell": row.get("cell", ""),
    }
