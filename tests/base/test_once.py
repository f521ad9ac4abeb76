"""What is found once a job is searched for again in the next, and always outside one."""

from collections.abc import Callable

import pytest

from medrobust.base.once import found_once, one_job


def test_a_search_is_made_once_a_job_and_every_time_outside() -> None:
    answers = iter(range(9))

    def ask(asked: str = "a") -> int:
        return found_once(asked, lambda: next(answers))

    assert [ask(), ask()] == [0, 1]
    with one_job():
        assert [ask(), ask(), ask("b")] == [2, 2, 3]
    with pytest.raises(StopIteration), one_job():
        failed_job(ask)
    assert ask() == 5


def failed_job(ask: Callable[[], int]) -> None:
    assert ask() == ask() == 4
    next(iter(()))
