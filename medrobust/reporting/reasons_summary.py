"""Why numbers or bounds of summary.csv are empty."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from medrobust.base.wording import counted

from .aggregates import OVER_REFERENCE, Place
from .matrix import Matrix
from .overview import Average

BOUNDS = ("value", "low", "high")
Row = Mapping[str, str]


def summary_reasons(
    tables: Sequence[tuple[Matrix, Sequence[Row]]],
    standings: Sequence[Row],
    averages: Sequence[Average],
    rows: Sequence[Row],
) -> Iterator[dict[str, str]]:
    """Yield a row for each line of summary.csv of which a number or bound is empty.

    Args:
        tables: Of each matrix, its lines: the first of summary.csv.
        standings: Those that follow.
        averages: What the last lines are made of.
        rows: The last lines.
    """
    said = [(row, matrix) for matrix, lines in tables for row in lines]
    known: list[tuple[Row, Matrix | Average | None]] = [
        *said,
        *((row, None) for row in standings),
        *zip(rows, averages, strict=True),
    ]
    for line, (row, source) in enumerate(known, 2):
        empty = [name for name in BOUNDS if not row[name]]
        if empty:
            yield {
                "table": "summary.csv",
                "line": str(line),
                **{name: row[name] for name in ("dataset", "split", "suite")},
                "model": row["label"],
                "place": row["corruption"],
                "metric": f"{row['metric']} of {row['of']}",
                "which": ", ".join(empty),
                "kind": "empty",
                "reason": _reason(row, source),
                "cell": "",
            }


def _reason(row: Row, source: Matrix | Average | None) -> str:
    if isinstance(source, Average):
        return _of_average(source)
    if source is None:
        return "a distance from a line through the models at hand has no interval"
    return _unbounded(row, source) if row["value"] else _undefined(row, source)


def _of_average(average: Average) -> str:
    lacking = average.planned - len(average.sets)
    if lacking:
        return f"{counted(lacking, 'set')} of {average.planned} have no such number of the model"
    return "the interval of one of its sets is empty"


def _unbounded(row: Row, matrix: Matrix) -> str:
    number = next(i for i, one in enumerate(matrix.rows) if one.label == row["label"])
    column = row["corruption"]
    place = matrix.table.corruptions.index(column) if column else None
    found = matrix.estimate(row["of"], number, row["metric"], place)
    return found.note or "no interval is known for it"


def _undefined(row: Row, matrix: Matrix) -> str:
    """Say what a number lacks: corruptions, cells of the model or its reference, or errors."""
    table, metric = matrix.table, row["metric"]
    names = [row["corruption"]] if row["corruption"] else list(table.corruptions)
    names = [] if metric == "clean" else names
    if not names and metric != "clean":
        return "no corruption was asked for"
    number = next(i for i, one in enumerate(matrix.rows) if one.label == row["label"])
    places = [Place(number, name, level) for name in names for level in table.severities]
    if metric == "clean" or metric.startswith("relative_"):
        places.append(Place.clean(number))
    lacking = sum(place not in matrix.groups for place in places)
    if lacking and (metric not in OVER_REFERENCE or lacking == len(places)):
        return f"it lacks {counted(lacking, 'cell')} of {len(places)}"
    if metric not in OVER_REFERENCE:
        return "no cell it is made of has the number: see results.csv"
    return _without_ratio(matrix, number, row, names, lacking)


def _without_ratio(
    matrix: Matrix, number: int, row: Row, names: Sequence[str], lacking: int
) -> str:
    if matrix.reference is None:
        return "there is no reference: reference=MODEL of a run, --reference of a report name one"
    columns = [matrix.table.corruptions.index(name) for name in names]
    unknown = np.isnan(matrix.reference_values[row["of"]][number, columns]).any(axis=1)
    if row["metric"].startswith("relative_"):
        unknown |= np.isnan(matrix.reference_clean[row["of"]][number])
    if unknown.all():
        return f"cells of its reference, {matrix.reference}, are missing"
    if lacking:
        return f"it lacks {counted(lacking, 'cell')} and the rest gives no ratio"
    return f"its reference, {matrix.reference}, makes no error, or loses nothing to be divided by"
