"""Files and folders that appear whole or not at all, and outlive a power failure where that counts.

What is written goes to a temporary name beside its place and is renamed. Before the rename its
bytes are forced to the disk, after it the folder that got the new name: a power failure then leaves
what was there before, or all of the new, never a name without its bytes. What a run can make again
from the store (reports) is renamed without that.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .temporary_names import temporary_name

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
"""What file systems say that cannot force a folder to the disk: they keep no better promise."""


MANY = 256
"""Files in a folder from which on everything is forced at once, by the system's own call."""


def force(path: Path) -> None:
    """Force a file, or a folder and all that lies in it, to the disk.

    Raises:
        OSError: If the disk does not take it.
    """
    inside = list(path.rglob("*")) if path.is_dir() else []
    if len(inside) > MANY:
        os.sync()
        return
    for one in (*inside, path):
        _force_one(one)


def _force_one(path: Path) -> None:
    """Force the bytes of a file, or the names in a folder, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(opened)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that their names outlive a power failure.

    Raises:
        OSError: If it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _force_one(made.parent)


def move_into_place(temporary: Path, place: Path) -> None:
    """Rename a finished file or folder so that it is whole in its place, come what may.

    Raises:
        OSError: If the disk does not take it, or another folder lies there.
    """
    force(temporary)
    os.replace(temporary, place)
    _force_one(place.parent)


@contextmanager
def temporary_beside(place: Path) -> Iterator[Path]:
    """Give a name beside a place to write to; what still has it afterwards is removed."""
    temporary = temporary_name(place)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(place: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file, whole or not at all.

    Args:
        place: Of the file; its folder must be there.
        content: All of it.
        lasting: Force it to the disk, too.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    with temporary_beside(place) as temporary:
        temporary.write_bytes(content)
        if lasting:
            move_into_place(temporary, place)
        else:
            os.replace(temporary, place)
