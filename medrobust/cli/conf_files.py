"""What the files of conf/ offer, read without Hydra: groups, options, presets, run-wide keys."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medrobust.base.conf_folder import option_files

from .quoting import quoted

PLAIN = re.compile(r"[\w./-]+", re.ASCII)
"""Texts that the grammar of overrides takes without quotes."""

ANOTHER_KIND = re.compile(r"null|true|false|nan|inf|[+-]?[\d._]+(e[+-]?\d+)?", re.IGNORECASE)
"""Texts that it takes for something else without quotes."""


def groups(folders: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Read the config groups: group -> option -> what it is (first comment line of its file).

    Args:
        folders: Configuration folders; earlier ones win.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in reversed(folders):
        for file in option_files(folder):
            group = file.parent.relative_to(folder).as_posix()
            found.setdefault(group, {})[file.stem] = _headline(file)
    return {group: dict(sorted(found[group].items())) for group in sorted(found)}


def _headline(file: Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
        if line and not line.startswith("#"):
            break
    return ""


def option_file(folders: Sequence[Path], group: str, option: str) -> Path | None:
    """Find the file of an option in the first folder of configuration that has it."""
    paths = (folder / group / f"{option}.yaml" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def experiment_keys(folders: Sequence[Path], options: str) -> tuple[str, ...]:
    """Return what an experiment file sets beside its choices, as it would be typed.

    Args:
        folders: Of configuration; the first that has a file counts.
        options: Name of the experiment, or a list of them, "[a, b]"; one without a file ("null")
            sets nothing.
    """
    import yaml

    found: list[str] = []
    for option in options.strip("[]").split(","):
        file = option_file(folders, "experiment", option.strip())
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file is not None else None
        for name, value in (content or {}).items():
            if name not in ("defaults", "hydra"):
                found += _leaves(name, value)
    return tuple(found)


def _leaves(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield f"{name}={override_value(value)}"


def override_value(value: Any) -> str:
    """Write a value of a YAML file in the grammar of Hydra's overrides.

    Example:
        >>> override_value([None, 2.5, "chest x-ray", "01", {"age": [40]}])
        "[null,2.5,'chest x-ray','01',{age:[40]}]"
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{override_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str) and (ANOTHER_KIND.fullmatch(value) or not PLAIN.fullmatch(value)):
        return quoted(value)
    return str(value)


def run_wide_keys(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield key, default and comment of every key of the main file that is no part's."""
    parent = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        match = re.match(
            r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*)(?:#(?P<comment>.*))?$", line
        )
        if match is None or line.startswith(("defaults:", "hydra:", "    ")):
            continue
        if not match["indent"]:
            parent = match["key"]
        if not match["value"].strip():
            continue
        key = f"{parent}.{match['key']}" if match["indent"] else match["key"]
        if parent != "hydra":
            yield key, match["value"].strip(), (match["comment"] or "").strip()
