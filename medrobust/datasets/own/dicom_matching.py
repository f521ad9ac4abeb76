"""Rows of a table against the DICOM images of a folder: what has no image, or several."""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, Literal

from medrobust.base.wording import agreeing, counted, part_of
from medrobust.exceptions import (
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    hiding,
    printable,
)

from .dicom_headers import quiet_pydicom
from .dicom_search import HeaderIndex, passed_sentences
from .near_names import near_names
from .row_files import refusal, together
from .samples import MOST_TRIED, Sample, each_sample
from .table import Table, few

Match = Literal["path", "instance", "patient"]

MOST_LINES: Final = 40
"""Lines of the table that a sentence lists."""

MOST_READ: Final = 5000
"""Headers that are read once more to say in which signs a name is there."""

MOST_PAIRS: Final = 5
"""Images in several files that a sentence names."""


def in_several_files(index: HeaderIndex, patients: Set[str]) -> str:
    """Say which images of these patients lie in the folder more than once, or nothing.

    Args:
        index: Of the folder.
        patients: Keyed hashes of the patients.
    """
    found: dict[str, list[str]] = {}
    for name, instance, patient in zip(index.files, index.instances, index.patients, strict=True):
        if patient in patients:
            found.setdefault(instance, []).append(name)
    twice = [names for names in found.values() if len(names) > 1]
    if not twice:
        return ""
    shown = "; ".join(" and ".join(map(printable, names)) for names in twice[:MOST_PAIRS])
    more = f"; and {len(twice) - MOST_PAIRS} more" if len(twice) > MOST_PAIRS else ""
    images = counted(len(twice), "SOP instance UID")
    return f"{images} in several files, each of which is taken: {shown}{more}"


def lacking(
    table: Table,
    missing: Mapping[int, str],
    rows: Sequence[int],
    what: Literal["instance", "patient"],
    index: HeaderIndex,
) -> DatasetNotFoundError | None:
    """Return the error for rows without an image, with the files that might have been theirs.

    Args:
        table: The table.
        missing: Row -> what it names, and no file has.
        rows: All that are looked for.
        what: They name.
        index: Of the folder.
    """
    if not missing:
        return None
    named = {"instance": "SOP instance UID", "patient": "patient id"}[what]
    first, *rest = [table.lines[row] for row in missing]
    lines = few(map(str, rest), MOST_LINES)
    others = f" (then {lines})" if lines else ""
    lacking = f"{part_of(len(missing), len(rows), 'row')} of {table.file}"
    told = (
        f"{lacking} {agreeing(len(missing), 'has')} no DICOM image of that {named} in the folder, "
        f"line {first} first{others}. Images are looked for below dataset.root, "
        f"by default the folder of the table."
    )
    of_lines = {table.lines[row]: name for row, name in missing.items()}
    with quiet_pydicom():
        near = near_names(of_lines, index.names_in_clear(what, MOST_READ), named)
    told = f"{told} {near}".strip()
    theirs = " ".join(f"{sentence}." for sentence in passed_sentences(index.passed))
    return hiding(DatasetNotFoundError(f"{told} {theirs}".strip()), told)


def doubled(table: Table, found: Mapping[int, Sequence[str]]) -> InvalidDataError | None:
    """Return the error for rows whose image lies in several files.

    It names the files of the first, and the lines of all.
    """
    twice = [row for row in found if len(found[row]) > 1]
    if not twice:
        return None
    row, others = twice[0], [table.lines[row] for row in twice[1:]]
    more = (
        f" So it is with {agreeing(len(others), 'line')} {few(map(str, others), MOST_LINES)}."
        if others
        else ""
    )
    carry = "carry the SOP instance UID of this row; keep one of them."
    count = f"{len(found[row])} files in the folder"
    names = ", ".join(map(printable, found[row]))
    return hiding(
        InvalidDataError(f"{table.place(row)}: {count} ({names}) {carry}{more}"),
        f"{table.place(row)}: {count} {carry}{more}",
    )


def check_rows(
    errors: Sequence[MedRobustError | None],
    samples: Sequence[Sample],
    read: Callable[[Sample], Any],
) -> None:
    """Refuse rows of a table, all at once; those that have an image are read then, too.

    Args:
        errors: What is wrong with rows, or None.
        samples: The images that rows have.
        read: Reads one of them.

    Raises:
        MedRobustError: The errors, and that of the images that cannot be read.
    """
    found = [error for error in errors if error is not None]
    if found:
        with quiet_pydicom():
            refused = refusal(each_sample(read, samples[:MOST_TRIED]))
        raise together(*found, refused)
