"""Arrays of a `.npz` file, streamed to the cache; nothing in it is ever unpickled."""

import lzma
import math
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from medrobust.base.safe_files import UNREADABLE
from medrobust.exceptions import InvalidDataError, MedRobustError

from .cache import ArrayWriter, CachedArray, cached_array, source_key

BLOCK = 1 << 22
"""Bytes that are unpacked, hashed and written at a time."""

LARGEST_SIDE = 8192
"""Pixels a side beyond which an image array is taken for a hostile one."""

LARGEST_TABLE = 1 << 28
"""Bytes of labels or names, which are read into memory, beyond which a file is a hostile one."""

DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    LookupError,
    struct.error,
)

SMALL = 1.0
"""GB of an array that is unpacked however small it is in its file."""

TIGHTEST = 100
"""Times that a larger array may be larger than in its file: an all but empty one is a bomb."""

Content = Literal["images", "masks", "labels", "names"]


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool


def npz_array(
    file: Path,
    member: str,
    content: Content,
    *,
    name: str | None = None,
    full_hash: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    unpack_limit: float | None = None,
) -> CachedArray:
    """Unpack one array of a `.npz` file to the cache, once.

    Args:
        file: The `.npz` file.
        member: Name of the array in it ("test_images").
        content: "images": uint8, (N, H, W) or (N, H, W, 3); "masks": uint8, (N, H, W); "labels":
            whole numbers, (N,) or (N, L).
        name: For people who look into the cache; the file's stem if None.
        full_hash: See `medrobust.datasets.cache.source_key`.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
        unpack_limit: GB up to which an array is unpacked however small it is in its file
            (`dataset.unpack_limit`); None: `SMALL`, for files that nobody packs so tight.

    Raises:
        InvalidDataError: If the file is damaged, has no such array, the array is not what
            `content` says, or it is a bomb: beyond the limit, and `TIGHTEST` times as large as in
            its file, or more; names the file.
        StoreError: If the cache cannot be written.
    """

    def write(target: Path) -> str:
        with _opened(file, member) as (stream, size):
            _refuse_bomb(file, member, unpack_limit)
            header = _read_header(stream, file, member)
            _check(header, stream, size, file, member, content)
            return _copy(stream, header, target)

    key = {"kind": "npz", **source_key(file, full_hash=full_hash), "member": member}
    return cached_array(f"{name or file.stem}-{member}", key, write, cache_dir=cache_dir)


def npz_names(file: Path, member: str) -> list[str]:
    """Read an array of patients, numbers or text, past the cache: they are never stored in clear.

    Raises:
        InvalidDataError: As `npz_array` raises it.
    """
    with _opened(file, member) as (stream, size):
        header = _read_header(stream, file, member)
        _check(header, stream, size, file, member, "names")
        values = np.frombuffer(stream.read(), dtype=header.dtype)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind == "U":
        codes = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
        if (codes > sys.maxunicode).any():
            raise InvalidDataError(f"{file}: {member!r} holds numbers that are no characters.")
    return [str(value).strip() for value in values.tolist()]


def members(file: Path) -> list[str]:
    """List the arrays of a `.npz` file.

    Raises:
        InvalidDataError: If it is not a whole `.npz` file.
    """
    with _damage_named(file, OSError, ValueError), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def npz_checksum(file: Path, member: str) -> list[int]:
    """Return CRC-32 and size of an array, from the archive's directory: nothing is unpacked.

    They are those of the array itself, so that another compression has the same. Unpacking checks
    the CRC.

    Raises:
        InvalidDataError: If the file is damaged or has no such array.
    """
    if member not in (known := members(file)):
        raise InvalidDataError(f"{file} has no array {member!r}; it has: {', '.join(known)}.")
    with _damage_named(file, OSError, ValueError), zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f"{member}.npy")
        return [info.CRC, info.file_size]


@contextmanager
def _opened(file: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open one member as a stream, with the size that the directory declares for it."""
    known = members(file)
    if member not in known:
        raise InvalidDataError(f"{file} has no array {member!r}; it has: {', '.join(known)}.")
    with ExitStack() as stack:
        with _damage_named(file, OSError, ValueError):
            archive = stack.enter_context(zipfile.ZipFile(file))
            info = archive.getinfo(f"{member}.npy")
            stream = stack.enter_context(archive.open(info))
        with _damage_named(file):
            yield stream, info.file_size


@contextmanager
def _damage_named(file: Path, *further: type[Exception]) -> Iterator[None]:
    """Turn what a damaged archive makes `zipfile` raise into one sentence."""
    try:
        yield
    except MedRobustError:
        raise
    except DAMAGE + further as error:
        raise InvalidDataError(
            f"{file} is damaged or not a .npz file ({error}). Get it again."
        ) from error


def _read_header(stream: IO[bytes], file: Path, member: str) -> _Header:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except UNREADABLE as error:
        raise InvalidDataError(f"{file}: {member!r} has no readable array header.") from error
    return _Header(dtype, shape, fortran)


def _check(
    header: _Header, stream: IO[bytes], size: int, file: Path, member: str, content: Content
) -> None:
    """Refuse what is not the wanted array before a byte of it is unpacked."""
    dtype, shape = header.dtype, header.shape
    if dtype.hasobject:
        raise InvalidDataError(
            f"{file}: {member!r} holds Python objects (a pickle), which are never loaded. "
            f"Save plain uint8 images and whole-number labels."
        )
    found = f"{file}: {member!r} is {dtype} of shape {shape}"
    if content == "images":
        sized = len(shape) in (3, 4) and all(0 < side <= LARGEST_SIDE for side in shape[1:3])
        if dtype != np.uint8 or not sized or shape[3:] not in ((), (3,)):
            raise InvalidDataError(f"{found}; images are uint8 (N, H, W) or (N, H, W, 3).")
    elif content == "masks":
        sized = len(shape) == 3 and all(0 < side <= LARGEST_SIDE for side in shape[1:])
        if dtype != np.uint8 or not sized:
            raise InvalidDataError(f"{found}; masks are uint8 (N, H, W).")
    elif content == "labels" and (dtype.kind not in "biu" or len(shape) not in (1, 2)):
        raise InvalidDataError(f"{found}; labels are whole numbers, (N,) or (N, L).")
    elif content == "names" and (dtype.kind not in "iuSU" or len(shape) != 1):
        raise InvalidDataError(f"{found}; patients are whole numbers or text, (N,).")
    declared = dtype.itemsize * math.prod(shape)
    if content not in ("images", "masks") and declared > LARGEST_TABLE:
        raise InvalidDataError(f"{found}, more than {LARGEST_TABLE >> 20} MiB.")
    if min(shape) < 0 or stream.tell() + declared != size:
        raise InvalidDataError(f"{found}, but holds {size - stream.tell()} bytes. Get it again.")


def _refuse_bomb(file: Path, member: str, unpack_limit: float | None) -> None:
    """Refuse what the directory of the archive declares to be huge, and all but empty."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f"{member}.npy")
    packed = max(1, min(info.compress_size, file.stat().st_size))
    size, limit = info.file_size / 1e9, SMALL if unpack_limit is None else unpack_limit
    if size <= limit or info.file_size < TIGHTEST * packed:
        return
    what = (
        "Get it again."
        if unpack_limit is None
        else f"If it is meant to be, pass dataset.unpack_limit={math.ceil(size)} (GB)."
    )
    raise InvalidDataError(
        f"{file}: {member!r} would unpack to {size:.1f} GB, {info.file_size // packed} times what "
        f"it takes in the file, as no pictures do. {what}"
    )


def _copy(stream: IO[bytes], header: _Header, target: Path) -> str:
    """Unpack in this thread while another hashes and writes the block before."""
    with (
        ArrayWriter(target, header.dtype, header.shape, fortran=header.fortran) as writer,
        ThreadPoolExecutor(1) as helper,
    ):
        written = helper.submit(writer.write, b"")
        while block := stream.read(BLOCK):
            written.result()
            written = helper.submit(writer.write, block)
        written.result()
        return writer.close()
