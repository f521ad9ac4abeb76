"""What data say of themselves is logged once a job, however often they are opened in it."""

import logging

_SAID: set[str] = set()


def say_once(log: logging.Logger, level: int, sentence: str) -> None:
    """Log a sentence unless the job has logged it already."""
    if sentence not in _SAID:
        _SAID.add(sentence)
        log.log(level, "%s", sentence)


def begin_again() -> None:
    """Let the next job say everything again."""
    _SAID.clear()
