"""The averages that the RobustMedCLIP paper published, beside those of a run over its twelve sets.

Facts: `published.json`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from .matrix import Matrix, plain
from .tables import in_markdown

NUMBERS = ("clean error", "mCE")


@cache
def facts() -> Mapping[str, Any]:
    """Return suite, sets by modality, averages, source and differences of protocol."""
    text = resources.files("medrobust.reporting").joinpath("published.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def averaged(matrices: Sequence[Matrix]) -> dict[str, dict[str, float | None]]:
    """Return row -> number, in percent of the reference: over sets, then over five modalities.

    On each set the clean error is divided by the reference's, and mCE is the mean over corruptions
    of CE; errors are plain. None where a cell of the row or of the reference is missing.
    """
    by_set = {matrix.table.dataset: matrix for matrix in matrices}
    labels = dict.fromkeys(row.label for matrix in matrices for row in matrix.rows)
    found: dict[str, dict[str, float | None]] = {}
    for label in labels:
        ratios = {name: _ratios(matrix, label) for name, matrix in by_set.items()}
        found[label] = {}
        for number in NUMBERS:
            means = [
                np.mean([ratios[name].get(number, np.nan) for name in sets])
                for sets in facts()["modalities"].values()
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


def published_files(matrices: Sequence[Matrix]) -> dict[str, bytes]:
    """Return `published.md` where the matrices span the twelve sets of the paper, else nothing."""
    ours = [matrix for matrix in matrices if matrix.table.suite == facts()["suite"]]
    sets = {name for names in facts()["modalities"].values() for name in names}
    if {matrix.table.dataset for matrix in ours} != sets:
        return {}
    reference = ", ".join(dict.fromkeys(matrix.reference or "none" for matrix in ours))
    lines = [
        f"Averages over five modalities, % of the reference ({reference}); published: % of CLIP",
        "",
        "| model | from | clean error | mCE |",
        "|--|--|--|--|",
    ]
    for origin, table in (("this run", averaged(ours)), ("published", facts()["averages"])):
        for model, numbers in table.items():
            cells = [_text(numbers[number]) for number in NUMBERS]
            lines.append(f"| {in_markdown(model)} | {origin} | " + " | ".join(cells) + " |")
    lines += ["", f"Published: {facts()['source']}. What differs:", ""]
    lines += [f"- {difference}" for difference in facts()["differences"]]
    return {"published.md": ("\n".join(lines) + "\n").encode()}


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
