"""Images of a set that a publisher's list of training images names."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from medrobust.base.findings import Finding
from medrobust.base.wording import counted
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError, InvalidDataError

from .findings import Looked, write_findings

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom", ".gz", ".nii", ".npy")
)
"""What is no part of an image's name: lists and folders often keep it in other formats."""

MOST_FOLDERS = 4


def read_training_list(file: Path, column: str | None = None) -> list[str]:
    """Read the names of images from a CSV file, or from one with a name a line.

    Args:
        file: UTF-8; as RAD-DINO publishes its `training_images.csv`, of any length.
        column: That holds them; None: the only one.

    Raises:
        InvalidDataError: If the file cannot be read, or names nothing.
        ConfigurationError: If there is no such column, or there are several and none was named.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            names = [name for name in _column(csv.reader(opened), file, column) if name.strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(f"{file} cannot be read as a list of images: {error}.") from error
    if not names:
        raise InvalidDataError(f"{file} names no image.")
    return names


def _column(rows: Iterator[list[str]], file: Path, column: str | None) -> Iterator[str]:
    header = next(rows, [])
    if column is None and len(header) > 1:
        raise ConfigurationError(
            f"{file} has the columns {', '.join(header)}: say by --column which names the images."
        )
    if column is not None and column not in header:
        raise ConfigurationError(
            f"{file} has no column {column!r}; it has {', '.join(header) or 'none'}."
        )
    place = 0 if column is None else header.index(column)
    if column is None:
        yield from header
    yield from (row[place] for row in rows if len(row) > place)


def tail(name: str, parts: int) -> str | None:
    r"""Return the last parts of a path without what says its format; None if it has fewer.

    Example:
        >>> tail("files/P1/study2/View1.dcm.gz", 2), tail("a\\b.png", 1), tail("b.png", 2)
        ('study2/view1', 'b', None)
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    while path.suffix.lower() in SUFFIXES:
        path = path.with_suffix("")
    found = path.parts[-parts:]
    return "/".join(found).casefold() if len(found) == parts else None


def parts_that_tell_apart(names: Sequence[str]) -> int:
    """Return how many last parts of a path make the names of a list different.

    `view1_frontal.jpg` stands in every study of some collections: the folders are its name, too.

    Example:
        >>> parts_that_tell_apart(["a/1.png", "b/2.png"]), parts_that_tell_apart(["a/1", "b/1"])
        (1, 2)
    """
    whole = len({name.strip() for name in names})
    for parts in range(1, MOST_FOLDERS):
        tails = {tail(name, parts) for name in names}
        if None not in tails and len(tails) == whole:
            return parts
    return MOST_FOLDERS


def named_in(image_names: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return which images a list names, by their places.

    Args:
        image_names: File names of the images, as their table or data set has them.
        names: Of the list.

    Raises:
        ConfigurationError: If the images' names have fewer folders than the list needs to tell
            its own apart.
    """
    parts = parts_that_tell_apart(names)
    wanted = {tail(name, parts) for name in names} - {None}
    own = [tail(name, parts) for name in image_names]
    if own and all(one is None for one in own):
        raise ConfigurationError(
            f"names of the list differ by their last {parts} parts (as {names[0]!r}), and those of "
            f"the images have fewer (as {image_names[0]!r}): they cannot be compared."
        )
    return [place for place, one in enumerate(own) if one in wanted]


def audit_list(
    image_set: ImageSet,
    clear: Mapping[str, str],
    file: Path,
    names: Sequence[str],
    cache_dir: str | os.PathLike[str] | None = None,
) -> Finding | None:
    """Say which images of a split a training list names, and keep it for later tables.

    Args:
        image_set: The split.
        clear: Stored id -> file name, where ids are hashes; others are names themselves.
        file: The list.
        names: What it holds.
        cache_dir: Where findings are kept.

    Returns:
        None if it names none.

    Raises:
        ConfigurationError: As `named_in` raises it.
        StoreError: If the cache cannot be written.
    """
    ids = [str(one) for one in image_set.ids]
    places = named_in([clear.get(one, one) for one in ids], names)
    found = None
    if places:
        found = Finding(
            "named in a training list",
            f"{counted(len(places), 'image')} of {len(ids)} of {image_set.split} "
            f"{'is' if len(places) == 1 else 'are'} named in {file.name}: a model that was trained "
            f"on that list has seen them",
            tuple(ids[place] for place in places),
        )
    kept = [] if found is None else [found]
    write_findings(image_set, kept, cache_dir, looked=Looked(), beside=f"list {file.name}")
    return found


def clear_names(source: Any, key: bytes | None) -> dict[str, str]:
    """Return stored id -> file name of a source that hides them; nothing of one that does not."""
    rows: Iterable[Any] = () if key is None else source.identities(key)
    return {row.id: row.file for row in rows}
