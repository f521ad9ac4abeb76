"""The files that rows of a table name: there, inside the folder, readable, or told at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import (
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    hiding,
    printable,
)

from .samples import MOST_REFUSED, MOST_TRIED, Sample, each_sample
from .spellings import folded
from .table import few


def check_files(
    samples: Sequence[Sample],
    root: Path,
    read: Callable[[Sample], Any],
    quiet: Callable[[], AbstractContextManager[None]],
) -> None:
    """Refuse files that are missing, or that a link leads out of the folder.

    Args:
        samples: Images of the rows.
        root: Folder of the images.
        read: Reads one of them; called only where others are refused, to name all in one go.
        quiet: Entered around it.

    Raises:
        DatasetNotFoundError: With the number of missing files, and the first one.
        InvalidDataError: For links that leave the folder.
    """
    missing = [sample for sample in samples if not os.path.isfile(sample.file)]
    lost = set(map(id, missing))
    there = [sample for sample in samples if id(sample) not in lost]
    inside = os.path.realpath(root)
    outside = {sample.name for sample in there if not _below(inside, sample.file)}
    if not missing and not outside:
        return

    def tried(sample: Sample) -> None:
        if sample.name in outside:
            raise InvalidDataError(
                f"{sample.file.name} is a link out of the folder of the images, which is not "
                f"followed. Copy the file, or pass dataset.root=<folder that holds both>."
            )
        read(sample)

    links = [sample for sample in there if sample.name in outside]
    others = [sample for sample in there if sample.name not in outside]
    with quiet():
        refused = refusal(each_sample(tried, [*links, *others][:MOST_TRIED], of=len(samples)))
    if not missing:
        assert refused is not None
        raise refused
    raise together(_missing(missing, len(samples)), refused)


def _below(folder: str, file: Path) -> bool:
    return os.path.commonpath((folder, os.path.realpath(file))) == folder


def together(first: MedRobustError, *others: MedRobustError | None) -> MedRobustError:
    """Make one error of several: of the kind of the first, its sentences one after the other."""
    errors = [first, *filter(None, others)]
    if len(errors) == 1:
        return first
    told, discreet = [str(one) for one in errors], [one.for_records for one in errors]
    return hiding(type(first)(" Besides: ".join(told)), " Besides: ".join(discreet))


def refusal(results: Iterator[Any]) -> MedRobustError | None:
    """Return what is raised while results are made, or None."""
    try:
        for _ in results:
            pass
    except MedRobustError as error:
        return error
    return None


def _missing(missing: Sequence[Sample], total: int) -> DatasetNotFoundError:
    """Build the error for images that are not there, all at once."""
    first = missing[0]
    lines = [sample.place.rpartition(" ")[2] for sample in missing[1:]]
    lines_ = f"{agreeing(len(lines), 'line')} {few(lines, MOST_REFUSED)}"
    others = f" (then {lines_})" if lines else ""
    head = (
        f"{part_of(len(missing), total, 'image')} {agreeing(len(missing), 'is')} not in the folder,"
    )
    paths = "Paths start from dataset.root, by default the folder of the table."
    name = f"{printable(first.file.name)} ({first.place})"
    return hiding(
        DatasetNotFoundError(f"{head} {name} first{others}. {_alike(first.file)}{paths}"),
        f"{head} the file of {first.place} first{others}. {paths}",
    )


def _what_stands(file: Path) -> str:
    """Name what is there and is no file."""
    if file.is_dir():
        return "a folder"
    if file.is_symlink() and not os.path.exists(file):
        return "a link that leads nowhere"
    return "no ordinary file, but a pipe, a socket or a device"


def _alike(file: Path) -> str:
    """Say what stands there in place of a file: no file, or one whose name looks the same."""
    try:
        names = os.listdir(file.parent)
    except OSError:
        return ""
    if file.name in names:
        return f"{printable(file.name)} is {_what_stands(file)}. "
    found = next((name for name in names if name.lower() == file.name.lower()), None)
    if found:
        return f"{printable(found)} is there: upper and lower case count. "
    if any(folded(name) == folded(file.name) for name in names):
        return (
            "A file whose name looks the same is there, written in other signs (another Unicode "
            "form, dash, space or unseen sign): copy its name from the folder into the table. "
        )
    return ""
