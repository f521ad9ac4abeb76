"""The collector of garbage, where it would only lose time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 500
"""Modules. Whatever fewer of them make is soon walked."""


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Make the collector wait: for what stays, or goes by itself."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def imports_at_once() -> Iterator[None]:
    """Make the collector wait for imports, and never walk what they have made.

    It took a tenth of a small job: libraries make a million objects, nearly all of which stay.
    """
    before = len(sys.modules)
    with collector_at_rest():
        yield
    if len(sys.modules) > before + MANY:
        gc.freeze()
