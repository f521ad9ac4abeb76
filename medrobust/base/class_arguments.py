"""Arguments of the classes that a configuration names, with what their docstrings say."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

OWN_CLASSES = re.compile(r"medrobust(\.\w+)*\.[A-Z]\w*")
"""Classes whose arguments are looked up; those of other packages belong to their own pages."""

ARGUMENT = re.compile(r"^    (?P<name>\w+): (?P<text>.*)$")


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
