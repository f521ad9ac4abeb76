"""Configuration folders of others (`--config-dir DIR`): what they may ask for, before Hydra reads.

A YAML file of Hydra can name any function of any package to be called. Of a folder that is not this
project's own, the classes of `TARGETS` may be named, and those of packages that the user trusts by
`MEDROBUST_TRUST=package,package`; it may neither change the environment nor what Hydra itself
builds. Nor may it read the environment or the machine, unless the user names what it reads
(`MEDROBUST_TRUST=oc.env:DATA`).
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medrobust.base.reasons import reason_of
from medrobust.base.redaction import KEYS
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

HARMLESS = frozenset(
    {"oc.select", "oc.dict.keys", "oc.dict.values", "oc.deprecated", "medrobust.folder", "now"}
)
"""Resolvers that read nothing but keys of the configuration, and the clock."""

PRIVATE = frozenset({*KEYS, "override_dirname"})
"""Keys of the configuration that hold paths of this machine, or what was typed with them."""

FOLDERS = PRIVATE | {"subdir"}
"""Keys that may be made of such: they name places, and no table or store has them."""

WHOLE = frozenset({"adapter", "dataset", "loop", "model", "quality", "store", "trainer", "tuning"})
"""Tables of the configuration that hold such keys."""

OF_RUN = r"(job\.(num|name|id|override_dirname)|runtime\.choices\b)"
"""What `${hydra:...}` may read: names of the job and of what was chosen."""

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
        for file in sorted(_files(folder)):
            _check_file(file, file.relative_to(folder), allowed, trusted)


def _files(folder: Path) -> Iterator[Path]:
    """Yield every YAML file below, behind links too, as Hydra would find it."""
    count = 0
    for place, below, names in os.walk(folder, followlinks=True):
        above = {parent.resolve() for parent in Path(place).parents}
        below[:] = [name for name in below if Path(place, name).resolve() not in above]
        count += 1 + len(names)
        if count > MOST_NODES:
            raise ConfigurationError(f"{folder} holds more than {MOST_NODES} files and folders.")
        yield from (Path(place, n) for n in names if n.lower().endswith((".yaml", ".yml")))


def _check_file(
    file: Path, name: Path, allowed: Sequence[str], trusted: Sequence[str] = ()
) -> None:
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
        raise ConfigurationError(
            f"{file} cannot be read as configuration ({reason_of(error)})."
        ) from error
    packages = [match[1] for match in PACKAGE.finditer(text)]
    if name.parts[0] == "hydra" or any("hydra" in package for package in packages):
        raise _refused(file, "changes Hydra itself")
    for place, parent, key, value in _nodes(content, file):
        if key == "_target_":
            if not isinstance(value, str) or not any(re.fullmatch(a, value) for a in allowed):
                raise _refused(file, f"names _target_: {value!r:.100}")
        elif isinstance(value, str) and re.search(r"_target_|oc\.(create|decode)|@.*hydra", value):
            raise _refused(file, f"has {value!r:.100}")
        for text in (key, value):
            if isinstance(text, str) and (found := _reading(text, trusted)) is not None:
                raise _reads(file, place, text, found)
            if isinstance(text, str) and "${" in text and key not in FOLDERS and _places(text):
                raise _tells(file, place, text)
        if parent in OF_HYDRA and key is not None and key not in OF_HYDRA[parent]:
            raise _refused(file, f"sets {parent}.{key}")
        if key is not None and re.search(r"@.*hydra", str(key)):
            raise _refused(file, f"sets {key!r:.100}")


def _reading(text: str, trusted: Sequence[str]) -> str | None:
    """Return what a text interpolates that may read this machine; None where it reads keys alone.

    Empty where it has no name that could be trusted.

    What a resolver is called is decided by its first characters; one whose name is itself made of
    interpolations is taken for one that reads, and so is one that is escaped: what is resolved
    twice has no escape left.

    Example:
        >>> _reading("a ${model.name}, ${oc.env:HOME}", []), _reading("${oc.env:HOME}", ["oc.env"])
        ('oc.env:HOME', None)
    """
    for match in re.finditer(r"\$\{\s*([^\s:${}]*)\s*(:|\})?(?=([^{}]*))", text):
        name, end, inside = match[1], match[2], match[3].strip()
        if end is None:
            if ":" in text:
                return ""
        elif end == ":" and not (
            name in HARMLESS
            or (name == "hydra" and re.match(OF_RUN, inside))
            or {name, f"{name}:{inside.partition(',')[0].strip()}"} & {*trusted}
        ):
            return f"{name}:{inside.partition(',')[0].strip()}"
    return None


def _places(text: str) -> bool:
    """Say whether a text interpolates a key that holds a path of this machine, or may hold one.

    Interpolations within others are taken for any name, so that what a key is called at its end
    must be written out.

    Example:
        >>> [_places(f"a {{}} of {part}") for part in ("${model.name}", "${dataset.csv}")]
        [False, True]
        >>> _places("${model.${x}.name}"), _places("${dataset.${x}}"), _places("${..dataset}")
        (False, True, True)
    """
    while found := re.search(r"\$\{([^{}$]*)\}", text):
        resolver, colon, inside = found[1].rpartition(":")
        keys = inside.split(",") if colon else [found[1]]
        keys = keys[:1] if resolver.strip() == "oc.select" else keys
        keys = [f"hydra.{key}" for key in keys] if resolver.strip() == "hydra" else keys
        if resolver.strip() != "now" and any(map(_is_place, keys)):
            return True
        text = f"{text[: found.start()]}\0{text[found.end() :]}"
    return "${" in text


def _is_place(key: str) -> bool:
    """Say whether a key may name a path or a table with one."""
    parts = re.findall(r"[^.\[\]\s'\"]+", key)
    if not parts:
        return False
    if parts[0] == "hydra":
        return "override_dirname" in parts or not re.match(OF_RUN, ".".join(parts[1:]))
    return "\0" in parts[-1] or "\\" in key or not PRIVATE.isdisjoint(parts) or parts[-1] in WHOLE


def _nodes(content: Any, file: Path) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield (dotted place, key of the table around, key, value) of every value.

    Keys of lists are None.
    """
    waiting: list[tuple[str, Any, Any, Any]] = [("", None, None, content)]
    count = 0
    while waiting:
        place, around, key, value = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise ConfigurationError(f"{file} holds more than {MOST_NODES} values.")
        yield place, around, key, value
        if isinstance(value, Mapping):
            inside = ((str(name), inner) for name, inner in value.items())
            waiting += [(f"{place}.{n}".lstrip("."), key, n, inner) for n, inner in inside]
        elif isinstance(value, list | tuple | set):
            waiting += [(f"{place}[{n}]", None, None, inner) for n, inner in enumerate(value)]


def _reads(file: Path, place: str, text: str, found: str) -> ConfigurationError:
    named = f"name it, as MEDROBUST_TRUST={found} in the environment, or " if found else ""
    return ConfigurationError(
        f"{file} has {text!r:.100} at {place or 'its top'}, which may bring what only this machine "
        f"knows, secrets too, into reports. If it is meant to, {named}write the options into conf/."
    )


def _tells(file: Path, place: str, text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file} has {text!r:.100} at {place or 'its top'}, which may bring a path of this machine "
        f"into store and report. Write the words out, or write the options into conf/."
    )


def _refused(file: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file} {what}, which could run code of anybody. If you know who wrote it, name the "
        f"package it needs, as MEDROBUST_TRUST=package in the environment, or write the options "
        f"into conf/."
    )
