"""torchmetrics by its parts: Lightning asks for two of them, and the rest takes seconds to import.

The whole package imports torchvision, transformers and SciPy's signal processing for measures that
nothing here asks for. It is loaded all the same as soon as anybody asks it for something else.
"""

import logging
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

PACKAGE = "torchmetrics"
PARTS = {
    "Metric": ("utilities", "metric"),  # in this order, as the whole imports them
    "MetricCollection": ("utilities", "metric", "collections"),
    "__version__": ("__about__",),
}
"""What Lightning asks for -> the files that are imported for it; the last one has it."""

_loading = RLock()


class Parted(ModuleType):
    """The package before its own code has run: what is no part lets that run first."""

    _logger = logging.getLogger(PACKAGE)
    """Its parts log there."""

    def __getattr__(self, name: str) -> Any:
        """Return a part, or load the whole and ask that."""
        if name in PARTS and isinstance(self, Parted):
            try:
                return _part(name)
            except (ImportError, AttributeError):  # a release whose parts need more of the whole
                for module in [one for one in sys.modules if one.startswith(f"{PACKAGE}.")]:
                    del sys.modules[module]
        elif name.startswith("__") and name != "__all__":  # the import system asks whether it is
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        self._load_whole()
        return getattr(self, name)

    def _load_whole(self) -> None:
        with _loading:
            if isinstance(self, Parted) and self.__spec__ and self.__spec__.loader:
                self.__class__ = ModuleType  # type: ignore[assignment]  # as importlib's LazyLoader
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:
                    self.__class__ = Parted
                    raise


def _part(name: str) -> Any:
    modules = [import_module(f"{PACKAGE}.{module}") for module in PARTS[name]]
    return getattr(modules[-1], name)


def part_torchmetrics() -> None:
    """Put the parted package where the whole will be looked for, unless that is there already."""
    spec = find_spec(PACKAGE) if PACKAGE not in sys.modules else None
    if spec is not None:
        parted = module_from_spec(spec)
        parted.__class__ = Parted
        sys.modules[PACKAGE] = parted
