"""What is left to encode: who begins with what, what others have, and what an error stops."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medrobust.evaluation.locks import Claims
from medrobust.evaluation.ranks import ALONE
from medrobust.evaluation.run.encoding import Encoding
from medrobust.evaluation.run.queue import EncodingQueue

NAMES = ("a", "b", "c")


class Finished:
    """A store of which a test says what it has."""

    def __init__(self, plan: Any) -> None:
        self.plan, self.done, self.kept = plan, set[str](), set[str]()

    def missing(self, plan: Any) -> list[Encoding]:
        return [Encoding(plan.image_set, cell, ()) for cell in plan.cells]

    def still_missing(self, encodings: list[Encoding]) -> list[Encoding]:
        return [one for one in encodings if not self.has_all(one)]

    def has_all(self, encoding: Encoding) -> bool:
        return encoding.fingerprint in self.done

    def has_features(self, encoding: str) -> bool:
        return encoding in self.kept


@pytest.fixture
def finished() -> Finished:
    cells = [SimpleNamespace(passed_as=name) for name in NAMES]
    return Finished(SimpleNamespace(image_set=None, cells=cells))


def queue(finished: Any, claims: Claims) -> EncodingQueue:
    return EncodingQueue(finished.plan, finished, claims, ALONE)


def names(encodings: list[Encoding]) -> list[str]:
    return [one.fingerprint for one in encodings]


def test_what_has_its_features_kept_is_not_encoded(tmp_path: Path, finished: Finished) -> None:
    finished.kept.add("b")
    ours = queue(finished, Claims(tmp_path))
    assert names(ours.fill()) == ["b"]
    assert names(ours.waiting) == ["a", "c"]


def test_what_another_holds_is_left_to_it_and_comes_back(
    tmp_path: Path, finished: Finished
) -> None:
    with Claims(tmp_path) as theirs, Claims(tmp_path) as claims:
        assert theirs.take("a")
        assert theirs.take("c")
        ours = queue(finished, claims)
        ours.fill()
        assert ours.anything_to_begin()
        assert names(ours.waiting) == ["b", "c"]
        begun = [ours.begin(one) for one in list(ours.waiting)]
        assert begun == [True, False]
        (b,) = ours.waiting
        ours.done(b)
        assert not ours.anything_to_begin()
        assert names(ours.refused) == ["a", "c"]
        finished.done.add("c")
        theirs.drop("a")
        ours.refill()
        assert names(ours.waiting) == ["a"]
        assert ours.refused == []
        assert ours.anything_to_begin()


def test_what_another_has_finished_meanwhile_is_not_begun_and_not_held(
    tmp_path: Path, finished: Finished
) -> None:
    with Claims(tmp_path) as claims, Claims(tmp_path) as theirs:
        ours = queue(finished, claims)
        ours.fill()
        finished.done.add("a")
        assert not ours.begin(ours.waiting[0])
        assert theirs.take("a")


def test_an_error_stops_what_was_begun_first_and_the_rest_begins_anew(
    tmp_path: Path, finished: Finished
) -> None:
    with Claims(tmp_path) as claims, Claims(tmp_path) as theirs:
        ours = queue(finished, claims)
        ours.fill()
        assert all(ours.begin(one) for one in ours.waiting[:2])
        assert ours.give_up().fingerprint == "a"
        assert theirs.take("a")
        assert not theirs.take("b")
        assert ours.anything_to_begin()
        assert names(ours.waiting) == ["b", "c"]
        assert ours.give_up().fingerprint == "b", "it was begun, but not since"


def test_an_error_after_all_is_encoded_counts_for_the_last(
    tmp_path: Path, finished: Finished
) -> None:
    ours = queue(finished, Claims(tmp_path, sharing=False))
    ours.fill()
    for one in list(ours.waiting):
        assert ours.begin(one)
        ours.done(one)
    assert ours.give_up().fingerprint == "c"
