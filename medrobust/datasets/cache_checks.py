"""Whether an array of the cache is still the one that was unpacked.

The record of an entry has a digest of every block of its file, and a seal. At the first opening in
a process the first, the last and a few drawn blocks are compared; all of them if the file was
written to since the last full check, once a day, and within `all_checked` (`medrobust verify`). The
time of the last full check is that of the record's file.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from random import SystemRandom
from typing import IO, Any

import numpy as np

from medrobust.base.fingerprints import canonical_json
from medrobust.base.seals import is_sealed, sealed_json
from medrobust.base.whole_files import write_whole

log = logging.getLogger(__name__)

RECORD, ARRAY = "entry.json", "array.npy"

BLOCK = 1 << 20
"""Bytes of a block."""

DRAWN = 6
"""Blocks that are compared at every first opening, beside the first and the last."""

PERIOD = 24 * 3600.0
"""Seconds after which all blocks are compared."""

_CHECKED: set[tuple[str, int, int, int]] = set()
"""Files of this process that need no further look, by place, file, size and time."""

_ALL: ContextVar[bool] = ContextVar("all_blocks", default=False)


@contextmanager
def all_checked() -> Iterator[None]:
    """Within, every block of what is opened is compared, once."""
    token = _ALL.set(True)
    _CHECKED.clear()
    try:
        yield
    finally:
        _ALL.reset(token)


def checks_all() -> bool:
    """Say whether everything is to be compared, as `all_checked` has it."""
    return _ALL.get()


def array_hash(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> "hashlib._Hash":
    """Begin the digest of an array; its bytes follow."""
    return sha256(canonical_json([dtype.str, list(shape), fortran]).encode())


def array_digest(file: Path) -> str:
    """Return the digest of an array in a `.npy` file, as `ArrayWriter` gives it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file.
    """
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    digest = array_hash(array.dtype, array.shape, fortran)
    with file.open("rb") as stream:
        stream.seek(array.offset)
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def record_of(file: Path, digest: str) -> bytes:
    """Return the record of an array file: what it is, its size, and the digests of its blocks."""
    with file.open("rb") as stream:
        sums = [_sum(stream, number) for number in range(_blocks(file.stat().st_size))]
    size = file.stat().st_size
    return sealed_json({"digest": digest, "bytes": size, "block": BLOCK, "sums": sums})


def unchanged(folder: Path, record: Mapping[str, Any], *, sample_only: bool = False) -> bool:
    """Say whether the array of an entry has the blocks that were written, as far as is looked.

    Args:
        folder: Of the entry.
        record: Its record, read and its seal checked. That of release 0.1 has no sums: all of the
            array is compared with its digest, once, and sums are kept from then on.
        sample_only: Compare no more than a few blocks, however long ago all were.

    Raises:
        OSError: If a file cannot be read.
        LookupError: If the record lacks a part.
    """
    file = folder / ARRAY
    status = file.stat()
    if status.st_size != record["bytes"]:
        return False
    known = (str(file), status.st_ino, status.st_size, status.st_mtime_ns)
    if known in _CHECKED:
        return True
    if not is_sealed(record):
        if array_digest(file) != record["digest"]:
            return False
        _keep_sums(folder, record["digest"])
    elif not _equal(file, record, _wanted(folder, status, sample_only)):
        return False
    _CHECKED.add(known)
    return True


def _keep_sums(folder: Path, digest: str) -> None:
    """Add sums to an entry of release 0.1; where the cache is read-only it stays as it is."""
    if os.access(folder, os.W_OK):
        with suppress(OSError):
            write_whole(folder / RECORD, record_of(folder / ARRAY, digest), lasting=False)


def _wanted(folder: Path, status: os.stat_result, sample_only: bool) -> list[int]:
    """List the blocks to compare."""
    count = _blocks(status.st_size)
    checked = (folder / RECORD).stat().st_mtime_ns
    due = checks_all() or (
        (status.st_mtime_ns > checked or time.time() - checked / 1e9 > PERIOD)
        and os.access(folder, os.W_OK)  # else each process would compare all, for ever
        and not sample_only
    )
    if due or count <= DRAWN + 2:
        return list(range(count))
    return sorted({0, count - 1, *SystemRandom().sample(range(1, count - 1), DRAWN)})


def _equal(file: Path, record: Mapping[str, Any], wanted: list[int]) -> bool:
    sums = record["sums"]
    if record["block"] != BLOCK or len(sums) != _blocks(record["bytes"]):
        return False
    with file.open("rb") as stream:
        if any(_sum(stream, number) != sums[number] for number in wanted):
            return False
    if len(wanted) == len(sums):
        with suppress(OSError):
            os.utime(file.parent / RECORD)
    return True


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


def _sum(stream: IO[bytes], number: int) -> str:
    stream.seek(number * BLOCK)
    return sha256(stream.read(BLOCK)).hexdigest()[:32]
