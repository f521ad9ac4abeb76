"""Files of others, read so that whatever is wrong with them is one kind of error."""

import errno
import json
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
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
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is no table of names and values")
    return value


def plain_array(path: Path) -> Any:
    """Read a `.npy` file of plain numbers or text; no pickle is ever opened.

    Returns:
        The array, memory-mapped read-only, so that a header alone takes no memory.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is no such file, or is cut off.
    """
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(str(error).strip() or type(error).__name__) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it is an archive of arrays")
    return array
