"""Tables as CSV: results.csv (a row a cell and metric), summary.csv (an aggregate), matrix.csv."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from medrobust.base.csv_text import csv_bytes as csv_bytes
from medrobust.base.csv_text import defused
from medrobust.base.csv_text import number as number
from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate, baseline
from medrobust.metrics.baselines import MEDMNIST_C
from medrobust.metrics.estimates import written
from medrobust.tasks.base import Scores, Terms
from medrobust.tasks.lookup import task_of

from .aggregates import OVER_BASELINE, OVER_REFERENCE, Aggregate, divided_by
from .compare import Standing
from .expected import STANDARD_SEVERITIES
from .matrix import Matrix, Mean, plain
from .measure import Measured
from .overview import Average
from .rows import identity

Labels: TypeAlias = Mapping[tuple[str, ...], str]
"""Suite (or "" for any), data fingerprint, model, adapter and variant -> what a row is called."""

RESULT_COLUMNS = (
    "model", "adapter", "dataset", "split", "suite", "corruption", "severity", "seed",
    "metric", "value", "low", "high", "n", "higher_is_better", "cell",
)  # fmt: skip
LABELLED_COLUMNS = (*RESULT_COLUMNS[:2], "label", *RESULT_COLUMNS[2:])
"""Columns of results.csv where a model has several rows; labels are those of summary.csv."""

SUMMARY_COLUMNS = (
    "model", "adapter", "label", "dataset", "split", "suite", "corruption", "metric", "of",
    "value", "low", "high", "n", "higher_is_better", "reference", "covers", "marks",
)  # fmt: skip

MATRIX_COLUMNS = (
    "dataset", "split", "data", "suite", "of", "corruption", "covers", "severities", "reference",
    "marks",
)  # fmt: skip
"""What stands before the models in matrix.csv."""


def row_labels(matrices: Sequence[Matrix]) -> Labels:
    """Return what each row of the matrices is called; nothing where model and adapter say it."""
    if all(len({row.identity[:2] for row in one.rows}) == len(one.rows) for one in matrices):
        return {}
    found: dict[tuple[str, ...], str] = {}
    for matrix in matrices:
        for row in matrix.rows:
            for suite in (matrix.table.suite, ""):
                found.setdefault((suite, matrix.data.fingerprint, *row.identity), row.label)
    return found


def label_of(cell: StoredCell, labels: Labels) -> str:
    """Return what the row of a cell is called: by `row_labels`, else by model and adapter."""
    of = (cell.data.fingerprint, *identity(cell)) if labels else ()
    spec = cell.spec
    plain = spec.model if spec.adapter == "none" else f"{spec.model} + {spec.adapter}"
    return labels.get((spec.suite, *of)) or labels.get(("", *of)) or plain


def result_rows(
    cells: Sequence[StoredCell], measured: Measured, labels: Labels = MappingProxyType({})
) -> list[dict[str, str]]:
    """Return one row a cell and metric, in the order of `cells`, every value as text.

    A metric that is not defined has an empty value. Numbers are `repr` of a float64.

    Args:
        cells: Finished ones.
        measured: Their numbers.
        labels: From `row_labels`; where there are some, each row has its own.
    """
    return [
        {
            "model": cell.spec.model,
            "adapter": cell.spec.adapter,
            **label,
            "dataset": cell.spec.dataset,
            "split": cell.spec.split,
            "suite": cell.spec.suite,
            "corruption": cell.spec.corruption,
            "severity": str(cell.spec.severity),
            "seed": "" if cell.spec.seed is None else str(cell.spec.seed),
            "metric": metric,
            "value": number(found.value),
            "low": number(found.low),
            "high": number(found.high),
            "n": str(units(cell, scores, metric)),
            "higher_is_better": str(metrics[metric].higher_is_better).lower(),
            "cell": cell.fingerprint,
        }
        for cell in cells
        for label in [{"label": label_of(cell, labels)} if labels else {}]
        for metrics, scores in [(task_of(cell.task).metrics, measured.scores(cell))]
        for metric, found in scores.estimates.items()
    ]


def units(cell: StoredCell, scores: Scores, metric: str) -> int:
    """Count what a metric is over: the units of its terms, else images or what it says."""
    found = scores.terms.get(metric)
    if isinstance(found, Terms):
        return len(found.values)
    known = task_of(cell.task).metrics.get(metric)
    return cell.data.sizes["image" if known is None else known.unit]


def summary_rows(matrices: Sequence[Matrix]) -> list[dict[str, str]]:
    """Return one row an aggregate, for error and balanced error apart, in plan order.

    `metric` is `clean`, `severity_mean` (a corruption), `mean` (over corruptions), `CE`,
    `relative_CE` (a corruption), `mCE` or `relative_mCE`; `of` names what it is made from. Ratios
    are fractions: 1.0 is as good as the reference. `marks` names a model or reference that
    is at chance on clean images (its ratios mean nothing), contaminating training data, and what is
    known of the data: a part of the set, findings of audits.
    Further metrics: see docs/metrics.md.
    """
    return [
        row
        for matrix in matrices
        for index in range(len(matrix.rows))
        for of in matrix.losses
        for row in _of_one(matrix, index, of)
    ]


def _of_one(matrix: Matrix, row: int, of: str) -> list[dict[str, str]]:
    columns = list(enumerate(matrix.table.corruptions))
    severities = _severities(matrix)
    clean = plain(float(matrix.clean[of][row]))
    rows = [_summary(matrix, row, "clean", of, clean)]
    for c, name in columns:
        mean = matrix.severity_mean(of, row, c)
        line = _summary(matrix, row, "severity_mean", of, mean, corruption=name, covers=severities)
        rows.append(line)
    rows.append(_mean_row(matrix, row, "mean", of, matrix.mean(of, row)))
    if of not in matrix.ratios:
        return rows + _further(matrix, row, of)
    for relative, prefix in ((False, ""), (True, "relative_")):
        one = matrix.relative_corruption_error if relative else matrix.corruption_error
        rows += [
            _summary(
                matrix,
                row,
                f"{prefix}CE",
                of,
                one(of, row, c),
                corruption=name,
                covers=severities,
            )
            for c, name in columns
        ]
        mce = matrix.mce(of, row, relative=relative)
        rows.append(_mean_row(matrix, row, f"{prefix}mCE", of, mce))
    return rows + _further(matrix, row, of)


def _further(matrix: Matrix, row: int, of: str) -> list[dict[str, str]]:
    """Return the aggregates that only some rows have: clean_error_ratio, BE, flip_rate, ..."""
    told = {"clean", "severity_mean", "mean", *OVER_REFERENCE} - {"clean_error_ratio"}
    return [
        _summary(
            matrix,
            row,
            one.name,
            of,
            one.value,
            corruption=one.corruption,
            covers=_covered(matrix, one),
        )
        for one in matrix.aggregates.of(row, of)
        if one.name not in told
    ]


def _covered(matrix: Matrix, one: Aggregate) -> str:
    """Say what an aggregate is over; of several corruptions, how many of the baseline's."""
    if not one.covers:
        return "clean"
    if one.corruption is not None:
        return _severities(matrix)
    of_baseline = one.name.startswith(OVER_BASELINE)
    table = matrix.table
    names = baseline(MEDMNIST_C, table.suite).corruptions if of_baseline else table.corruptions
    planned = len(names)
    return f"{len(one.covers)} of {counted(planned, 'corruption')}; {_severities(matrix)}"


def _mean_row(matrix: Matrix, row: int, metric: str, of: str, mean: Mean) -> dict[str, str]:
    covers = f"{mean.covered} of {counted(mean.total, 'corruption')}; {_severities(matrix)}"
    return _summary(matrix, row, metric, of, mean.value, covers=covers)


def _summary(
    matrix: Matrix,
    row: int,
    metric: str,
    of: str,
    value: float | None,
    *,
    corruption: str | None = None,
    covers: str = "",
) -> dict[str, str]:
    found = matrix.aggregates.estimate(row, of, metric, corruption)
    bounds = found if value is not None else Estimate(None)
    return {
        "model": matrix.rows[row].model,
        "adapter": matrix.rows[row].adapter,
        "label": matrix.rows[row].label,
        "dataset": matrix.table.dataset,
        "split": matrix.table.split,
        "suite": matrix.table.suite,
        "corruption": corruption or "",
        "metric": metric,
        "of": of,
        "value": number(value),
        "low": number(bounds.low),
        "high": number(bounds.high),
        "n": str(matrix.units(of)),
        "higher_is_better": str(matrix.task.metrics[of].higher_is_better).lower(),
        "reference": divided_by(metric, matrix.reference),
        "covers": covers,
        "marks": "; ".join((*matrix.rows[row].marks, *matrix.remarks)),
    }


def standing_rows(
    matrices: Sequence[Matrix], ranks: Sequence[Mapping[str, Sequence[Standing]]]
) -> list[dict[str, str]]:
    """Return the rank of each row (1 is best) with its interval, and its effective robustness.

    Args:
        matrices: Tables of the report.
        ranks: Of each, loss -> where its rows stand.
    """
    return [
        line
        for matrix, by_loss in zip(matrices, ranks, strict=True)
        for of, ranked in by_loss.items()
        for row, standing in enumerate(ranked)
        if standing.rank is not None
        for line in _standing(matrix, row, of, standing, len(ranked))
    ]


def _standing(
    matrix: Matrix, row: int, of: str, standing: Standing, models: int
) -> Iterator[dict[str, str]]:
    columns, total = len(matrix.table.corruptions), matrix.table.in_store
    over = f"{columns} of {counted(total, 'corruption')}" if total else "corruptions"
    covers = f"{counted(models, 'model')}; mean over {over}; {_severities(matrix)}"
    assert standing.rank is not None
    bounds = {"low": number(standing.low), "high": number(standing.high)}
    line = _summary(matrix, row, "rank", of, float(standing.rank), covers=covers)
    yield line | bounds | {"higher_is_better": "false"}
    if standing.effective is not None:
        line = _summary(matrix, row, "effective_robustness", of, standing.effective, covers=covers)
        yield line | {"higher_is_better": "true"}


def average_rows(averages: Sequence[Average], reference: str | None) -> list[dict[str, str]]:
    """Return the means over data sets; `dataset` says over which, `covers` names them."""
    return [
        {
            "model": mean.label,
            "adapter": "",
            "label": mean.label,
            "dataset": mean.over,
            "split": "",
            "suite": mean.suite,
            "corruption": "",
            "metric": mean.metric,
            "of": mean.of,
            "value": number(mean.estimate.value),
            "low": number(mean.estimate.low),
            "high": number(mean.estimate.high),
            "n": "",
            "higher_is_better": str(mean.metric_of.higher_is_better).lower(),
            "reference": (reference or "") if mean.metric == "mCE" else "",
            "covers": f"{len(mean.sets)} of {counted(mean.planned, 'set')}: {', '.join(mean.sets)}",
            "marks": "at chance" if mean.over.startswith("sets at chance") else "",
        }
        for mean in averages
    ]


def _severities(matrix: Matrix) -> str:
    text = "severities " + ",".join(map(str, matrix.table.severities))
    return text + ("; seeds " + ",".join(map(str, matrix.seeds)) if len(matrix.seeds) > 1 else "")


def coverage(matrix: Matrix, mean: Mean) -> str:
    """Say in brackets what a mean covers, or nothing where it covers all.

    Returns:
        "" for all corruptions at severities 1 to 5, else such as " [5 of 7 corruptions; s1,3,5]".
    """
    parts = []
    if mean.covered < mean.total:
        parts.append(f"{mean.covered} of {counted(mean.total, 'corruption')}")
    if matrix.table.severities not in ((), STANDARD_SEVERITIES):
        parts.append("s" + ",".join(map(str, matrix.table.severities)))
    return f" [{'; '.join(parts)}]" if parts else ""


def matrix_csv(matrices: Sequence[Matrix]) -> bytes:
    """Write the matrices as they are printed, a row a corruption and a column a model: CSV bytes.

    Several matrices stand below one another. Shares and mCE are in percent with one decimal, other
    measures as they are, with three. Empty is what is not computed or not defined, and a mean over
    fewer than the corruptions of the table.
    """
    labels = list(dict.fromkeys(row.label for matrix in matrices for row in matrix.rows))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*MATRIX_COLUMNS, *map(defused, labels)])
    for matrix in matrices:
        for line in _matrix_lines(matrix, labels):
            writer.writerow(map(defused, line))
    return buffer.getvalue().encode()


def _matrix_lines(matrix: Matrix, labels: Sequence[str]) -> Iterator[list[str]]:
    table, of = matrix.table, matrix.shown
    place = [table.dataset, table.split, table.version[:8], table.suite]
    severities = ",".join(map(str, table.severities))
    names = ["clean", *table.corruptions, *(("mean", "mCE") if table.corruptions else ())]
    chosen = len(table.corruptions)
    count = f"{chosen} of {counted(table.in_store or chosen, 'corruption')}"
    own = (f"{row.label}: {mark}" for row in matrix.rows for mark in row.marks)
    marks = "; ".join((*matrix.remarks, *own))
    columns = {
        row.label: [
            plain(float(matrix.clean[of][index])),
            *(matrix.severity_mean(of, index, c) for c in range(len(table.corruptions))),
            *(
                mean.value if mean.covered == mean.planned else None
                for mean in (matrix.mean(of, index), matrix.mce(of, index))
            ),
        ]
        for index, row in enumerate(matrix.rows)
    }
    for line, name in enumerate(names):
        found = [columns[label][line] if label in columns else None for label in labels]
        share = matrix.metric.share or name == "mCE"
        texts = ["" if value is None else written(value, share=share) for value in found]
        yield [
            *place,
            f"{matrix.metric.title}{matrix.metric.percent_sign}",
            name,
            count if name in ("mean", "mCE") else "",
            "" if name == "clean" else severities,
            (matrix.reference or "") if name == "mCE" else "",
            marks,
            *texts,
        ]


def one_line(text: str) -> str:
    """Write text without line ends, which would leave a comment or a row of a table."""
    return " ".join(text.split())


def in_markdown(text: str) -> str:
    r"""Write a name so that Markdown shows it, and makes no tag, link or column of it.

    Example:
        >>> print(in_markdown("a|b <img> [x](y)"))
        a\|b &lt;img> \[x](y)
    """
    signs: dict[str, str | int | None] = {"&": "&amp;", "<": "&lt;", "|": r"\|", "[": r"\["}
    return one_line(text).translate(str.maketrans(signs))
