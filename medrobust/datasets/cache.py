"""The cache: arrays unpacked once to `.npy`, whole or not at all, then memory-mapped.

Layout: `<cache>/arrays/NAME-KEY/{array.npy, entry.json}`, where KEY is a hash of what the array was
made from. One process builds an entry under a lock while others wait; the entry appears by a
rename.
"""

import hashlib
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.seals import read_sealed
from medrobust.base.whole_files import move_into_place
from medrobust.exceptions import MedRobustError, NotUnpackedError, StoreError

from .cache_checks import ARRAY, RECORD, array_hash, record_of, unchanged

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the layout and of the way arrays are made; entries of another version are not seen."""

SAMPLE = 1 << 16
"""Bytes of head and tail of a source file that its quick fingerprint reads."""

SPARE = 64 << 20
"""Bytes of disk that unpacking leaves free."""


@dataclass(frozen=True, slots=True)
class CachedArray:
    """An array in the cache.

    Attributes:
        file: The `.npy` file.
        digest: SHA-256 over dtype, shape and bytes: equal for equal arrays on every machine.
    """

    file: Path
    digest: str

    def open(self) -> NDArray[Any]:
        """Memory-map the array, read-only."""
        array: NDArray[Any] = np.load(self.file, mmap_mode="r", allow_pickle=False)
        return array


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the cache folder: as given, else $MEDROBUST_CACHE, else that of the XDG standard."""
    chosen = cache_dir or os.environ.get("MEDROBUST_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "medrobust"


def cache_of(source: object) -> str | None:
    """Return the cache folder that a source was given; None for the usual one."""
    folder: str | None = getattr(source, "cache_dir", None)
    return folder


def source_key(file: Path, *, full_hash: bool = False) -> dict[str, Any]:
    """Identify a source file without reading all of it: path, size, time, hash of head and tail.

    The tail of a zip archive holds its directory, with the checksum of every member.

    Args:
        file: The source file.
        full_hash: Hash the whole file instead. Its entry is then found wherever the file lies, and
            a change that leaves size, time, head and tail as they are does not escape.
    """
    if full_hash:
        with file.open("rb") as stream:
            return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    status = file.stat()
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        digest.update(stream.read(SAMPLE))
        stream.seek(max(0, status.st_size - SAMPLE))
        digest.update(stream.read(SAMPLE))
    return {
        "file": str(file.resolve()),
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "sample": digest.hexdigest(),
    }


def cached_array(
    name: str,
    key: Mapping[str, Any],
    write: Callable[[Path], str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CachedArray:
    """Return the entry of that key, built if it is not there.

    Args:
        name: For people who look into the folder; shows no path and no patient.
        key: Plain values that decide the array.
        write: Writes the array to the given `.npy` path and returns its digest (`ArrayWriter`).
        cache_dir: See `cache_folder`.

    Raises:
        StoreError: If the cache cannot be written.
        MedRobustError: As `write` raises it; nothing of the entry is left behind then.
    """
    safe = re.sub(r"[^\w.-]+", "-", name)[:60]
    folder = cache_folder(cache_dir) / "arrays" / f"{safe}-{fingerprint([FORMAT, key])[:24]}"
    found = _entry(folder)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder.parent)
        with _alone(folder):
            return _entry(folder) or _build(folder, write)
    except OSError as error:
        if isinstance(error, MedRobustError):
            raise
        raise StoreError(
            f"cannot write the cache folder {cache_folder(cache_dir)} ({error.strerror or error}). "
            f"Pass dataset.cache_dir=<folder> or set MEDROBUST_CACHE."
        ) from error


def cached_arrays(
    pattern: str, *, cache_dir: str | os.PathLike[str] | None = None
) -> Iterator[tuple[str, CachedArray]]:
    """Yield the whole entries whose folders' names fit a pattern, with their names, in order."""
    for folder in sorted((cache_folder(cache_dir) / "arrays").glob(pattern)):
        found = _entry(folder)
        if found is not None:
            yield folder.name, found


@contextmanager
def unpacking_at_most(rows: int | None) -> Iterator[None]:
    """Within, what the cache has not yet is unpacked only if it has no more rows than that.

    Args:
        rows: Of the largest array; None: of any.

    Raises:
        NotUnpackedError: From whatever asks for a larger array; nothing of it is left behind.
    """
    token = _MOST_ROWS.set(rows)
    try:
        yield
    finally:
        _MOST_ROWS.reset(token)


def only_looks() -> bool:
    """Say whether a plan is looked at, in which nothing large is unpacked."""
    return _MOST_ROWS.get() is not None


_MOST_ROWS: ContextVar[int | None] = ContextVar("most_rows", default=None)


def _entry(folder: Path) -> CachedArray | None:
    """Return the entry if it is whole: its record is written last, and tells of every block."""
    if not (folder / RECORD).exists():
        return None
    try:
        record = read_sealed(folder / RECORD)
        entry = CachedArray(folder / ARRAY, str(record["digest"]))
        if unchanged(folder, record, sample_only=only_looks()):
            return entry
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.debug("%s: %s", folder.name, error)
    say_once(
        log,
        logging.WARNING,
        f"{folder.name} of the cache is not as it was unpacked: damaged, or changed by hand. It is "
        f"made again",
    )
    return None


def _sweep(arrays: Path) -> None:
    """Remove what killed processes have unpacked in part: nobody holds the locks of it."""
    from filelock import FileLock, Timeout

    for partial in arrays.glob(".*.partial"):
        lock = FileLock(partial.with_suffix(".lock"))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(partial, ignore_errors=True)
        except Timeout:
            continue


def _build(folder: Path, write: Callable[[Path], str]) -> CachedArray:
    partial = folder.with_name(f".{folder.name}.partial")
    for left_over in (partial, folder):  # of a killed process; damaged
        shutil.rmtree(left_over, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        digest = write(partial / ARRAY)
        (partial / RECORD).write_bytes(record_of(partial / ARRAY, digest))
        move_into_place(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return CachedArray(folder / ARRAY, digest)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of an entry; it falls with its process."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process unpacks %s; waiting for it", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def ensure_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        StoreError: If fewer than `needed` bytes, and a small reserve, are free.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise StoreError(
            f"the cache needs {needed / 1e9:.1f} GB in {folder.parent.parent}, {free / 1e9:.1f} GB "
            f"are free. Pass dataset.cache_dir=<folder> or set MEDROBUST_CACHE."
        )


class ArrayWriter:
    """Writes a `.npy` file block by block, counting and hashing what passes.

    Args:
        file: Must not exist; its folder must.
        dtype: Without Python objects.
        shape: Of the whole array.
        fortran: Whether bytes come in Fortran order.

    Raises:
        StoreError: If the disk is too full.
        NotUnpackedError: Within `unpacking_at_most`, for more rows than that.
    """

    def __init__(
        self, file: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool = False
    ) -> None:
        most = _MOST_ROWS.get()
        if most is not None and shape[0] > most:
            raise NotUnpackedError(f"its {shape[0]:,} images are not in the cache yet")
        self.expected = dtype.itemsize * math.prod(shape)
        ensure_space(file.parent, self.expected)
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": fortran,
            "shape": shape,
        }
        self._hash = array_hash(dtype, shape, fortran)
        self._stream = file.open("xb")
        np.lib.format.write_array_header_1_0(self._stream, header)
        self.written = 0

    def write(self, block: bytes | memoryview) -> None:
        """Append bytes."""
        self._stream.write(block)
        self._hash.update(block)
        self.written += len(block)

    def close(self) -> str:
        """Finish the file and return the digest of the array."""
        self._stream.close()
        assert self.written == self.expected, "an array was not written whole"
        return self._hash.hexdigest()

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
