"""Rows of a table against the DICOM images of a folder: what has no image, or several."""

from collections.abc import Mapping, Sequence, Set
from typing import Final, Literal

from medrobust.base.wording import agreeing, counted, part_of
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, hiding, printable

from .dicom_search import HeaderIndex, passed_sentences
from .table import Table, few

Match = Literal["path", "instance", "patient"]

MOST_LINES: Final = 40
"""Lines of the table that a sentence lists."""

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


def check_found(
    table: Table, missing: list[int], rows: list[int], what: Match, passed: Mapping[str, str]
) -> None:
    """Refuse rows without an image, all at once, with the files that might have been theirs.

    Raises:
        DatasetNotFoundError: Naming the lines.
    """
    if not missing:
        return
    named = {"instance": "SOP instance UID", "patient": "patient id", "path": "path"}[what]
    lines = few([str(table.lines[row]) for row in missing[1:]], MOST_LINES)
    others = f" (then {lines})" if lines else ""
    lacking = f"{part_of(len(missing), len(rows), 'row')} of {table.file}"
    told = (
        f"{lacking} {agreeing(len(missing), 'has')} no DICOM image of that {named} in the folder, "
        f"line {table.lines[missing[0]]} first{others}. Images are looked for below dataset.root, "
        f"by default the folder of the table."
    )
    theirs = " ".join(f"{sentence}." for sentence in passed_sentences(passed))
    raise hiding(DatasetNotFoundError(f"{told} {theirs}".strip()), told)


def check_single(table: Table, found: Mapping[int, Sequence[str]]) -> None:
    """Refuse rows whose image lies in several files.

    Raises:
        InvalidDataError: Naming the files of the first, and the lines of all.
    """
    twice = [row for row in found if len(found[row]) > 1]
    if not twice:
        return
    row, others = twice[0], [table.lines[row] for row in twice[1:]]
    more = (
        f" So it is with {agreeing(len(others), 'line')} {few(map(str, others), MOST_LINES)}."
        if others
        else ""
    )
    carry = "carry the SOP instance UID of this row; keep one of them."
    count = f"{len(found[row])} files in the folder"
    names = ", ".join(map(printable, found[row]))
    raise hiding(
        InvalidDataError(f"{table.place(row)}: {count} ({names}) {carry}{more}"),
        f"{table.place(row)}: {count} {carry}{more}",
    )
