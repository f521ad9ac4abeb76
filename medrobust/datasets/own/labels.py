"""Labels of own data: from the words of a table to numbers, with the order of classes stated."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base import targets
from medrobust.base.findings import Finding
from medrobust.base.missing import may_mark_no_label, whole_number
from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import ConfigurationError, InvalidDataError, hiding
from medrobust.types import LABEL_KINDS, Int64Array, LabelKind

from .spellings import folded, one_spelling
from .table import Table, few

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of all rows of a table.

    Attributes:
        values: int64 (N,), or (N, L) of zeros and ones.
        class_names: In label order.
        label_kind: One of MedMNIST's four words for kinds of labels.
        positive: Index of the positive class of a binary set.
    """

    values: Int64Array
    class_names: tuple[str, ...]
    label_kind: LabelKind
    positive: int | None


def read_labels(
    table: Table,
    columns: str | Sequence[str],
    class_names: Sequence[str] | None,
    *,
    label_kind: LabelKind | None = None,
    positive: str | int | None = None,
) -> Labels:
    """Read the labels of a table.

    Args:
        table: The table.
        columns: One column of class names or numbers, or several of 0 and 1 (multi-label).
        class_names: In label order; None: the labels that occur, sorted (numbers as numbers, each
            one class however it is written).
        label_kind: None: multi-label for several columns, binary for two classes, else multi-class.
        positive: Name or index of the positive class; None: the last.

    Raises:
        InvalidDataError: If a column is missing or a label is unknown; names the line.
        ConfigurationError: If names, kind of labels and positive class do not fit.
    """
    if isinstance(columns, str):
        texts = table.column(columns, "label_column")
        if class_names is None:
            texts = one_spelling(table, texts)
            names = _sorted_names(texts)
        else:
            names = _names(class_names)
        values = _numbered(table, texts, names)
        kind: LabelKind = "binary-class" if len(names) == 2 else "multi-class"
    else:
        names = _names(class_names if class_names is not None else columns)
        values = _flags(table, columns)
        kind = "multi-label, binary-class"
        if len(names) != len(columns):
            raise ConfigurationError(
                f"dataset.class_names has {len(names)} names for {len(columns)} label columns."
            )
    chosen = _kind(label_kind, kind)
    return Labels(values, names, chosen, _positive(positive, names, chosen))


def array_labels(
    stored: NDArray[Any],
    class_names: Sequence[str],
    file: str,
    *,
    label_kind: LabelKind | None = None,
    positive: str | int | None = None,
) -> Labels:
    """Read the labels of an array.

    Args:
        stored: Whole numbers, (N,) or (N, 1); or (N, L) of 0 and 1 (multi-label).
        class_names: In label order.
        file: Name of the file, for messages.
        label_kind: As for `read_labels`.
        positive: As for `read_labels`.

    Raises:
        InvalidDataError: If a label has no name.
        ConfigurationError: If names, kind of labels and positive class do not fit.
    """
    names = _names(class_names)
    values: Int64Array = np.asarray(stored).astype(np.int64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    kind: LabelKind = "binary-class" if len(names) == 2 else "multi-class"
    if values.ndim == 2:
        kind = "multi-label, binary-class"
        if values.shape[1] != len(names):
            raise ConfigurationError(
                f"dataset.class_names has {len(names)} names for {values.shape[1]} label columns."
            )
    top = 1 if values.ndim == 2 else len(names) - 1
    if values.size and not 0 <= values.min() <= values.max() <= top:
        raise InvalidDataError(
            f"{file} has labels from {values.min()} to {values.max()}; with {len(names)} class "
            f"names they are 0 to {top}."
        )
    chosen = _kind(label_kind, kind)
    return Labels(values, names, chosen, _positive(positive, names, chosen))


SEVERAL = 5
"""Images that another class has where one of a single image is said: few images are few anyway."""


def classes_of_one(target: Any, class_names: Sequence[str], split: str) -> tuple[Finding, ...]:
    """Name the classes that one image of a split shows: whatever is said of them hangs on it.

    Args:
        target: Of the split; what is no labels has no classes.
        class_names: In label order.
        split: Name of the split.
    """
    if not isinstance(target, targets.Labels):
        return ()
    values = target.values
    counts = values.sum(axis=0) if values.ndim == 2 else np.bincount(values)
    lone = [class_names[place] for place in np.flatnonzero(counts == 1).tolist()]
    if not lone or counts.max() < SEVERAL:
        return ()
    number = len(lone)
    each = "" if number == 1 else " each"
    told = f"{few(lone)}: {counted(number, 'class')} of {split} with one image{each}"
    said = f"{told}, so that what is said of {agreeing(number, 'it')} hangs on that image"
    say_once(log, logging.WARNING, said)
    return (Finding("further remarks", said, audit_only=True),)


def doubtful_classes(class_names: Sequence[str], split: str) -> tuple[Finding, ...]:
    """Name the classes, of those that occur, that may be words or numbers for no label at all.

    Those are words for what nobody knows, nines beyond all other numbers, and what is no whole
    number where most classes are.

    Args:
        class_names: In label order, as the labels have them: nobody has named them.
        split: Name of the split.
    """
    doubtful = [name for name in class_names if may_mark_no_label(name)]
    numbers = [whole_number(name) for name in class_names]
    whole = sorted(number for number in numbers if number is not None)
    if (
        len(whole) == len(class_names) > 2
        and set(str(whole[-1])) == {"9"}
        and whole[-1] - whole[-2] > 1
    ):
        doubtful.append(class_names[numbers.index(whole[-1])])
    if len(class_names) > len(whole) >= max(2, len(class_names) / 2):
        pairs = zip(class_names, numbers, strict=True)
        odd = [name for name, number in pairs if number is None]
        doubtful += [name for name in odd if name not in doubtful]
    alike = _alike(class_names, split)
    if not doubtful:
        return alike
    one = len(doubtful) == 1
    said = (
        f"{few(map(repr, doubtful))} {'is a class' if one else 'are classes'} of {split}: if "
        f"{'it marks' if one else 'they mark'} images without a label, empty those labels and pass "
        f"dataset.unlabelled=drop; if not, name all classes by dataset.class_names=[...]"
    )
    say_once(log, logging.WARNING, said)
    return (Finding("further remarks", said), *alike)


def _alike(class_names: Sequence[str], split: str) -> tuple[Finding, ...]:
    """Name the classes that differ in what stands between words alone, as `a b` and `a_b`."""
    found: dict[str, list[str]] = {}
    for name in class_names:
        found.setdefault(re.sub(r"[\s_.'-]+", "", folded(name)), []).append(name)
    several = [" and ".join(map(repr, names)) for names in found.values() if len(names) > 1]
    if not several:
        return ()
    said = (
        f"{few(several)} are classes of {split} that differ in signs between words alone: write "
        f"them alike where they are one, or name all classes by dataset.class_names=[...]"
    )
    say_once(log, logging.WARNING, said)
    return (Finding("further remarks", said),)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in given)
    if len(set(names)) < max(2, len(names)):
        raise ConfigurationError(
            f"dataset.class_names={list(names)}: at least two classes, each named once."
        )
    return names


def _sorted_names(texts: Sequence[str]) -> tuple[str, ...]:
    found = set(texts)
    if len(found) < 2:
        rest = "; at least two are needed, or name all classes by dataset.class_names=[...]."
        raise hiding(
            InvalidDataError(f"the table has one label only ({next(iter(found))!r}){rest}"),
            f"the table has one label only{rest}",
        )
    if len(texts) >= 20 and len(found) > len(texts) / 2:
        raise InvalidDataError(
            f"the table has {counted(len(found), 'different label')} in "
            f"{counted(len(texts), 'row')}, so that they look like identifiers. Pass "
            f"dataset.label_column=<column>, or name all classes by "
            f"dataset.class_names=[...]."
        )
    numbers = {text: whole_number(text) for text in sorted(found)}
    whole = {text: number for text, number in numbers.items() if number is not None}
    return tuple(sorted(whole, key=whole.__getitem__) if len(whole) == len(found) else numbers)


def _numbered(table: Table, texts: Sequence[str], names: tuple[str, ...]) -> Int64Array:
    number = {name: position for position, name in enumerate(names)}
    whole = [whole_number(text) for text in texts]
    if not number.keys() & set(texts) and all(value is not None for value in whole):
        number = {str(position): position for position in range(len(names))}
        texts = [str(value) for value in whole]
    elif all(whole_number(name) is not None for name in names):
        known = {whole_number(name): name for name in names}
        texts = [
            known.get(value, text) if value is not None else text
            for value, text in zip(whole, texts, strict=True)
        ]
    for row, text in enumerate(texts):
        if text not in number:
            alike = [name for name in names if folded(name) == folded(text)]
            how = "in case, white space or signs"
            but_for = f"; it differs from {alike[0]!r} {how}" if alike else ""
            rest = (
                f"is none of {list(number)}{but_for}. Correct it or name all classes by "
                f"dataset.class_names=[...]."
            )
            place = f"{table.place(row)}:"
            raise hiding(
                InvalidDataError(f"{place} label {text!r} {rest}"), f"{place} the label {rest}"
            )
    return np.array([number[text] for text in texts], dtype=np.int64)


def _flags(table: Table, columns: Sequence[str]) -> Int64Array:
    values = np.empty((len(table), len(columns)), dtype=np.int64)
    for position, column in enumerate(columns):
        for row, text in enumerate(table.column(column, "label_column")):
            flag = whole_number(text)
            if flag not in (0, 1):
                place = f"{table.place(row)}: {column} is"
                raise hiding(
                    InvalidDataError(f"{place} {text!r}; label columns hold 0 or 1."),
                    f"{place} not 0 or 1.",
                )
            values[row, position] = flag
    return values


def _kind(asked: LabelKind | None, found: LabelKind) -> LabelKind:
    if asked is None:
        return found
    several = "multi-label, binary-class"
    if asked not in LABEL_KINDS or (asked == several) != (found == several):
        raise ConfigurationError(
            f"dataset.label_kind={asked!r} does not suit these labels, which are {found!r}; "
            f"there are: {'; '.join(LABEL_KINDS)}."
        )
    if asked == "binary-class" and found != "binary-class":
        raise ConfigurationError("dataset.label_kind='binary-class' needs two classes.")
    return asked


def _positive(given: str | int | None, names: tuple[str, ...], label_kind: LabelKind) -> int | None:
    if label_kind != "binary-class":
        return None
    if given is None:
        said = (
            f"{names[1]!r} is taken as the positive class; dataset.positive=<class> names another"
        )
        say_once(log, logging.INFO, said)
        return 1
    if given in names:
        return names.index(str(given))
    if given in (0, 1):
        return int(given)
    raise ConfigurationError(f"dataset.positive={given!r} is none of {list(names)}.")
