"""How numba kernels are compiled: at first use, for one signature, cached, without the GIL.

The cache lies beside the source, or in the user's cache folder where that cannot be written. It is
renewed when the file of a kernel changes, not when a file that it inlines does.
"""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import register_jitable

from .collector import collector_at_rest

Function = TypeVar("Function", bound=Callable[..., Any])

_compiling = Lock()

ANY_ORDER = {"reassoc", "contract"}
"""Sums in any order, products and sums in one rounding: the last digits depend on the processor.
What does so divides as numpy does, so that a zero is no reason to leave a loop."""


ALONE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""For what kernels call: forms that Python or C would call take as long to compile as a small one.
Python must not call such a function, for there is nothing to call."""


def native(signature: str, *, any_order: bool = False) -> Callable[[Function], Function]:
    """Compile a kernel for `signature`, or load it from the cache, when it is first called.

    Args:
        signature: Of the kernel, in the words of numba.
        any_order: As `ANY_ORDER`, for measures; what makes pixels is the same everywhere.
    """
    model, fastmath = ("numpy", ANY_ORDER) if any_order else ("python", False)

    def deferred(function: Function) -> Function:
        kernel: list[Callable[..., Any]] = []

        @wraps(function)
        def call(*arguments: Any) -> Any:
            if not kernel:
                with _compiling:
                    if not kernel:
                        compiled = njit(
                            signature,
                            nogil=True,
                            cache=True,
                            boundscheck=False,
                            fastmath=fastmath,
                            error_model=model,
                            no_cfunc_wrapper=True,
                        )
                        with collector_at_rest():  # it took a tenth of the time and more
                            kernel.append(compiled(function))
            return kernel[0](*arguments)

        return cast("Function", call)

    return deferred


def native_inline(function: Function) -> Function:
    """Mark a function that kernels take in whole, and that each compiles anew: small ones."""
    inlined: Function = njit(inline="always")(function)
    return inlined


def native_helper(function: Function) -> Function:
    """Mark a function that kernels call, and Python does not; it is compiled with them."""
    helper: Function = njit(nogil=True, boundscheck=False, **ALONE)(function)
    return helper


@native_helper
def copy_rows(source: Any, target: Any) -> None:
    """Copy the values of (H, W) into an array of the same shape and any dtype.

    Kernels assign no array to an array: numba would compile the sentence about shapes that do not
    fit into each of them, and with it most of what it knows of texts.
    """
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            target[y, x] = source[y, x]


def native_any_order(function: Function) -> Function:
    """Mark a function that kernels with `any_order` call, and Python does not."""
    helper: Function = njit(
        nogil=True, boundscheck=False, fastmath=ANY_ORDER, error_model="numpy", **ALONE
    )(function)
    return helper


def native_shared(function: Function) -> Function:
    """Mark a function that kernels call and that Python calls as it is, on tensors."""
    shared: Function = register_jitable(nogil=True, boundscheck=False, **ALONE)(function)
    return shared
