"""Classes of this package as their source has them: found and read, nothing is imported for it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class SourceClass:
    """A class as it is written.

    Attributes:
        node: Its definition.
        module: Dotted name of the module that has it.
    """

    node: ast.ClassDef
    module: str


def source_class(target: str) -> SourceClass | None:
    """Find a class by the name under which it can be imported.

    A module has it by defining it, by importing it, or by a table from public names to modules,
    as the packages that import late have one.

    Args:
        target: Dotted, as "medrobust.datasets.Folder".

    Returns:
        None if there is no such class in this package.

    Example:
        >>> source_class("medrobust.datasets.Folder").module
        'medrobust.datasets.own.folder'
    """
    module, _, name = target.rpartition(".")
    for node in _statements(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return SourceClass(node, module)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return source_class(f"{_imported_module(node, module)}.{alias.name}")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            home = _entry(node.value, name)
            if home is not None:
                return source_class(f"{module}.{home.lstrip('.')}.{name}")
    return None


def lineage(found: SourceClass) -> list[SourceClass]:
    """List a class and those of this package that it derives from, the nearest first."""
    bases = [
        base
        for node in found.node.bases
        if isinstance(node, ast.Name)
        and (base := source_class(f"{found.module}.{node.id}")) is not None
    ]
    return [found, *(one for base in bases for one in lineage(base))]


@lru_cache(maxsize=64)
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """Read the statements of a module of this package, those of `if TYPE_CHECKING:` with them."""
    root, *parts = module.split(".")
    place = PACKAGE.joinpath(*parts)
    files = (place.with_suffix(".py"), place / "__init__.py")
    file = next((file for file in files if file.is_file()), None)
    if root != PACKAGE.name or file is None:
        return ()
    return tuple(_flat(ast.parse(file.read_text(encoding="utf-8")).body))


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _flat(node.body)
        yield node


def _imported_module(node: ast.ImportFrom, module: str) -> str:
    """Return the module that an import names, one dot meaning the package of `module`."""
    if not node.level:
        return node.module or ""
    is_package = PACKAGE.joinpath(*module.split(".")[1:]).is_dir()
    package = module if is_package else module.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _entry(table: ast.Dict, name: str) -> str | None:
    """Return what a literal table has under a name, if it is text."""
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == name and isinstance(value, ast.Constant):
            return value.value if isinstance(value.value, str) else None
    return None
