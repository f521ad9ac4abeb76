"""Arguments of the classes that a configuration names, with what their docstrings say.

They are read from the source: a mistyped key is answered before torch could have been imported.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .class_sources import SourceClass, lineage, source_class

OWN_CLASSES = re.compile(r"medrobust(\.\w+)*\.[A-Z]\w*")
"""Classes whose arguments are looked up; those of other packages belong to their own pages."""

ARGUMENT = re.compile(r"^    (?P<name>\w+): (?P<text>.*)$")

Parameters: TypeAlias = Mapping[str, bool]
"""Name of an argument -> whether it has a default."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a class: its name, and what its docstring says of it."""

    name: str
    meaning: str


def class_arguments(target: str, *, partial: bool = False) -> list[Argument]:
    """List what a class of this package takes; none for other classes, or if there is none.

    Args:
        target: As `_target_` names it.
        partial: Whether the configuration leaves arguments without a default to the program.

    Example:
        >>> found = class_arguments("medrobust.corruptions.Corruption")
        >>> [argument.name for argument in found][:3]
        ['name', 'suite', 'grey']
    """
    found = source_class(target) if OWN_CLASSES.fullmatch(target) else None
    if found is None:
        return []
    family = lineage(found)
    meanings = _meanings(family)
    return [
        Argument(name, meanings.get(name, ""))
        for name, has_default in _parameters(family).items()
        if has_default or not partial
    ]


def _parameters(family: Sequence[SourceClass]) -> Parameters:
    """Return what the nearest `__init__` takes, one that is written or that of a dataclass."""
    for position, one in enumerate(family):
        for node in one.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _of_function(node.args)
        if _is_dataclass(one.node):
            fields: dict[str, bool] = {}
            for base in reversed(family[position:]):
                fields |= _fields(base.node) if _is_dataclass(base.node) else {}
            return fields
    return {}


def _of_function(arguments: ast.arguments) -> Parameters:
    plain = arguments.args[1:]  # without self
    without_default = len(plain) - len(arguments.defaults)
    found = {one.arg: place >= without_default for place, one in enumerate(plain)}
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {one.arg: default is not None for one, default in pairs}


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return any(isinstance(name, ast.Name) and name.id == "dataclass" for name in names)


def _fields(node: ast.ClassDef) -> dict[str, bool]:
    """Return the fields of a dataclass that its `__init__` takes."""
    return {
        one.target.id: _has_default(one.value)
        for one in node.body
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and not ast.unparse(one.annotation).startswith(("ClassVar", "KW_ONLY"))
        and "init=False" not in (ast.unparse(one.value) if one.value else "")
    }


def _has_default(value: ast.expr | None) -> bool:
    """Say whether the right side of a field gives a value: `field(...)` may or may not."""
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "field"
    ):
        return any(word.arg in ("default", "default_factory") for word in value.keywords)
    return value is not None


def _meanings(family: Sequence[SourceClass]) -> Mapping[str, str]:
    """Read what docstrings of a class and its bases say of its arguments, a sentence each."""
    found: dict[str, str] = {}
    for one in reversed(family):
        found |= dict(_described(ast.get_docstring(one.node) or ""))
    return {name: _sentence(text) for name, text in found.items()}


def _described(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the names below `Args:` and `Attributes:`, each with its text."""
    lines = inspect.cleandoc(docstring).splitlines()
    heads = [place for place, line in enumerate(lines) if line in ("Args:", "Attributes:")]
    for head in heads:
        name, text = "", ""
        for line in lines[head + 1 :]:
            if line and not line.startswith("    "):
                break
            match = ARGUMENT.match(line)
            if match is not None:
                if name:
                    yield name, text
                name, text = match["name"], match["text"]
            elif name and line.strip():
                text += f" {line.strip()}"
        if name:
            yield name, text


def _sentence(text: str) -> str:
    """Cut a description to its first sentence."""
    return re.split(r"(?<=\w)\.(?= [A-Z]|$)|(?<=\))\.(?= |$)", text, maxsplit=1)[0]
