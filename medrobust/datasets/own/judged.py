"""What own images are judged by beside labels: reports, which a store keeps as keyed hashes."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from medrobust.base.missing import is_missing, names_nobody
from medrobust.base.once import say_once
from medrobust.base.targets import Boxes, MaskedLabels, Masks, Texts
from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import InvalidDataError
from medrobust.types import Int64Array

from .pseudonyms import keyed_hashes
from .table import Table, few
from .unlabelled import Unlabelled, check_unlabelled

log = logging.getLogger(__name__)

Columns: TypeAlias = str | Sequence[str]
"""One column of a table, or several."""


def reported(table: Table, columns: Columns, unlabelled: Unlabelled) -> Table:
    """Return the rows that have a report.

    Args:
        table: All rows.
        columns: Of the reports; of several, a row needs one.
        unlabelled: "refuse", or "drop" for the rows that have none.

    Raises:
        ConfigurationError: If `unlabelled` is neither.
        InvalidDataError: If rows have none and are not to be dropped, or no row has one; names the
            lines.
    """
    check_unlabelled(unlabelled)
    reports = [table.column(column, "text_column") for column in listed(columns)]
    bare = [row for row in range(len(table)) if all(is_missing(column[row]) for column in reports)]
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
    return table.without(bare)


def listed(columns: Columns) -> list[str]:
    """Return one column or several as a list.

    Example:
        >>> listed("report"), listed(["findings", "impression"])
        (['report'], ['findings', 'impression'])
    """
    return [columns] if isinstance(columns, str) else list(columns)


def judged_texts(
    table: Table,
    rows: Sequence[int],
    columns: Columns,
    key: bytes,
    *,
    study: str | None = None,
    patients: Sequence[str] | None = None,
    labels: Columns | None = None,
) -> Texts:
    """Pair the images of a table with their reports.

    Args:
        table: With the rows.
        rows: Of the images.
        columns: Of the reports; of several, each that is filled is a text of its own.
        key: Of the data, for what a store keeps.
        study: Column of the studies, whose images share equal reports; None: all images do. Studies
            whose images differ in their reports are counted in the log.
        patients: Of the images; a study is one of its patient, however its number is used again.
        labels: Columns of the labels that texts are matched by; None where they are not.

    Raises:
        InvalidDataError: If a column is missing, or a row names no study.
    """
    found = [table.column(name, "text_column") for name in listed(columns)]
    reports = [[column[row] for column in found if not is_missing(column[row])] for row in rows]
    studies = None if study is None else [table.column(study, "study_column")[r] for r in rows]
    for row, name in zip(rows, studies or (), strict=False):
        if names_nobody(name):
            raise InvalidDataError(f"{table.place(row)}: the row names no study. Fill it in.")
    if studies is not None and patients is not None:
        both = zip(patients, studies, strict=True)
        studies = [f"{patient}\0{name}" for patient, name in both]
    if studies is not None:
        _say_unlike(table, reports, studies)
    texts = read_texts(reports, key, studies)
    if labels is None:
        return texts
    found_sets, named = label_sets(table, rows, labels)
    return replace(texts, labels=found_sets, label_sets=named)


def _say_unlike(table: Table, reports: Sequence[Sequence[str]], studies: Sequence[str]) -> None:
    """Say how many studies have images with different reports: each image has its own alone."""
    first: dict[str, set[str]] = {}
    both = zip(studies, map(set, reports), strict=True)
    unlike = {study for study, own in both if first.setdefault(study, own) != own}
    if unlike:
        told = (
            f"{part_of(len(unlike), len(first), 'study')} {agreeing(len(unlike), 'has')} images "
            f"with different reports: each image has its own alone"
        )
        say_once(log, logging.WARNING, f"{table.file}: {told}")


def read_texts(
    reports: Sequence[Sequence[str]], key: bytes, studies: Sequence[str] | None = None
) -> Texts:
    """Pair each image with its reports; images with equal reports share one.

    Args:
        reports: Those of each image.
        key: Of the data, for what a store keeps.
        studies: Study of each image: only images of one study share a report then, so that another
            study's stands there again, however equal.

    Returns:
        Texts in the order in which they first occur.

    Example:
        >>> found = read_texts([["Clear."], ["Effusion."], ["Clear."]], b"key")
        >>> found.values.tolist(), found.pairs.tolist()
        (['Clear.', 'Effusion.'], [[0, 0], [1, 1], [2, 0]])
    """
    row: dict[tuple[str, str], int] = {}
    pairs = [
        (image, row.setdefault((studies[image] if studies else "", report), len(row)))
        for image, own in enumerate(reports)
        for report in dict.fromkeys(own)
    ]
    texts = [report for _, report in row]
    hashes = keyed_hashes(key, "report", texts)
    merged = studies is None and len(texts) < len(pairs)
    values = np.array(texts, dtype=object)
    return Texts(values, np.array(pairs, np.int64), hashes, merged=merged)


def label_sets(
    table: Table, rows: Sequence[int], columns: Columns
) -> tuple[Int64Array, tuple[tuple[str, ...], ...]]:
    """Number the label sets of images by the order in which they first occur: int64 (N,).

    Returns:
        The numbers; and the labels of each set, by its number.
    """
    names = listed(columns)
    found = [table.column(name, "label_column") for name in names]
    number: dict[tuple[str, ...], int] = {}
    sets = [tuple(column[row] for column in found) for row in rows]
    numbered = np.array([number.setdefault(one, len(number)) for one in sets], np.int64)
    return numbered, tuple(labels_of_values(names, values) for values in number)


def labels_of_values(columns: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that the values of columns say, sorted, each once.

    Of one column: what stands between semicolons or bars. Of several, each a label: the names of
    those that hold 1; what is no number stands for itself, beside the name of its column.

    Example:
        >>> labels_of_values(["finding"], ["Edema; Effusion"])
        ('Edema', 'Effusion')
        >>> labels_of_values(["edema", "effusion", "side"], ["1", "0", "left"])
        ('edema', 'side left')
    """
    if len(columns) == 1:
        parts = (part.strip() for part in re.split("[;|]", values[0]))
        return tuple(sorted({part for part in parts if part}))
    both = zip(columns, values, strict=True)
    return tuple(sorted(filter(None, (_label_of(name, value) for name, value in both))))


def _label_of(column: str, value: str) -> str:
    try:
        return column if float(value or 0) == 1 else ""
    except ValueError:
        return f"{column} {value}"


def numbers(judged: Mapping[str, Any]) -> Int64Array:
    """Return what a fingerprint of the data takes of its target as whole numbers."""
    target = judged["target"]
    if isinstance(target, Boxes):
        return target.classes
    if isinstance(target, Masks):
        return np.zeros(0, np.int64)
    found: Int64Array = target.pairs if isinstance(target, Texts) else target.values
    return found


def described(judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return what it takes of it otherwise, under the names of release 0.1."""
    target = judged["target"]
    if isinstance(target, Texts):
        labels = {} if target.labels is None else {"label_sets": target.labels.tolist()}
        return {"texts": target.values.tolist(), **labels}
    if isinstance(target, Masks):
        spacing = None if target.spacing is None else target.spacing.tolist()
        named = list(judged["class_names"])
        return {"masks": target.digest, "class_names": named, "spacing": spacing}
    return {
        "task": judged["label_kind"],
        "class_names": judged["class_names"],
        "positive": judged["positive"],
        **({"masks": target.digest} if isinstance(target, MaskedLabels) else {}),
        **_placed(target),
    }


def _placed(target: Any) -> dict[str, Any]:
    """Return where boxes lie, and in which images."""
    if not isinstance(target, Boxes):
        return {}
    return {"boxes": target.values.tolist(), "box_images": target.images.tolist()}
