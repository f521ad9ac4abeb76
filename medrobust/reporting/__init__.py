"""From the store to tables, figures, a page and loggers; never runs a model."""

from importlib import import_module
from typing import Any

_HOME = {
    "ExpectedTable": "expected",
    "FilesOnly": "loggers",
    "Matrix": "matrix",
    "References": "reference",
    "Report": "report",
    "ReportRequest": "request",
    "RunLogger": "loggers",
    "SeriesLogger": "loggers",
    "WandbLogger": "loggers",
    "build_report": "request",
    "by_variant": "reference",
    "expected_from_cells": "expected",
    "make_report": "report",
    "reference_cells": "reference",
    "reference_of": "reference",
    "reference_title": "reference",
    "untuned_cells": "reference",
    "write_files": "report",
}
"""Public name -> module, imported at first use."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
