"""The JSON files beside published weights, read so that no number in them can fill a machine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medrobust.base.safe_files import json_object
from medrobust.exceptions import WeightsMismatchError

LARGEST = 1 << 20
"""Width, vocabulary or context beyond which a configuration is taken for a hostile one."""

DEEPEST = 256
"""Layers, likewise: each of them is an object, whatever its width."""

DEPTH = re.compile(r"layers|depth|stages", re.IGNORECASE)


def read_table(path: Path) -> dict[str, Any]:
    """Read a file that holds names and values, a vocabulary for one.

    Raises:
        WeightsMismatchError: If it does not; names the file.
    """
    try:
        return json_object(path)
    except ValueError as error:
        raise WeightsMismatchError(f"{path.name} is no JSON ({error}). Fetch it again.") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read `config.json`, `preprocessor_config.json` and their like.

    Raises:
        WeightsMismatchError: If it is no table, or asks for what no machine holds; names the file.
    """
    values = read_table(path)
    for key, number in _numbers(values, ""):
        most = DEEPEST if DEPTH.search(key) else LARGEST
        if not abs(number) <= most:
            raise WeightsMismatchError(
                f"{path.name} states {key} {number}, where {most} is the most that a model of this "
                f"kind could have. Fetch it again."
            )
    return values


def _numbers(value: Any, key: str) -> Iterator[tuple[str, float]]:
    """Yield every number with the key that it lies below."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, key)
    elif isinstance(value, int | float):
        yield key, value
