"""Arguments that had another name in the release before, taken by it for one release more."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def formerly(**present: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take arguments by their former names, and warn of each.

    Args:
        **present: Former name of an argument -> its present name.

    Example:
        >>> @formerly(task="label_kind")
        ... def described(*, label_kind: str) -> str:
        ...     return label_kind
        >>> described(label_kind="multi-class")
        'multi-class'
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def renamed(*given: Any, **named: Any) -> R:
            for former in present.keys() & named.keys():
                now = present[former]
                if now in named:
                    raise TypeError(
                        f"{name}() got {former}= and {now}=, which are one "
                        f"argument: pass {now}= alone."
                    )
                warnings.warn(
                    f"{former}= of {name}() is called {now}= now, and the former "
                    f"name is taken until the next release.",
                    DeprecationWarning,
                    stacklevel=2,
                )
                named[now] = named.pop(former)
            return function(*given, **named)

        return cast("Callable[P, R]", renamed)

    return decorated


def formerly_made_with(**present: str) -> Callable[[type[T]], type[T]]:
    """Let a class be made with arguments by their former names, and warn of each.

    Args:
        **present: As for `formerly`.

    Example:
        >>> from dataclasses import dataclass
        >>> @formerly_made_with(task="label_kind")
        ... @dataclass
        ... class Described:
        ...     label_kind: str
        >>> Described(label_kind="multi-class")
        Described(label_kind='multi-class')
    """

    def decorated(made: type[T]) -> type[T]:
        type.__setattr__(made, "__init__", formerly(**present)(vars(made)["__init__"]))
        return made

    return decorated
