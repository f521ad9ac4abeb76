"""The JSON files beside published weights, read so that no number in them can fill a machine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medrobust.base.safe_files import json_object, regular_bytes
from medrobust.exceptions import WeightsMismatchError

from .file_kinds import POINTER

LARGEST = 1 << 20
"""Width, vocabulary or context beyond which a configuration is taken for a hostile one."""

DEEPEST = 256
"""Layers, likewise: each of them is an object, whatever its width."""

COUNTS = (
    "hidden_size",
    "image_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
    "projection_dim",
    "vocab_size",
)
"""Values of a tower in transformers that are whole numbers from 1 on."""

DEPTH = re.compile(r"layers|depth|stages", re.IGNORECASE)


def read_table(path: Path) -> dict[str, Any]:
    """Read a file that holds names and values, a vocabulary for one.

    Raises:
        WeightsMismatchError: If it does not; names the file.
    """
    try:
        return json_object(path)
    except ValueError as error:
        if regular_bytes(path).startswith(POINTER):
            raise WeightsMismatchError(
                f"{path.name} is a pointer of Git LFS and not the file: run `git lfs pull`, or "
                f"fetch it again."
            ) from error
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


def check_towers(values: Mapping[str, Any], file: str) -> None:
    """Look at what a configuration of transformers states of its two towers.

    Args:
        values: The whole configuration.
        file: Its name, for messages.

    Raises:
        WeightsMismatchError: If a size is no whole number from 1 on, or an activation is unknown.
    """
    from transformers.activations import ACT2FN

    for tower in ("text_config", "vision_config"):
        stated = values.get(tower)
        stated = {} if stated is None else stated
        if not isinstance(stated, Mapping):
            raise WeightsMismatchError(f"{file} has no table in {tower}. Fetch it again.")
        for key in COUNTS:
            count = stated.get(key)
            if count is not None and (type(count) is not int or count < 1):
                raise WeightsMismatchError(
                    f"{file} states {key} {count!r} in {tower}, where a whole number from 1 on is "
                    f"needed, without quotation marks. Fetch it again."
                )
        activation = stated.get("hidden_act")
        if activation is not None and str(activation) not in ACT2FN:
            raise WeightsMismatchError(
                f"{file} states hidden_act {activation!r} in {tower}, which this version of "
                f"transformers does not know. Fetch it again, or upgrade transformers."
            )


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
