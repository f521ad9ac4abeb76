"""Mutants of a source: every place where one small change makes another program."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SWAPS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,), ast.Mod: (ast.Mult,), ast.Pow: (ast.Mult,), ast.MatMult: (ast.Mult,),
    ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitAnd,), ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
TABLE = 40
"""Constants of one module-level assignment from which on it is data and not mutated."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a source.

    Attributes:
        line: Of the change, from 1.
        kind: What sort of change.
        before: What stood there.
        after: What stands there now.
        start: First changed byte.
        stop: The byte after the last changed one.
    """

    line: int
    kind: str
    before: str
    after: str
    start: int
    stop: int

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.after.encode() + source[self.stop :]


def mutants(source: bytes) -> list[Mutant]:
    """List the mutants of a source in order of place.

    Left out: docstrings, texts, annotations, decorators, assertions, imports, `__all__` and tables
    of data. Wholly removed are calls, `raise`, and assignments to attributes
    and items (`x[i] = ...`, `x += ...`); a removed `x = ...` would only be a NameError.
    """
    lines = source.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    found = []
    for node, kind, after in _changes(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        stop = starts[node.end_lineno - 1] + node.end_col_offset
        before = source[start:stop].decode()
        found.append(Mutant(node.lineno, kind, before, after, start, stop))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.stop, mutant.kind, mutant.after))


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Yield (what is replaced, kind, by what) in a node and below it."""
    if _is_left_out(node):
        return
    yield from ((node, kind, after) for kind, after in _here(node))
    if isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Name | ast.Call):
        yield node.test, "not", f"(not {ast.unparse(node.test)})"
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            default = name in ("defaults", "kw_defaults")
            for what, kind, after in _changes(child):
                yield what, "default" if default else kind, after


def _is_left_out(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Assert() | ast.Import() | ast.ImportFrom() | ast.arg():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if node.col_offset == 0:
            numbers = [n for n in ast.walk(node) if isinstance(n, ast.Constant)]
            return value is None or len(numbers) >= TABLE
    return False


def _here(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of the changes of a node itself."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield from _swapped(op, "comparison", lambda new: ast.Compare(left, [new], [right]))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            for place, op in enumerate(ops):
                yield from _swapped(
                    op,
                    "comparison",
                    lambda new, place=place: ast.Compare(
                        left, [*ops[:place], new, *ops[place + 1 :]], rights
                    ),
                )
        case ast.BinOp(left=left, op=op, right=right):
            yield from _swapped(op, "arithmetic", lambda new: ast.BinOp(left, new, right))
        case ast.BoolOp(op=op, values=values):
            yield from _swapped(op, "and/or", lambda new: ast.BoolOp(new, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", f"(bool({ast.unparse(operand)}))"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield "sign", f"({ast.unparse(operand)})"
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant", f"({value + 1})"
            yield "constant", f"({value - 1})"
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return", "return None"
        case ast.Continue():
            yield "loop", "break"
        case ast.Break():
            yield "loop", "continue"
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "removed", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "removed", "pass"


def _swapped(
    op: ast.AST, kind: str, build: Callable[[ast.AST], ast.expr]
) -> Iterator[tuple[str, str]]:
    for new in SWAPS.get(type(op), ()):
        yield kind, f"({ast.unparse(build(new()))})"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
