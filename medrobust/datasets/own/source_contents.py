"""Whether the files of own data hold what they held when they were first read.

The cache knows files by path, size and time. One that was changed and has both as before would be
taken for the former one. So the digest of each is kept, and its time of change, which no program
can set: where that differs, and of a few files that are drawn at each first opening in a process,
contents are compared (of all within `all_checked`). No path is kept.
"""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import SystemRandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.safe_files import whole_array
from medrobust.base.whole_files import write_whole
from medrobust.base.wording import counted
from medrobust.datasets.cache import cache_folder, only_looks
from medrobust.datasets.cache_checks import checks_all

from .pictures import each

log = logging.getLogger(__name__)

KNOWN = np.dtype([("first", "u1", (16,)), ("now", "u1", (16,)), ("changed", "<i8")])
"""Of each file: digest when it was first read, digest of late, time of change of that one, ns."""

DRAWN, DRAWN_BYTES = 8, 8 << 20
"""Files whose contents are compared at a first opening, and bytes of them at which that ends."""

_SEEN: dict[tuple[str, bytes], str | None] = {}
"""What this process has found, by record and times of change."""


def changed_contents(
    name: str, states: Sequence[Sequence[Any]], *, cache_dir: str | None = None
) -> str | None:
    """Return a fingerprint of the contents of files where one holds other bytes than at first.

    Args:
        name: Of the data set.
        states: Real path, size and time of each file, in order.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Returns:
        None where all are as they were, none was read before, or the cache is read-only.
    """
    safe = re.sub(r"[^\w.-]+", "-", name)[:60]
    folder = cache_folder(cache_dir) / "contents"
    place = folder / f"{safe}-{fingerprint(list(states))[:24]}.sums"
    try:
        times = np.array([os.stat(state[0]).st_ctime_ns for state in states], np.int64)
        seen = (str(place), times.tobytes())
        if seen not in _SEEN or checks_all():
            _SEEN[seen] = _compared(name, states, times, place)
        return _SEEN[seen]
    except OSError:  # reading the images will say of which file, and why
        return None


def times_of_change(states: Sequence[Sequence[Any]]) -> list[int]:
    """Return when each file was last changed, or its name or rights were, in ns; 0 if it is gone.

    Args:
        states: Real path first.

    Example:
        >>> times_of_change([["/no/such/file", 3, 0]])
        [0]
    """

    def of(file: str) -> int:
        try:
            return os.stat(file).st_ctime_ns
        except OSError:
            return 0

    return [of(state[0]) for state in states]


def _compared(
    name: str, states: Sequence[Sequence[Any]], times: NDArray[np.int64], place: Path
) -> str | None:
    """Compare what has to be, keep what is found, and answer as `changed_contents`."""
    known = _read(place, len(states))
    if known is None:
        if not only_looks():
            _write(place, _of_all(states, times))
        return None
    looked = _to_look_at(states, known, times)
    now = known.copy()
    now["now"][looked] = _digests([states[row][0] for row in looked])
    now["changed"] = times
    if not np.array_equal(now, known):
        _write(place, now)
    others = int((now["first"] != now["now"]).any(axis=1).sum())
    if not others:
        return None
    images = f"{others} of {counted(len(states), 'image')}"
    say_once(
        log,
        logging.WARNING,
        f"{name}: {images} hold other bytes than when they were first read, with size and time as "
        f"before: what they hold now counts",
    )
    return fingerprint(now["now"].tolist())


def _to_look_at(
    states: Sequence[Sequence[Any]], known: NDArray[Any], times: NDArray[np.int64]
) -> list[int]:
    """List the rows of the files whose contents are compared."""
    if checks_all():
        return list(range(len(states)))
    rows = set(np.flatnonzero(known["changed"] != times).tolist())
    left = DRAWN_BYTES
    for row in SystemRandom().sample(range(len(states)), min(DRAWN, len(states))):
        left -= states[row][1]
        if left < 0:
            break
        rows.add(row)
    return sorted(rows)


def _of_all(states: Sequence[Sequence[Any]], times: NDArray[np.int64]) -> NDArray[Any]:
    known = np.zeros(len(states), KNOWN)
    known["first"] = known["now"] = _digests([state[0] for state in states])
    known["changed"] = times
    return known


def _digests(files: Sequence[str]) -> NDArray[np.uint8]:
    """Hash files in a few threads, each once: uint8 (N, 16)."""
    unique = list(dict.fromkeys(files))
    sums = dict(zip(unique, each(_digest, unique), strict=True))
    found = np.frombuffer(b"".join(sums[file] for file in files), np.uint8)
    return found.reshape(len(files), 16)


def _digest(file: str) -> bytes:
    digest = sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()[:16]


def _read(place: Path, count: int) -> NDArray[Any] | None:
    try:
        known: NDArray[Any] = whole_array(place)
    except (OSError, ValueError):
        return None
    return known if known.dtype == KNOWN and known.shape == (count,) else None


def _write(place: Path, known: NDArray[Any]) -> None:
    """Keep what was found, for the processes to come; a read-only cache keeps nothing."""
    content = BytesIO()
    np.save(content, known, allow_pickle=False)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(place, content.getvalue(), lasting=False)
