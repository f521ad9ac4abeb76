"""What is found once a job is searched for again in the next, and always outside one."""

import pytest

from medrobust.datasets.said import found_once, one_job


def test_a_search_is_made_once_a_job_and_every_time_outside() -> None:
    answers = iter(range(9))

    def ask(asked: str = "a") -> int:
        return found_once(asked, lambda: next(answers))

    assert [ask(), ask()] == [0, 1]
    with one_job():
        assert [ask(), ask(), ask("b")] == [2, 2, 3]
    with pytest.raises(ValueError, match="failed"), one_job():
        assert ask() == 4
        raise ValueError("failed")
    assert ask() == 5
