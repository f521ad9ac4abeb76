"""torch._dynamo put off: importing Lightning imports it, which takes seconds, for two names of it.

What compiles models is loaded as soon as anybody compiles one, or asks for anything else of it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import ModuleType
from typing import Any

DYNAMO = "torch._dynamo"
ASKING = ("lightning_fabric", "pytorch_lightning")
"""Packages that import it and, while they are imported themselves, need no more than two names."""
NOWHERE: list[str] = []
"""Where the stand-in, as a package, has its modules: `_Finder` knows by it who asks for one."""
LEAVING = Lock()


class _Instead(ModuleType):
    """Stands for dynamo while a package of `ASKING` is imported; asked for more, it loads it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for some
            raise AttributeError(f"module {DYNAMO!r} has no attribute {name!r}")
        self.leave()
        return getattr(import_module(DYNAMO), name)

    def leave(self) -> None:
        """Make room for the whole, unless another thread has."""
        with LEAVING:
            if sys.modules.get(DYNAMO) is self:
                del sys.modules[DYNAMO]


def _loaded() -> ModuleType | None:
    whole = sys.modules.get(DYNAMO)
    return None if isinstance(whole, _Instead) else whole


class _Compiled(type):
    """Of a class whose instances are the models that dynamo has compiled."""

    def __instancecheck__(cls, instance: object) -> bool:
        """Ask dynamo; before that is loaded, nothing is compiled."""
        return isinstance(instance, getattr(_loaded(), "OptimizedModule", ()))


class OptimizedModule(metaclass=_Compiled):
    """What stands for the class of that name."""


def disable(
    function: Callable[..., Any] | None = None, *asked: Any, **named: Any
) -> Callable[..., Any]:
    """Return a function that is never compiled; before dynamo is loaded, nothing is."""
    if function is None:  # with options alone it makes a decorator
        return lambda decorated: disable(decorated, *asked, **named)
    kept: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if not kept and (real := getattr(_loaded(), "disable", None)) is not None:
            kept.append(real(function, *asked, **named))
        return (kept[0] if kept else function)(*arguments, **keywords)

    return call


@contextmanager
def _put_off() -> Iterator[None]:
    """Let the two names stand for the whole, which is looked for again afterwards."""
    if DYNAMO in sys.modules:
        yield
        return
    instead = _Instead(DYNAMO)
    instead.__dict__.update(OptimizedModule=OptimizedModule, disable=disable, __path__=NOWHERE)
    sys.modules[DYNAMO] = instead
    try:
        yield
    finally:
        instead.leave()


class _OfTheWhole(Loader):
    """Gives a module of dynamo, which is loaded in place of its stand-in; nothing runs twice.

    A finder may not do so: it holds the lock of all imports.
    """

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if isinstance(instead := sys.modules.get(DYNAMO), _Instead):
            instead.leave()
        module = import_module(spec.name)
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self.own  # one of settings refuses to be set others


class _WithoutDynamo(Loader):
    """Loads a package of `ASKING` as its own loader does, with dynamo put off."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.own
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        try:
            with _put_off():
                self.own.exec_module(module)
        except (ImportError, AttributeError):  # a release that needs more of it
            for name in [one for one in sys.modules if one.startswith(f"{module.__name__}.")]:
                del sys.modules[name]
            self.own.exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the packages of `ASKING`, and the modules that the stand-in is asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is NOWHERE:
            return ModuleSpec(name, _OfTheWhole())
        if name not in ASKING or name in sys.modules:
            return None
        others = (one for one in sys.meta_path if one is not self and hasattr(one, "find_spec"))
        found = (one.find_spec(name, path, target) for one in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutDynamo(spec.loader)
        return spec


def put_off_dynamo() -> None:
    """Keep Lightning, which is not imported yet, from importing dynamo."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
