"""Pure functions show what they do: enough of them have an example, which pytest runs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "medrobust"
PLAIN = {
    "str", "int", "float", "bool", "bytes", "None", "Any", "object", "tuple", "list", "dict",
    "set", "frozenset", "Sequence", "Mapping", "Iterable", "Collection", "NDArray", "Tensor", "np",
    "str_", "bool_", "floating", "integer", "Bounds", "Estimate", "Terms",
}  # fmt: skip
"""Words of an annotation that stand for plain values and arrays; so do names that end as below."""
ARRAYS = re.compile(r"\w*(Array|Batch)$")
COMPILED = {"numba", "triton"}
"""Folders of kernels that Python never calls by themselves."""


def pure_functions() -> Iterator[tuple[str, bool]]:
    """Yield name and whether it has an example, of public functions from values to values."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if COMPILED & set(path.relative_to(PACKAGE).parts):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and is_pure(node):
                place = path.relative_to(PACKAGE).as_posix()
                yield f"{place}:{node.name}", ">>>" in (ast.get_docstring(node) or "")


def is_pure(node: ast.FunctionDef) -> bool:
    """Say whether a public function takes values and gives some, by its annotations alone."""
    if node.name.startswith("_") or node.returns is None:
        return False
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given = [argument.annotation for argument in arguments]
    if not given or ast.unparse(node.returns) == "None":
        return False
    written = " ".join(ast.unparse(part) for part in (*given, node.returns) if part)
    words = re.findall(r"[A-Za-z_]\w*", re.sub(r"Literal\[[^\]]*\]", "str", written))
    return all(word in PLAIN or ARRAYS.match(word) for word in words)


@pytest.mark.slow
def test_nearly_half_of_the_pure_functions_have_an_example() -> None:
    found = dict(pure_functions())
    assert len(found) > 150
    without = sorted(name for name, shown in found.items() if not shown)
    share = 1 - len(without) / len(found)
    assert share >= 0.45, f"{share:.2f}; without: {without}"
