"""Small files of others, read so that whatever is wrong with them is one kind of error."""

import json
import tokenize
from pathlib import Path
from typing import Any

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
