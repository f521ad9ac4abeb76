"""Keys that options of the configuration accept: their files, and the classes that they name.

What a key means is said once: by the comment on its line of the file, else by the docstring of the
class, `Args:`.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from importlib import import_module
from pathlib import Path
from typing import Any

from medrobust.arguments import option_file
from medrobust.exceptions import ConfigurationError

OWN_CLASSES = re.compile(r"medrobust(\.\w+)*\.[A-Z]\w*")
"""Classes whose arguments are looked up; those of other packages belong to their own pages."""

NEAR = 0.55
"""Likeness from which a key is taken for what was meant."""

WIDEST = 40
"""Letters of a key and its default beyond which the meaning of others is not moved."""

ARGUMENT = re.compile(r"^    (?P<name>\w+): (?P<text>.*)$")


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
    found: dict[str, OptionKey] = {}
    targets: dict[str, str] = {}
    partial: set[str] = set()
    _collect(folders, group, option, found, targets, partial)
    for place, target in targets.items():
        for argument in class_arguments(target, partial=place in partial):
            key = f"{place}.{argument.name}"
            known = found.get(key)
            if known is None and not any(name.startswith(f"{key}.") for name in found):
                found[key] = OptionKey(key, "", argument.meaning, in_file=False)
            elif known is not None and not known.meaning:
                found[key] = replace(known, meaning=argument.meaning)
    return list(found.values())


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


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a class: its name, and what its docstring says of it."""

    name: str
    meaning: str


def class_arguments(target: str, *, partial: bool = False) -> list[Argument]:
    """List what a class of this package takes; none for other classes, or if it cannot be loaded.

    Args:
        target: As `_target_` names it.
        partial: Whether the configuration leaves arguments without a default to the program.
    """
    if not OWN_CLASSES.fullmatch(target):
        return []
    module, _, name = target.rpartition(".")
    try:
        class_ = getattr(import_module(module), name)
        parameters = inspect.signature(class_).parameters.values()
    except (ImportError, AttributeError, TypeError, ValueError):
        return []
    meanings = _meanings(class_)
    return [
        Argument(parameter.name, meanings.get(parameter.name, ""))
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and not (partial and parameter.default is parameter.empty)
    ]


def nearest_key(key: str, known: Sequence[str]) -> str | None:
    """Return the configuration key that `key` was probably meant to be.

    Words are compared in any order. Below a group that exists, only its keys are looked at.

    Args:
        key: As typed.
        known: Keys, those that want it with their `+`.

    Example:
        >>> nearest_key("trainer.devces", ["trainer.devices", "seed"])
        'trainer.devices'
        >>> nearest_key("dataset.columns.lable", ["dataset.label_column", "dataset.name"])
        'dataset.label_column'
    """
    head, dot, rest = key.partition(".")
    plain = [name.lstrip("+") for name in known]
    if dot and any(name == head or name.startswith(f"{head}.") for name in plain):
        start = len(head) + 1
        scored = [
            (_likeness(rest, name[start:]), typed)
            for name, typed in zip(plain, known, strict=True)
            if name.startswith(f"{head}.")
        ]
    else:
        scored = [(_likeness(key, name), typed) for name, typed in zip(plain, known, strict=True)]
    best = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= NEAR else None


def _likeness(one: str, other: str) -> float:
    """Compare two names from 0 to 1: as a whole, and word by word in any order."""
    words, others = (re.findall(r"[^._/]+", name.lower()) for name in (one, other))
    if not words or not others:
        return 0.0
    table = [[_ratio(a, b) for b in others] for a in words]
    forth: float = sum(max(row) for row in table) / len(words)
    back: float = sum(max(column) for column in zip(*table, strict=True)) / len(others)
    return (forth + back + _ratio(one, other)) / 3


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


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


def _meanings(class_: Any) -> Mapping[str, str]:
    """Read what docstrings of a class and its bases say of its arguments, a sentence each."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(class_)):
        lines = inspect.cleandoc(one.__dict__.get("__doc__") or "").splitlines()
        heads = [place for place, line in enumerate(lines) if line in ("Args:", "Attributes:")]
        for head in heads:
            name = ""
            for line in lines[head + 1 :]:
                if line and not line.startswith("    "):
                    break
                match = ARGUMENT.match(line)
                if match is not None:
                    name = match["name"]
                    found[name] = match["text"]
                elif name and line.strip():
                    found[name] += f" {line.strip()}"
    return {name: _sentence(text) for name, text in found.items()}


def _sentence(text: str) -> str:
    """Cut a description to its first sentence."""
    return re.split(r"(?<=\w)\.(?= [A-Z]|$)|(?<=\))\.(?= |$)", text, maxsplit=1)[0]
