"""What own images are judged by beside labels: reports, which a store keeps as keyed hashes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medrobust.base.targets import Texts
from medrobust.base.wording import agreeing
from medrobust.exceptions import InvalidDataError
from medrobust.types import Int64Array

from .pseudonyms import keyed_hashes
from .table import Table, few
from .unlabelled import Unlabelled, check_unlabelled


def reported(table: Table, column: str, unlabelled: Unlabelled) -> Table:
    """Return the rows that have a report.

    Args:
        table: All rows.
        column: Of the reports.
        unlabelled: "refuse", or "drop" for the rows that have none.

    Raises:
        ConfigurationError: If `unlabelled` is neither.
        InvalidDataError: If rows have none and are not to be dropped, or no row has one; names the
            lines.
    """
    check_unlabelled(unlabelled)
    reports = table.column(column, "text_column")
    bare = [row for row, report in enumerate(reports) if not report]
    if not bare:
        return table
    lines = [str(table.lines[row]) for row in bare]
    if unlabelled == "refuse":
        raise InvalidDataError(
            f"{table.file} has no report in {agreeing(len(lines), 'line')} {few(lines)}. Fill it "
            f"in, or pass dataset.unlabelled=drop to leave such rows out."
        )
    if len(bare) == len(table):
        raise InvalidDataError(f"no row of {table.file} has a report.")
    without = set(bare)
    kept = [row for row in range(len(table)) if row not in without]
    return replace(table.rows(kept), dropped=table.rows(bare))


def read_texts(reports: Sequence[str], key: bytes) -> Texts:
    """Pair each image with its report; images with equal reports share one.

    Args:
        reports: One an image.
        key: Of the data, for what a store keeps.

    Returns:
        Texts in the order in which they first occur.

    Example:
        >>> found = read_texts(["Clear.", "Effusion.", "Clear."], b"key")
        >>> found.values.tolist(), found.pairs.tolist()
        (['Clear.', 'Effusion.'], [[0, 0], [1, 1], [2, 0]])
    """
    row: dict[str, int] = {}
    of_image = [row.setdefault(report, len(row)) for report in reports]
    pairs = np.column_stack([np.arange(len(reports)), of_image]).astype(np.int64)
    texts = list(row)
    return Texts(np.array(texts, dtype=np.str_), pairs, keyed_hashes(key, "report", texts))


def numbers(judged: Mapping[str, Any]) -> Int64Array:
    """Return what a fingerprint of the data takes of its target as whole numbers."""
    target = judged["target"]
    found: Int64Array = target.pairs if isinstance(target, Texts) else target.values
    return found


def described(judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return what it takes of it otherwise, under the names of release 0.1."""
    target = judged["target"]
    if isinstance(target, Texts):
        return {"texts": target.values.tolist()}
    return {
        "task": judged["label_kind"],
        "class_names": judged["class_names"],
        "positive": judged["positive"],
    }
