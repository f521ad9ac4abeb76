"""The JSON files beside published weights, read so that no number in them can fill a machine."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

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

OPEN_CLIP_COUNTS = (
    "context_length",
    "head_width",
    "heads",
    "image_size",
    "layers",
    "patch_size",
    "vocab_size",
    "width",
)
"""The same of a tower in open_clip."""

LONGEST = 300
"""Letters of a library's complaint that a sentence repeats."""

Built = TypeVar("Built")

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
        raise WeightsMismatchError(
            f"{path.name} is no JSON object ({error}). Fetch it again."
        ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read `config.json`, `preprocessor_config.json` and their like.

    Raises:
        WeightsMismatchError: If it is no table, or asks for what no machine holds; names the file.
    """
    values = read_table(path)
    for key, number in _numbers(values, ""):
        if not isfinite(number):
            raise WeightsMismatchError(
                f"{path.name} states {key} {number}, which is no finite number. Fetch it again, or "
                f"correct it."
            )
        most = DEEPEST if DEPTH.search(key) else LARGEST
        if not abs(number) <= most:
            raise WeightsMismatchError(
                f"{path.name} states {key} {number}, where {most} is the most that a model of this "
                f"kind could have. Fetch it again."
            )
    return values


def read_settings_of(path: Path, model: str, *kinds: str) -> dict[str, Any]:
    """Read the `config.json` of a model in the layout of transformers.

    Args:
        path: The file.
        model: Name of the model, for messages.
        kinds: Values of `model_type` that can be read.

    Raises:
        WeightsMismatchError: If it describes another kind of model, or as `read_settings`.
    """
    values = read_settings(path)
    kind = values.get("model_type")
    if kind not in kinds:
        wanted = " or ".join(map(repr, kinds))
        raise WeightsMismatchError(
            f"model {model!r}: {path.name} describes {kind!r}, not {wanted}."
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

    _check_count(values, "projection_dim", f"{file} states", "")
    check_number(values, "logit_scale_init_value", file)
    for tower in ("text_config", "vision_config"):
        stated = values.get(tower)
        stated = {} if stated is None else stated
        if not isinstance(stated, Mapping):
            raise WeightsMismatchError(f"{file} has no table in {tower}. Fetch it again.")
        for key in COUNTS:
            _check_count(stated, key, f"{file} states", f" in {tower}")
        _check_heads(stated, "hidden_size", "num_attention_heads", f"{file} states", f" in {tower}")
        activation = stated.get("hidden_act")
        if activation is not None and str(activation) not in ACT2FN:
            raise WeightsMismatchError(
                f"{file} states hidden_act {activation!r} in {tower}, which this version of "
                f"transformers does not know. Fetch it again, or upgrade transformers."
            )


def check_open_clip(values: Mapping[str, Any], file: str) -> None:
    """Look at what a configuration of open_clip states of its two towers.

    Args:
        values: With `embed_dim`, `vision_cfg` and `text_cfg`.
        file: Its name, for messages.

    Raises:
        WeightsMismatchError: If a size is no whole number from 1 on, or heads divide no width.
    """
    _check_count(values, "embed_dim", f"{file} states", "")
    for key in ("init_logit_scale", "init_logit_bias"):
        check_number(values, key, file)
    for tower in ("vision_cfg", "text_cfg"):
        stated, where = values[tower], f" in {tower}"
        for key in OPEN_CLIP_COUNTS:
            if not isinstance(stated.get(key), list):  # layers of a ResNet, sides of an image
                _check_count(stated, key, f"{file} states", where)
        ratio = stated.get("mlp_ratio", 4.0)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio > 0:
            raise WeightsMismatchError(
                f"{file} states mlp_ratio {ratio!r}{where}, where a number above 0 is needed. "
                f"Fetch it again."
            )
        for heads in () if isinstance(stated.get("layers"), list) else ("heads", "head_width"):
            _check_heads(stated, "width", heads, f"{file} states", where)


def built(build: Callable[[], Built], file: str) -> Built:
    """Build what a configuration of transformers describes, with its complaint in one sentence.

    Args:
        build: Makes a configuration, or a model without values, of what the file states.
        file: Its name.

    Raises:
        WeightsMismatchError: If a value is of another type, or values do not fit one another.
    """
    try:
        return build()
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # checkers of configurations raise classes of their own
        raise WeightsMismatchError(
            f"{file} describes no model ({last_line(error)}). Fetch it again, or correct it."
        ) from error


def last_line(error: BaseException) -> str:
    r"""Return what an error says in the end, which of nested ones is the cause.

    Example:
        >>> last_line(ValueError("Validation error for 'eps':\n    TypeError: expected float."))
        "Validation error for 'eps': TypeError: expected float"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
    return said[:LONGEST].rstrip(".")


def check_number(stated: Mapping[str, Any], key: str, file: str) -> None:
    """Refuse what is there and is no number.

    Raises:
        WeightsMismatchError: Naming the file and the key.
    """
    value = stated.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise WeightsMismatchError(
            f"{file} states {key} {value!r}, where a number is needed, without quotation marks. "
            f"Fetch it again, or correct it."
        )


def _check_count(stated: Mapping[str, Any], key: str, states: str, where: str) -> None:
    count = stated.get(key)
    if count is not None and (type(count) is not int or count < 1):
        raise WeightsMismatchError(
            f"{states} {key} {count!r}{where}, where a whole number from 1 on is needed, without "
            f"quotation marks. Fetch it again."
        )


def _check_heads(
    stated: Mapping[str, Any], width: str, heads: str, states: str, where: str
) -> None:
    whole, parts = stated.get(width), stated.get(heads)
    if isinstance(whole, int) and isinstance(parts, int) and whole % parts:
        raise WeightsMismatchError(
            f"{states} {heads} {parts}{where}, which does not divide its {width} {whole}. Fetch it "
            f"again."
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
