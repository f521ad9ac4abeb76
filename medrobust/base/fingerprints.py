"""Fingerprints: SHA-256 of canonical JSON, and of files read as a stream."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """Write `value` (dict, list, str, int, float, bool, None) as JSON with one form only.

    Raises:
        TypeError: If `value` holds something that JSON has no form for.
        ValueError: If a float is not finite.

    Example:
        >>> canonical_json({"b": 1, "a": [True, None]})
        '{"a":[true,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def fingerprint(value: Any) -> str:
    """Hash a plain value: 64 hexadecimal digits, equal for equal values on every machine.

    Example:
        >>> fingerprint({"b": 1, "a": [2, 3]}) == fingerprint({"a": [2, 3], "b": 1})
        True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Hash the bytes of a file, read in blocks: 64 hexadecimal digits.

    Read again only when size or time of the file have changed.
    """
    status = path.stat()
    return _file_fingerprint(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_fingerprint(path: Path, _size: int, _time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
