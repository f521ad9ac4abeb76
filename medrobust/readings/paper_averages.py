"""The averages that the RobustMedCLIP paper published, beside those of a run over its twelve sets.

Facts: `published.json`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix, plain
from medrobust.reporting.report import Report
from medrobust.reporting.tables import in_markdown
from medrobust.tasks.base import Section, text_tables

NUMBERS = ("clean error", "mCE")
COLUMNS = ("model", "from", *NUMBERS)


@cache
def facts() -> Mapping[str, Any]:
    """Return suite, sets by modality, averages, source and differences of protocol."""
    text = resources.files("medrobust.readings").joinpath("published.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def without_number(matrices: Sequence[Matrix]) -> list[str]:
    """Name the sets on which a row has no number, so that its average has none."""
    lacking = (
        matrix.table.dataset
        for matrix in matrices
        if any(len(_ratios(matrix, row.label)) < len(NUMBERS) for row in matrix.rows)
    )
    return list(dict.fromkeys(lacking))


def averaged(matrices: Sequence[Matrix]) -> dict[str, dict[str, float | None]]:
    """Return row -> number, in percent of the reference: over sets, then over their modalities.

    On each set the clean error is divided by the reference's, and mCE is the mean over corruptions
    of CE; errors are plain. None where a cell of the row or of the reference is missing.
    """
    by_set: dict[str, list[Matrix]] = {}  # several where classes stand in another order
    for matrix in matrices:
        by_set.setdefault(matrix.table.dataset, []).append(matrix)
    labels = dict.fromkeys(row.label for matrix in matrices for row in matrix.rows)
    found: dict[str, dict[str, float | None]] = {}
    for label in labels:
        ratios = {
            name: next(filter(None, (_ratios(matrix, label) for matrix in own)), {})
            for name, own in by_set.items()
        }
        found[label] = {}
        for number in NUMBERS:
            means = [
                np.mean([ratios[name].get(number, np.nan) for name in sets if name in ratios])
                for sets in facts()["modalities"].values()
                if not ratios.keys().isdisjoint(sets)
            ]
            found[label][number] = plain(100 * float(np.mean(means)))
    return found


def _ratios(matrix: Matrix, label: str) -> dict[str, float]:
    row = next((index for index, row in enumerate(matrix.rows) if row.label == label), None)
    if row is None or "error" not in matrix.values:
        return {}
    found = {}
    if (reference := float(matrix.reference_clean["error"][row])) > 0:
        found["clean error"] = float(matrix.clean["error"][row]) / reference
    mce = matrix.mce("error", row)
    if mce.value is not None and mce.covered == mce.planned:
        found["mCE"] = mce.value
    return found


def _tables(matrices: Sequence[Matrix]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return title and lines of each table; none where one of the twelve sets is missing."""
    sets = {name for names in facts()["modalities"].values() for name in names}
    known = [matrix for matrix in matrices if matrix.table.dataset in sets]
    ours = [matrix for matrix in known if matrix.table.suite == facts()["suite"]]
    if any(matrix.table.in_store for matrix in known):
        return []  # some of the corruptions only
    if {matrix.table.dataset for matrix in ours} != sets:
        return []
    published = [
        (model, "published", *_texts(numbers)) for model, numbers in facts()["averages"].items()
    ]
    tables = [
        (
            _title(
                f"Averages over five modalities, {_conditions(ours)}; published: % of CLIP", ours
            ),
            [*_lines(ours), *published],
        )
    ]
    registries = [matrix for matrix in known if matrix.table.suite == matrix.table.dataset]
    if registries:
        names = ", ".join(dict.fromkeys(matrix.table.dataset for matrix in registries))
        title = f"Second block, the sets' own registries of MedMNIST-C, mean over {names}"
        title = _title(f"{title}, {_conditions(registries)}", registries)
        tables.append((title, _lines(registries)))
    return tables


def _title(text: str, matrices: Sequence[Matrix]) -> str:
    """Say what a table is of, and which sets keep an average from being one."""
    lacking = ", ".join(without_number(matrices))
    why = "a cell is missing, or the reference has none, or makes no error"
    return f"{text}; no average for want of {lacking}: {why}" if lacking else text


def _conditions(matrices: Sequence[Matrix]) -> str:
    """Say what the numbers of a table are made of."""
    reference = ", ".join(dict.fromkeys(matrix.reference or "none" for matrix in matrices))
    suites = dict.fromkeys(matrix.table.suite for matrix in matrices)
    levels = sorted({level for matrix in matrices for level in matrix.table.severities})
    of = f"{next(iter(suites))}, " if len(suites) == 1 else ""
    return f"{of}severities {','.join(map(str, levels))}, % of the reference ({reference})"


def _lines(matrices: Sequence[Matrix]) -> list[tuple[str, ...]]:
    return [(row, "this run", *_texts(numbers)) for row, numbers in averaged(matrices).items()]


def section(report: Report) -> Section | None:
    """Return both tables where the report spans the twelve sets of the paper, else None."""
    tables = _tables(report.matrices)
    if not tables:
        return None
    files = {"published.md": _markdown(tables).encode()}
    return Section(
        "Beside the published averages",
        order=10,
        shows="the metrics that its tables name",
        html=_html(tables),
        files=files,
        tables=text_tables([(title, COLUMNS, lines) for title, lines in tables], _note()),
    )


def _note() -> str:
    differences = "".join(f"\n- {difference}" for difference in facts()["differences"])
    return f"Published: {facts()['source']}. What differs:{differences}"


def _markdown(tables: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> str:
    text = ""
    for title, lines in tables:
        rows = ["| " + " | ".join(map(in_markdown, line)) + " |" for line in lines]
        head = ["", f"| {' | '.join(COLUMNS)} |", "|--" * len(COLUMNS) + "|"]
        text += "\n".join([title, *head, *rows, "", ""])
    text += f"Published: {facts()['source']}. What differs:\n\n"
    text += "".join(f"- {difference}\n" for difference in facts()["differences"])
    return text


def _html(tables: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> str:
    shown = "".join(
        f"<p>{escape(title)}</p>{plain_table(COLUMNS, lines, tight=True)}"
        for title, lines in tables
    )
    items = "".join(f"<li>{escape(difference)}</li>" for difference in facts()["differences"])
    return (
        '\n<section aria-labelledby="published"><h2 id="published">Beside the published averages'
        f"</h2>{shown}<p>Published: {escape(facts()['source'])}. What differs:</p>"
        f'<ul class="small">{items}</ul></section>'
    )


def _texts(numbers: Mapping[str, float | None]) -> tuple[str, ...]:
    found = (numbers[number] for number in NUMBERS)
    return tuple("–" if value is None else f"{value:.1f}" for value in found)
