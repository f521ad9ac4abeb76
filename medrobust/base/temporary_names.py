"""Hidden names of what is being written, by which a later run knows whose it was.

A process that is killed leaves what it was writing. The name holds host and process, so that the
next run on that host removes it once the process is gone; of other hosts, whose processes cannot
be seen, only what has lain untouched for `AGE` is removed.
"""

import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

AGE = 7 * 24 * 3600.0
"""Seconds untouched after which what nobody is known to write is left over: a week."""

OWNED = re.compile(r"\..+-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}")
OF_RELEASE_0_1 = re.compile(r"\..+-[0-9a-f]{32}")


def temporary_name(place: Path) -> Path:
    """Return a hidden name beside a place, for this process alone."""
    own = f"{this_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    return place.with_name(f".{place.name}-{own}")


def sweep(folder: Path) -> int:
    """Remove what killed processes have left in a folder, itself and not below; how many things."""
    gone = [path for path in _hidden(folder) if is_left_over(path)]
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    return len(gone)


def is_temporary(name: str) -> bool:
    """Say whether a name is one that `temporary_name` gives, of this release or of 0.1."""
    return any(form.fullmatch(name) is not None for form in (OWNED, OF_RELEASE_0_1))


def is_left_over(path: Path) -> bool:
    """Say whether a name is of a temporary file or folder whose process is gone."""
    owner = OWNED.fullmatch(path.name)
    if owner is None:
        return OF_RELEASE_0_1.fullmatch(path.name) is not None and untouched_for(path) > AGE
    if owner["host"] != this_host():
        return untouched_for(path) > AGE
    return not _lives(int(owner["process"]))


def untouched_for(path: Path) -> float:
    """Return the seconds since a file, or a folder and all in it, was changed; 0 if it is gone."""
    newest = 0.0
    for one in (path, *path.rglob("*")):
        try:
            newest = max(newest, one.lstat().st_mtime)
        except OSError:  # its process goes on
            return 0.0
    return time.time() - newest


@cache
def this_host() -> str:
    """Name this host, and which of its processes can be seen: a container sees its own alone."""
    try:
        seen = os.readlink("/proc/self/ns/pid")
    except OSError:
        seen = ""
    return sha256(f"{platform.node()} {seen}".encode()).hexdigest()[:8]


def _hidden(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (folder / name for name in os.listdir(folder) if name[0] == ".")


def _lives(process: int) -> bool:
    """Say whether a process of this host may still run; where that cannot be asked, it may."""
    if os.name == "nt":  # where a signal to a process would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
