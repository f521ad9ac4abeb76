"""Files of others, read so that whatever is wrong with them is one kind of error."""

import errno
import io
import json
import os
import stat
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from medrobust.exceptions import InvalidImageError, MedRobustError

UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    EOFError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
    OverflowError,
)
"""What a hostile header makes numpy raise, which reads it as a Python literal."""

OUT_OF_REACH = {
    errno.EIO,
    errno.ENODEV,
    errno.ENOTCONN,
    errno.ENXIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What a system says of a disk or network drive that is lost; never of a damaged file."""


@contextmanager
def system_errors_named(file: Path) -> Iterator[None]:
    """Turn what a system says of an image file that is gone or closed into one sentence.

    What decoders raise of a damaged file passes.

    Raises:
        InvalidImageError: Naming the file, not its folder, and what to do.
    """
    try:
        yield
    except MedRobustError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidImageError(
            f"{file.name} is gone since it was looked for: put it back, or take its row off the "
            f"table if it has one, and run again."
        ) from error
    except PermissionError as error:
        raise InvalidImageError(
            f"{file.name} cannot be read (permission denied): make it readable, or move it out of "
            f"the folder and take its row off the table if it has one."
        ) from error
    except OSError as error:
        if error.errno not in OUT_OF_REACH:
            raise
        raise InvalidImageError(
            f"{file.name} cannot be read ({error.strerror}): see that its disk or network drive "
            f"is connected, and run again."
        ) from error


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it holds anything else, or is nested beyond all measure.
    """
    return parsed_object(regular_bytes(path))


def regular_bytes(path: Path) -> bytes:
    """Read a file, and nothing else that may lie in its place: a pipe would never answer.

    Raises:
        OSError: If it cannot be opened, or is a folder, a pipe or a device.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY", "O_CLOEXEC"))
    with open(os.open(path, os.O_RDONLY | flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return stream.read()


def parsed_object(content: bytes) -> dict[str, Any]:
    """Read the content of a file as a JSON object.

    Raises:
        ValueError: If it is anything else, or is nested beyond all measure.

    Example:
        >>> parsed_object(b'{"a": [1]}')
        {'a': [1]}
    """
    try:
        value = json.loads(content.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it holds {_kind(value)}, and no table of names and values")
    return value


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "nothing (null)"}
    return kinds.get(type(value), "a number")


def whole_array(path: Path) -> Any:
    """Read all of a `.npy` file of plain numbers or text into memory, at once.

    Returns:
        The array, writable; no byte of the file is left over.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is no such file, is cut off, or is longer than its header says.
    """
    import numpy as np

    content = regular_bytes(path)
    try:
        length = 12 if content[6:7] > b"\x01" else 10
        begin = length + int.from_bytes(content[8:length], "little")
        shape, fortran, dtype = _header(content[:begin])
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0 or len(content) - begin != prod(shape) * dtype.itemsize:
            raise ValueError(f"its {len(content)} bytes are not those of its header")
        order: Any = "F" if fortran else "C"
        return np.ndarray(shape, dtype, content, begin, order=order).copy()
    except UNREADABLE as error:
        raise ValueError(str(error).strip() or type(error).__name__) from error


@lru_cache(maxsize=256)
def _header(start: bytes) -> tuple[tuple[int, ...], bool, Any]:
    """Read the head of a `.npy` file: most of a store are equal. Shape, order and dtype."""
    from numpy.lib import format as npy

    stream = io.BytesIO(start)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        found = readers[npy.read_magic(stream)](stream)
    except UNREADABLE as error:  # in words of numpy's parser
        raise ValueError("its header is missing or damaged") from error
    if stream.read(1):
        raise ValueError("its header is longer than it says")
    return found
