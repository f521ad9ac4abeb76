"""Seals: the last line of a JSON record is a digest over all bytes before it.

So no byte of a record changes unseen, and checking takes no second writing of it. A record of
release 0.1 has no seal, and passes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .safe_files import parsed_object, regular_bytes

SEAL, SEALED = "seal", "sealed"
"""Keys of the digest and of the word that there is one: no flipped bit takes both away."""

OPEN_END = b"\n}\n"
"""How JSON with an indent of one ends."""


def plain_json(record: Mapping[str, Any], *, default: Callable[[Any], Any] | None = None) -> bytes:
    """Write a record in the one form that files of a store have.

    Args:
        record: Plain values under texts.
        default: Turns another value into a plain one, as that of `json.dumps`.

    Raises:
        TypeError: If there is a value that JSON has no form for.
        ValueError: If a float is not finite.
    """
    text = json.dumps(record, default=default, indent=1, sort_keys=True, allow_nan=False)
    return f"{text}\n".encode()


def sealed_json(record: Mapping[str, Any], *, default: Callable[[Any], Any] | None = None) -> bytes:
    """Write a record with its seal, in the place of an earlier one, as `plain_json` does.

    Example:
        >>> content = sealed_json({"a": 1})
        >>> breach(content, json.loads(content)), breach(b"{}", {})
        (None, None)
        >>> changed = content.replace(b"1", b"2", 1)
        >>> breach(changed, json.loads(changed))
        'its record is not the one that was sealed'
    """
    inside = {name: value for name, value in record.items() if name != SEAL} | {SEALED: True}
    body = plain_json(inside, default=default).removesuffix(OPEN_END)
    return body + _end(body)


def breach(content: bytes, record: Mapping[str, Any]) -> str | None:
    """Say that a record is not what was sealed; None where it is, or has no seal.

    Args:
        content: The bytes of the file.
        record: What they say.

    Example:
        >>> breach(b"{}", {}), breach(b"", {"sealed": True})
        (None, 'its record is not the one that was sealed')
    """
    if not is_sealed(record):
        return None
    body = content[:-END_LENGTH]
    return None if content == body + _end(body) else "its record is not the one that was sealed"


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Say whether a record claims a seal.

    Example:
        >>> is_sealed({"a": 1}), is_sealed(json.loads(sealed_json({"a": 1})))
        (False, True)
    """
    return SEAL in record or SEALED in record


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON record, and check its seal if it has one.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it holds anything else, or is not what was sealed.
    """
    content = regular_bytes(path)
    record = parsed_object(content)
    if complaint := breach(content, record):
        raise ValueError(complaint)
    return record


def ends_sealed(path: Path) -> bool:
    """Say whether a file ends as a sealed record does, without reading all of it."""
    try:
        with path.open("rb") as file:
            file.seek(-END_LENGTH, os.SEEK_END)
            return f',\n "{SEAL}": "'.encode() in file.read()
    except OSError:  # none, or shorter
        return False


def _end(body: bytes) -> bytes:
    return f',\n "{SEAL}": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


END_LENGTH = len(_end(b""))
