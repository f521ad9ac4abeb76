"""Patients of a table: rows that name nobody, or one patient in two ways, are refused."""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.missing import is_missing, names_nobody, whole_number
from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.audits.repeats import patients_in_two
from medrobust.exceptions import InvalidDataError, hiding

from .near_names import ROUNDED
from .spellings import spellings
from .table import Table, few
from .unlabelled import MOST_LINES

log = logging.getLogger(__name__)

REMEDY = "Fill it in (a value of its own where it is unknown), or pass dataset.patient_column=null."

FEWEST: Final = 4
"""Images from which their one patient is said: of fewer no interval is expected anyway."""


def check_patients(table: Table, patients: Sequence[str]) -> None:
    """Refuse rows that name no patient, which would pass for one, and numbers written in two ways.

    Args:
        table: The rows.
        patients: As they stand, one a row.

    Raises:
        InvalidDataError: Naming the lines, and what marks the first.
    """
    bare = [row for row, patient in enumerate(patients) if names_nobody(patient)]
    if bare:
        raise _nobody(table, bare, patients[bare[0]])
    _check_written(table, patients)
    numbers: dict[int, dict[str, int]] = {}
    for row, patient in enumerate(patients):
        number = whole_number(patient)
        if number is not None:
            exact = patient.isdecimal()  # 7 and 007 may be two people; 7 and 7.0 are not
            numbers.setdefault(number, {}).setdefault("whole" if exact else "decimal", row)
    for ways in numbers.values():
        if len(ways) > 1:
            first, second = sorted(ways.values())
            raise InvalidDataError(
                f"{table.file}: lines {table.lines[first]} and {table.lines[second]} name one "
                f"patient as a whole number and with decimals. Write it in one way."
            )


def _check_written(table: Table, patients: Sequence[str]) -> None:
    """Refuse numbers that a spreadsheet has rounded: several people may be one of them."""
    cut = [row for row, patient in enumerate(patients) if ROUNDED.fullmatch(patient)]
    if cut:
        lines = [str(table.lines[row]) for row in cut]
        raise InvalidDataError(
            f"{table.file}: {agreeing(len(lines), 'line')} {few(lines, MOST_LINES)}: the patient "
            f"is a number that a spreadsheet has rounded, as 1.23E+11 is, so that several "
            f"people may have become one. Export the column as text, or pass "
            f"dataset.patient_column=null."
        )


def lone_patient(groups: NDArray[np.str_] | None, split: str, key: str) -> tuple[Finding, ...]:
    """Say that all images of a split are of one patient, whose one answer bounds next to nothing.

    Args:
        groups: Patient of each image; None where nobody names them.
        split: Name of the split.
        key: Configuration key that says where patients stand.
    """
    if groups is None or len(groups) < FEWEST or len(np.unique(groups)) > 1:
        return ()
    said = (
        f"all {counted(len(groups), 'image')} of {split} are of one patient, so that intervals are "
        f"those of one answer, or empty, and tests over patients are impossible: name the column "
        f"of the patients, or pass {key}=null"
    )
    say_once(log, logging.WARNING, said)
    return (Finding("further remarks", said),)


def patients_alike(table: Table, patients: Sequence[str] | None) -> tuple[Finding, ...]:
    """Say which rows name patients that differ in case, white space or leading zeros alone.

    Two people may have such names; one person in two spellings would count twice.
    """
    pairs = [
        f"lines {' and '.join(str(table.lines[row]) for row in sorted(ways.values()))}"
        for ways in spellings(patients or ())
    ]
    if not pairs:
        return ()
    said = (
        f"patients of {table.file} that differ in upper and lower case, white space, dashes or "
        f"leading zeros alone are taken for people of their own ({few(pairs)}): write them alike "
        f"where they are one"
    )
    say_once(log, logging.WARNING, said)
    return (Finding("further remarks", said),)


def _nobody(table: Table, bare: Sequence[int], text: str) -> InvalidDataError:
    told = "is empty" if is_missing(text) else f"is {text!r}, which names nobody"
    lines = [str(table.lines[row]) for row in bare[1:]]
    more = f" So it is in {agreeing(len(lines), 'line')} {few(lines, MOST_LINES)}." if lines else ""
    place = table.place(bare[0])
    return hiding(
        InvalidDataError(f"{place}: the patient {told}. {REMEDY}{more}"),
        f"{place}: the row names no patient. {REMEDY}{more}",
    )


def patients_elsewhere(
    patients: Sequence[str], splits: Sequence[str], split: str
) -> tuple[Finding, ...]:
    """Say how many patients of a split stand in each other split of the table, too.

    Args:
        patients: One a row, in clear.
        splits: One a row.
        split: The split that is evaluated.
    """
    of_whom, of_which = np.array(patients), np.array(splits)
    here = of_whom[of_which == split]
    return tuple(
        finding
        for other in np.unique(of_which[of_which != split]).tolist()
        for finding in patients_in_two(here, of_whom[of_which == other], split, other)
    )
