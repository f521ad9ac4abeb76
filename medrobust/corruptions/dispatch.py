"""Who computes a step: numba on the CPU, Triton on a GPU, PyTorch wherever neither can.

The public function of a corruption holds the reference form, in PyTorch. Steps that have compiled
forms name them once, as "file.function": the file lies in numba/ and in triton/, and the function
has the same arguments in both, but for what a route needs of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from torch import Tensor, contiguous_format

from medrobust.base.numba_threads import run_native, run_native_into
from medrobust.keys import Draws

Route: TypeAlias = Literal["numba", "triton", "torch"]

_forced: ContextVar[Route | None] = ContextVar("route", default=None)


def route_of(images: Tensor) -> Route:
    """Say whose kernels serve these images.

    Example:
        >>> import torch
        >>> route_of(torch.zeros(1, 3, 28, 28, dtype=torch.uint8))
        'numba'
    """
    forced = _forced.get()
    if forced is not None:
        return forced
    if images.device.type == "cpu":
        return "numba"
    return "triton" if images.is_cuda and _has_triton() else "torch"


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


@contextmanager
def kernels_of(route: Route) -> Iterator[None]:
    """Within this context all images take one route: to compare them."""
    token = _forced.set(route)
    try:
        yield
    finally:
        _forced.reset(token)


def compiled(
    images: Tensor,
    step: str,
    *tables: Any,
    numba: tuple[Any, ...] | None = None,
    triton: tuple[Any, ...] | None = None,
    draws: Tensor | Draws | None = None,
    out: Callable[[], Tensor] | None = None,
    or_cpu: bool = False,
) -> Tensor | None:
    """Run the compiled form of a step, where there is one for these images.

    Args:
        images: (N, ...), what the kernel reads first.
        step: "noise.add_from_table": file and function, in numba/ and in triton/.
        tables: Further arguments; tensors are handed to numba as arrays.
        numba: In place of `tables` on that route.
        triton: In place of `tables` on that route.
        draws: Keyed draws, the last argument. A tensor given in their place has no compiled form.
        out: Makes the memory that numba writes to; by default uint8 like `images`, unwritten.
        or_cpu: Whether numba computes, from a copy on the CPU, where neither route serves.

    Returns:
        The result, or None where the reference form has to compute it.
    """
    route = route_of(images)
    if route == "torch" and or_cpu:
        route, images = "numba", images.cpu()
    if route == "torch" or isinstance(draws, Tensor):
        return None
    function = _function(route, step)
    if route == "triton":
        own = [] if draws is None else [draws]
        result: Tensor = function(images, *(tables if triton is None else triton), *own)
        return result
    last = () if draws is None else keyed(draws)
    given = [_as_array(table) for table in (tables if numba is None else numba)]
    if out is None:
        return run_native(function, images, *given, *last)
    return run_native_into(function, images, out(), *given, *last)


def painted(
    images: Tensor, step: str, *tables: Any, draws: Tensor | Draws | None = None
) -> Tensor | None:
    """Run a compiled step that paints on a copy of the images; None as for `compiled`."""

    def copied() -> Tensor:
        return images.clone(memory_format=contiguous_format)

    return compiled(images, step, *tables, draws=draws, out=copied)


@cache
def _function(route: Route, step: str) -> Callable[..., Any]:
    file, _, name = step.partition(".")
    module = import_module(f"medrobust.corruptions.{route}.{file}")
    function: Callable[..., Any] = getattr(module, name)
    return function


def _as_array(table: Any) -> Any:
    return table.contiguous().numpy() if isinstance(table, Tensor) else table


def keyed(draws: Draws) -> tuple[Any, int, int, int]:
    """Spread keyed draws into the last four arguments of a numba kernel."""
    return draws.index.numpy(), draws.number, *draws.key
