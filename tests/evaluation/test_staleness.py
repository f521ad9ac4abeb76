"""What a planned cell and a stored one differ in is told by its own word."""

from typing import Any

import pytest

from medrobust.evaluation.staleness import differences
from medrobust.evaluation.store import CellKey, CellSpec

SPEC = CellSpec("m", "none", "d", "test", "none", "clean", 0, None)
HEAD = {"kind": "anomaly", "name": "states", "texts": [["a"], ["b"]], "scorer": "prompts"}


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({}, []),
        ({"name": "another name"}, []),
        ({"scorer": "windows"}, ["task (scorer)"]),
        ({"maps": {"blocks": [2]}}, ["task (maps)"]),
        ({"texts": [["a"], ["c"]]}, ["prompts"]),
        ({"texts": [["c"], ["b"]], "scorer": "windows"}, ["prompts", "task (scorer)"]),
    ],
)
def test_a_changed_scorer_is_the_task_and_changed_sentences_are_prompts(
    head: dict[str, Any], told: list[str]
) -> None:
    key = CellKey(SPEC, {"weights": "w"}, {**HEAD, **head}, "d")
    assert differences(key, {"encoding": {"weights": "w"}, "head": HEAD}) == told


def test_texts_that_are_ranked_are_no_prompts() -> None:
    head = {"kind": "retrieval", "relevance": "text", "candidates": 3, "texts": "1"}
    stored = {"encoding": {}, "head": {**head, "relevance": "pair", "texts": "2"}}
    assert differences(CellKey(SPEC, {}, head, "d"), stored) == ["texts", "task (relevance)"]


def test_a_classifier_without_sentences_is_called_so() -> None:
    key = CellKey(SPEC, {"weights": "w"}, {"kind": "probe", "weights": "1"}, "d")
    stored = {"encoding": {"weights": "v"}, "head": {"kind": "probe", "weights": "2"}}
    assert differences(key, stored) == ["weights", "classifier"]


def test_a_head_of_another_task_without_sentences_is_no_classifier() -> None:
    key = CellKey(SPEC, {"weights": "w"}, {"kind": "anomaly", "version": 2, "margin": 0.1}, "d")
    stored = {"encoding": {"weights": "w"}, "head": {"kind": "anomaly", "version": 1}}
    assert differences(key, stored) == ["task (version, margin)"]
