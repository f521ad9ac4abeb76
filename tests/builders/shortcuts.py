"""What pytest and logging do anew for each test, in fewer steps."""

import linecache
import logging
from importlib.metadata import Distribution
from typing import Any

import pytest
from _pytest.logging import catching_logs


def take(patch: pytest.MonkeyPatch) -> None:
    """Leave out what changes nothing, while tests run."""
    _hear_the_root(patch)
    _set_levels_that_differ(patch)
    _read_packages_once(patch)
    # Before each example of a docstring, doctest asks the disk for every file that was ever quoted.
    patch.setattr(linecache, "checkcache", lambda filename=None: None)


def _hear_the_root(patch: pytest.MonkeyPatch) -> None:
    """Six times a test, pytest asks each of some hundred loggers whether it tells the root."""
    hear = catching_logs.__enter__

    def enter(self: catching_logs[Any]) -> Any:
        attached = getattr(self, "attached_loggers", None)  # from pytest 9.1 on
        if attached is None or self.level is not None:
            return hear(self)
        logging.root.addHandler(self.handler)
        attached.append(logging.root)
        return self.handler

    patch.setattr(catching_logs, "__enter__", enter)


def _set_levels_that_differ(patch: pytest.MonkeyPatch) -> None:
    """Each level that is set, be it the one before, makes every logger forget what it knew."""
    set_level = logging.Logger.setLevel

    def differing(self: logging.Logger, level: int | str) -> None:
        if level != self.level:
            set_level(self, level)

    patch.setattr(logging.Logger, "setLevel", differing)


def _read_packages_once(patch: pytest.MonkeyPatch) -> None:
    """Each run of W&B reads twice what every installed package says of itself: .3 s."""
    known: dict[str, Any] = {}
    read = Distribution.metadata.fget

    def metadata(self: Distribution) -> Any:
        place = getattr(self, "_path", None)
        if place is None:
            return read(self)
        if str(place) not in known:
            known[str(place)] = read(self)
        return known[str(place)]

    patch.setattr(Distribution, "metadata", property(metadata))
