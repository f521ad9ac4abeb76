"""Images of own data and the files they lie in: paths, states, and errors that name their lines."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from medrobust.base.safe_files import system_errors_named
from medrobust.base.wording import part_of
from medrobust.exceptions import (
    InvalidDataError,
    InvalidImageError,
    MedRobustError,
    hiding,
    printable,
)

from .pictures import each
from .source_contents import changed_contents
from .table import Table, few

MOST_REFUSED = 30
"""Images that a sentence names for each reason."""

MOST_TRIED = 2000
"""Files that are read, where others are refused, to say what is wrong with those, too."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of own data.

    Attributes:
        name: What identifies it: the path in the folder as POSIX text, with `#3` for frame 3 where
            the table names frames. Leaves this room hashed only.
        file: Where it lies.
        row: Of the table.
        place: "labels.csv, line 4", for messages.
        frame: Number of the frame from 1, where the table names one.
    """

    name: str
    file: Path
    row: int
    place: str
    frame: int | None = None


def by_note(samples: list[Sample], notes: list[dict[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Return note -> (place in the table, detail) of the images that it holds of."""
    found: dict[str, list[tuple[str, str]]] = {}
    for sample, told in zip(samples, notes, strict=True):
        for note, detail in told.items():
            found.setdefault(note, []).append((sample.place, detail))
    return dict(sorted(found.items()))


def relative_paths(table: Table, column: str) -> list[str]:
    """Return the paths of a table as POSIX text, each inside the folder by its words.

    Raises:
        InvalidDataError: For an empty path, an absolute one or one with `..`; names the line.
    """
    paths = [text.replace("\\", "/") for text in table.column(column, "path_column")]
    for row, path in enumerate(paths):
        pure = PurePosixPath(path)
        leaves = not pure.parts or pure.is_absolute() or ".." in pure.parts
        if leaves or "\0" in path or ":" in pure.parts[0]:
            raise InvalidDataError(
                f"{table.place(row)}: the path is empty or leaves the folder of the images; paths "
                f"are relative to dataset.root."
            )
    return [str(PurePosixPath(path)) for path in paths]


def check_unique(table: Table, names: Sequence[str], what: str) -> None:
    """Refuse a table that names one thing in two rows.

    Args:
        table: The table.
        names: One a row.
        what: What stands in one row ("image").

    Raises:
        InvalidDataError: Naming the lines, not the thing.
    """
    first: dict[str, int] = {}
    for line, name in zip(table.lines, names, strict=True):
        if name in first:
            raise InvalidDataError(
                f"{table.file} names one {what} in {table.counts}s {first[name]} and {line}: each "
                f"{what} stands in one row."
            )
        first[name] = line


@contextmanager
def place_named(sample: Sample) -> Iterator[None]:
    """Add the line of the table to an error that names a file, and keep the name off records."""
    try:
        with system_errors_named(sample.file):
            yield
    except MedRobustError as error:
        sentence = str(error)
        name = printable(sample.file.name)
        placed = sample.place in sentence  # of another file of the same line, as its mask
        raise hiding(
            type(error)(
                sentence if placed else sentence.replace(name, f"{name} ({sample.place})", 1)
            ),
            _unnamed(error.for_records, name, sample.place),
        ) from error.__cause__


def _unnamed(sentence: str, name: str, place: str) -> str:
    """Put the line of a table for the name of a file.

    Example:
        >>> _unnamed("the mask a.png cannot be read", "a.png", "t.csv, line 3")
        'the mask of t.csv, line 3 cannot be read'
        >>> _unnamed("a.png cannot be read", "a.png", "t.csv, line 3")
        'the file of t.csv, line 3 cannot be read'
    """
    for thing in ("mask", "image"):
        sentence = sentence.replace(f"{thing} {name}", f"{thing} of {place}")
    return sentence.replace(name, f"the file of {place}")


def each_sample(
    function: Callable[[Sample], Result], samples: Sequence[Sample], *, of: int | None = None
) -> Iterator[Result]:
    """Call a function of each image in a few threads, in order; name all that fail, not the first.

    Args:
        function: To be called.
        samples: The images.
        of: How many there are in all, for the sentence; None: as many as these.

    Raises:
        MedRobustError: After all have been tried: the error of the one that fails, or one for all
            of them with their reasons.
    """

    def tried(sample: Sample) -> Result | Refused:
        try:
            with place_named(sample):
                return function(sample)
        except MedRobustError as error:
            return Refused(sample, error)

    failed: list[Refused] = []
    for found in each(tried, samples):
        if isinstance(found, Refused):
            failed.append(found)
        elif not failed:
            yield found
    if failed:
        raise _all_refused(failed, of or len(samples))


def all_grey(
    grey: Callable[[Sample], bool], read: Callable[[Sample], Any], samples: Sequence[Sample]
) -> bool:
    """Say whether all images are grey; name all that cannot be used where a header cannot.

    Args:
        grey: Says it of one, from its header.
        read: Reads one; called only where a header is refused.
        samples: The images.

    Raises:
        MedRobustError: As `each_sample` raises it.
    """
    try:
        return all([*each_sample(grey, samples)])
    except MedRobustError:
        for _ in each_sample(read, samples[:MOST_TRIED], of=len(samples)):
            pass
        raise


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that cannot be used, and why."""

    sample: Sample
    error: MedRobustError


def _all_refused(failed: Sequence[Refused], total: int) -> MedRobustError:
    """Build one error: that of the first image, with all others listed by their reasons."""
    first = failed[0]
    if len(failed) == 1:
        return first.error
    reasons: dict[str, list[Sample]] = {}
    for one in failed:
        name = f"{printable(one.sample.file.name)} ({one.sample.place}) "
        reasons.setdefault(str(one.error).removeprefix(name), []).append(one.sample)
    told, discreet = [str(first.error)], [first.error.for_records]
    told.append(f"In all {part_of(len(failed), total, 'image')} cannot be used.")
    discreet.append(told[-1])
    for number, (reason, samples) in enumerate(reasons.items()):
        others = samples if number else samples[1:]
        if others:
            lines = [sample.place.rpartition(", ")[2] for sample in others]
            names = [
                f"{printable(s.file.name)} ({at})" for s, at in zip(others, lines, strict=True)
            ]
            why = reason if number else "likewise."
            told.append(f"{few(names, MOST_REFUSED)}: {why}")
            discreet.append(f"{few(lines, MOST_REFUSED)}: {why}")
    kinds = {type(one.error) for one in failed}
    kind = kinds.pop() if len(kinds) == 1 else InvalidImageError
    return hiding(kind(" ".join(told)), " ".join(discreet))


@contextmanager
def states_kept() -> Iterator[None]:
    """Within, the state of each file is looked up once."""
    token = _STATES.set({})
    try:
        yield
    finally:
        _STATES.reset(token)


_STATES: ContextVar[dict[Path, list[Any]] | None] = ContextVar("states", default=None)


def file_states(
    files: Sequence[Path],
    *,
    named: Callable[[Path], AbstractContextManager[None]] = system_errors_named,
) -> list[list[Any]]:
    """Identify files for the cache: path, size and time.

    Args:
        files: They exist.
        named: Entered for a file whose state cannot be told, to name it.

    Raises:
        InvalidImageError: For a file that is gone meanwhile.
    """
    known = _STATES.get()
    known = {} if known is None else known
    folders: dict[Path, str] = {}
    for file in files:
        if file in known:
            continue
        try:
            known[file] = _state(file, folders)
        except OSError:
            with named(file):
                raise
    return [known[file] for file in files]


def sample_states(samples: Sequence[Sample]) -> list[list[Any]]:
    """Identify the files of samples for the cache.

    Raises:
        InvalidImageError: For a file that is gone meanwhile, with its line of the table.
    """

    def named(file: Path) -> AbstractContextManager[None]:
        return place_named(next(sample for sample in samples if sample.file == file))

    return file_states([sample.file for sample in samples], named=named)


def files_key(
    name: str, samples: Sequence[Sample], *, cache_dir: str | None = None
) -> dict[str, Any]:
    """Return what identifies the files of samples in the cache: their states, and changed contents.

    Args:
        name: Of the data set.
        samples: In order.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidImageError: As `sample_states` raises it.
    """
    states = sample_states(samples)
    changed = changed_contents(name, states, cache_dir=cache_dir)
    return {"files": states} if changed is None else {"files": states, "contents": changed}


def _state(file: Path, folders: dict[Path, str]) -> list[Any]:
    """Return real path, size and time of a file.

    Args:
        file: The file.
        folders: Folder -> real path, of those that were looked up; filled here.
    """
    if file.parent not in folders:
        folders[file.parent] = os.path.realpath(file.parent)
    real, status = os.path.join(folders[file.parent], file.name), file.lstat()
    if stat.S_ISLNK(status.st_mode):
        real, status = os.path.realpath(file), file.stat()
    return [real, status.st_size, status.st_mtime_ns]
