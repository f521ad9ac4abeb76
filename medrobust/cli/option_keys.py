"""Keys that options of the configuration accept: their files, and the classes that they name.

What a key means is said once: by the comment on its line of the file, else by the docstring of the
class, `Args:`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medrobust.base.class_arguments import class_arguments
from medrobust.exceptions import ConfigurationError

from .conf_files import option_file

WIDEST = 40
"""Letters of a key and its default beyond which the meaning of others is not moved."""


@dataclass(frozen=True, slots=True)
class OptionKey:
    """A key that an option accepts.

    Attributes:
        name: Dotted, as typed ("dataset.csv").
        default: As its file has it; empty where the file leaves the key out.
        meaning: A line.
        in_file: Whether a file has it; if not, Hydra wants `+` before it.
    """

    name: str
    default: str
    meaning: str
    in_file: bool = True

    @property
    def typed(self) -> str:
        """As it is written on the command line."""
        return self.name if self.in_file else f"+{self.name}"


def option_keys(folders: Sequence[Path], group: str, option: str) -> list[OptionKey]:
    """List the keys that an option accepts, those of its file first, in its order.

    Args:
        folders: Configuration folders; earlier ones win.
        group: Config group ("dataset").
        option: Name of a file in it ("folder").

    Raises:
        ConfigurationError: If there is no such file, or it is no YAML.
    """
    found, targets, partial = _of_files(folders, group, option)
    for place, target in targets.items():
        for argument in class_arguments(target, partial=place in partial):
            key = f"{place}.{argument.name}"
            known = found.get(key)
            if known is None and not any(name.startswith(f"{key}.") for name in found):
                found[key] = OptionKey(key, "", argument.meaning, in_file=False)
            elif known is not None and not known.meaning:
                found[key] = replace(known, meaning=argument.meaning)
    return list(found.values())


def keys_in_file(folders: Sequence[Path], group: str, option: str) -> list[str]:
    """List the keys of an option that its file and those it builds on have; see `option_keys`."""
    return list(_of_files(folders, group, option)[0])


def option_help(folders: Sequence[Path], group: str, option: str, headline: str) -> str:
    """Write what an option is and every key that it accepts, a line each.

    Args:
        folders: As for `option_keys`.
        group: Config group.
        option: Name of a file in it.
        headline: What it is.

    Raises:
        ConfigurationError: As `option_keys` raises it.
    """
    rows = [
        (f"{key.typed}={_short(key.default)}", key.meaning)
        for key in option_keys(folders, group, option)
    ]
    width = min(max((len(setting) for setting, _ in rows), default=0), WIDEST) + 2
    lines = [f"{group}={option}: {headline}", "", "Keys, with their defaults (KEY=VALUE):"]
    lines += [f"  {setting:<{width}}{meaning}".rstrip() for setting, meaning in rows]
    if not rows:
        lines[-1] = "It takes no keys."
    if any(setting.startswith("+") for setting, _ in rows):
        lines.append("Those with + are not in its file: type them with it.")
    return "\n".join(lines) + "\n"


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _of_files(
    folders: Sequence[Path], group: str, option: str
) -> tuple[dict[str, OptionKey], dict[str, str], set[str]]:
    """Return the keys by name, and the class of each table with those that are partial."""
    found: dict[str, OptionKey] = {}
    targets: dict[str, str] = {}
    partial: set[str] = set()
    _collect(folders, group, option, found, targets, partial)
    return found, targets, partial


def _collect(
    folders: Sequence[Path],
    group: str,
    option: str,
    found: dict[str, OptionKey],
    targets: dict[str, str],
    partial: set[str],
) -> None:
    """Add what the file of an option says, after the options of its group that it builds on."""
    import yaml

    file = option_file(folders, group, option)
    if file is None:
        raise ConfigurationError(f"there is no file {group}/{option}.yaml in conf/.")
    text = file.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is no YAML ({error}).") from error
    if not isinstance(root, yaml.MappingNode):
        return
    whole = re.search(r"^#\s*@package\s+_global_", text, re.MULTILINE) is not None
    for base in _bases(root):
        if base != option and option_file(folders, group, base) is not None:
            _collect(folders, group, base, found, targets, partial)
    prefix = "" if whole else f"{group.replace('/', '.')}."
    for name, node in _scalars(root, prefix):
        place, _, last = name.rpartition(".")
        value = text[node.start_mark.index : node.end_mark.index].strip()
        if last == "_target_":
            targets[place] = value
        elif last == "_partial_":
            partial.add(place)
        else:
            earlier = found.get(name)
            meaning = _comment(text, node) or (earlier.meaning if earlier else "")
            written = "[...]" if value.startswith("- ") else " ".join(value.split())
            found[name] = OptionKey(name, written, meaning)


def _bases(root: Any) -> Iterator[str]:
    """Yield the options of the same group in a defaults list: `lora`, `lora@adapter`."""
    for key, value in root.value:
        if key.value == "defaults":
            for entry in value.value:
                if isinstance(entry.value, str) and not entry.value.startswith(("_self_", "/")):
                    yield entry.value.split("@")[0]


def _scalars(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of every key that is no table itself."""
    import yaml

    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if key.value == "defaults":
            continue
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _scalars(value, f"{name}.")
        else:
            yield name, value


def _comment(text: str, node: Any) -> str:
    """Return the comment on the line in which a value ends (of a list below its key: none)."""
    rest = text[node.end_mark.index :].split("\n", 1)[0]
    return rest.partition("#")[2].strip() if rest.lstrip().startswith("#") else ""
