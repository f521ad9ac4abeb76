"""How numba kernels are compiled: ahead, for one signature, cached, without the interpreter's lock.

The cache lies beside the source, or in the user's cache folder where that cannot be written. It is
renewed when the file of a kernel changes, not when a file that it inlines does.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])


def native(signature: str) -> Callable[[Function], Function]:
    """Compile a kernel for `signature`, or load it from the cache."""

    def compiled(function: Function) -> Function:
        kernel: Function = njit(signature, nogil=True, cache=True, boundscheck=False)(function)
        return kernel

    return compiled


def native_inline(function: Function) -> Function:
    """Mark a function that kernels take in whole."""
    inlined: Function = njit(inline="always")(function)
    return inlined


def native_helper(function: Function) -> Function:
    """Mark a function that kernels call; it is compiled with them."""
    helper: Function = njit(nogil=True, boundscheck=False)(function)
    return helper


def native_shared(function: Function) -> Function:
    """Mark a function that kernels take in whole and that Python calls as it is, on tensors."""
    shared: Function = register_jitable(inline="always")(function)
    return shared
