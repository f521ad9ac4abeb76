"""Why numbers or bounds of tables are empty, and which intervals hold less often than they say."""

from collections.abc import Iterator, Mapping, Sequence

from medrobust.evaluation.store import StoredCell

from .measure import Measured

REASON_COLUMNS = (
    "table", "line", "dataset", "split", "suite", "model", "place", "metric", "which", "kind",
    "reason", "cell",
)  # fmt: skip
COMPARED = ("difference", "low", "high", "p", "p_holm", "p_bh", "p_familywise")
"""Numbers of a line of comparisons.csv."""


def reason_rows(
    cells: Sequence[StoredCell], measured: Measured, comparisons: Sequence[Mapping[str, str]]
) -> Iterator[dict[str, str]]:
    """Yield a row for each number of results.csv and comparisons.csv of which something is said.

    `line` is that of the table, its heading being line 1; `which` names what is concerned. `kind`
    is `empty`, or `caution` for an interval that holds less often than it says.

    Args:
        cells: In the order of results.csv.
        measured: Their numbers.
        comparisons: Rows of comparisons.csv.
    """
    line = 1
    for cell in cells:
        for metric, found in measured.scores(cell).estimates.items():
            line += 1
            if not found.lacks and not found.note:
                continue
            spec = cell.spec
            model = spec.model if spec.adapter == "none" else f"{spec.model} + {spec.adapter}"
            yield {
                "table": "results.csv",
                "line": str(line),
                "dataset": spec.dataset,
                "split": spec.split,
                "suite": spec.suite,
                "model": model,
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
