"""Configuration folders of others (`--config-dir DIR`): what they may ask for, before Hydra reads.

A YAML file of Hydra can name any function of any package to be called. Of a folder that is not this
project's own, the classes of `TARGETS` may be named, and those of packages that the user trusts by
`MEDROBUST_TRUST=package,package`; it may neither change the environment nor what Hydra itself
builds.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medrobust.exceptions import ConfigurationError

LARGEST = 1 << 20
"""Bytes of a configuration file."""

MOST_NODES = 20_000
"""Values of a file, each alias counted as what it stands for."""

TARGETS = (
    r"medrobust\.(adapters|corruptions|datasets|models|readings|reporting|tasks|tuning)\.[A-Z]\w*",
    r"medrobust\.tasks\.lookup\.task_of",
    r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*",
    r"pytorch_lightning\.(callbacks\.|loggers\.|profilers\.|strategies\.)?[A-Z]\w*",
    r"albumentations\.[A-Z]\w*",
)
"""What a `_target_` may name: the public classes of these places, and a task by its name."""

OF_HYDRA: Mapping[str, frozenset[str]] = {
    "hydra": frozenset({"mode", "run", "sweep", "sweeper"}),
    "sweeper": frozenset({"params"}),
}
"""What may be said of Hydra itself: folders, and what is swept over."""

HEADER = re.compile(r"\s*#\s*@package\s+\S+\s*")
PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)


def check_packs(folders: Sequence[Path]) -> None:
    """Refuse configuration folders that ask for more than a configuration needs.

    Raises:
        ConfigurationError: Naming the file, what it asks for, and how to trust it.
    """
    trusted = [name.strip() for name in os.environ.get("MEDROBUST_TRUST", "").split(",")]
    allowed = [*TARGETS, *(rf"{re.escape(name)}(\.\w+)+" for name in trusted if name)]
    for folder in folders:
        for file in sorted(folder.rglob("*.y*ml")):
            _check_file(file, file.relative_to(folder), allowed)


def _check_file(file: Path, name: Path, allowed: Sequence[str]) -> None:
    import yaml

    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it is longer than {LARGEST >> 10} KiB")
        text = file.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        if not isinstance(content, Mapping | None):
            raise ValueError("it is no table of names and values")
        if any(not HEADER.fullmatch(line) for line in re.findall(r"^\s*#\s*@.*$", text, re.M)):
            raise ValueError("a line with @ is no '# @package NAME'")
    except (OSError, ValueError, yaml.YAMLError, RecursionError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigurationError(f"{file} cannot be read as configuration ({reason}).") from error
    packages = [match[1] for match in PACKAGE.finditer(text)]
    if name.parts[0] == "hydra" or any("hydra" in package for package in packages):
        raise _refused(file, "changes Hydra itself")
    for parent, key, value in _nodes(content, file):
        if key == "_target_":
            if not isinstance(value, str) or not any(re.fullmatch(a, value) for a in allowed):
                raise _refused(file, f"names _target_: {value!r:.100}")
        elif isinstance(value, str) and re.search(r"_target_|oc\.(create|decode)|@.*hydra", value):
            raise _refused(file, f"has {value!r:.100}")
        if parent in OF_HYDRA and key is not None and key not in OF_HYDRA[parent]:
            raise _refused(file, f"sets {parent}.{key}")
        if key is not None and re.search(r"@.*hydra", str(key)):
            raise _refused(file, f"sets {key!r:.100}")


def _nodes(content: Any, file: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (key of the table around, key, value) of every value; keys of lists are None."""
    waiting: list[tuple[Any, Any, Any]] = [(None, None, content)]
    count = 0
    while waiting:
        around, key, value = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise ConfigurationError(f"{file} holds more than {MOST_NODES} values.")
        yield around, key, value
        if isinstance(value, Mapping):
            waiting += [(key, str(name), inner) for name, inner in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(None, None, inner) for inner in value]


def _refused(file: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file} {what}, which could run code of anybody. If you know who wrote it, name the "
        f"package it needs, as MEDROBUST_TRUST=package in the environment, or write the options "
        f"into conf/."
    )
