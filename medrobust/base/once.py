"""What is done once a job, however often data are opened in it: sentences of the log, searches."""

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

T = TypeVar("T")

_SAID: set[str] = set()
_FOUND: ContextVar[dict[Hashable, Any] | None] = ContextVar("found", default=None)


def say_once(log: logging.Logger, level: int, sentence: str) -> None:
    """Log a sentence unless the job has logged it already."""
    if sentence not in _SAID:
        _SAID.add(sentence)
        log.log(level, "%s", sentence)


def begin_again() -> None:
    """Let the next job say everything again."""
    _SAID.clear()


@contextmanager
def one_job() -> Iterator[None]:
    """Within, sentences are said and searches made once; afterwards nothing found is kept."""
    begin_again()
    token = _FOUND.set({})
    try:
        yield
    finally:
        _FOUND.reset(token)


def found_once(asked: Hashable, search: Callable[[], T]) -> T:
    """Return what a search finds, made once a job; outside a job it is made every time."""
    found = _FOUND.get()
    if found is None:
        return search()
    if asked not in found:
        found[asked] = search()
    return cast(T, found[asked])
