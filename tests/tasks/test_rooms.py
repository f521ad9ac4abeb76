"""Whatever serves all tasks names none, and what is read from a store loads no torch."""

import re
from pathlib import Path

import pytest

from medrobust.tasks import lookup

PACKAGE = Path(__file__).parents[2] / "medrobust"
ROOMS = ("reporting", "evaluation", "jobs")


def kinds() -> list[str]:
    return [*lookup.task_names(), *lookup.OLD_KINDS]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_that_serves_all_tasks_names_none(room: str) -> None:
    quoted = re.compile(rf"[\"']({'|'.join(kinds())})[\"']|logits|tasks\.({'|'.join(kinds())})")
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if quoted.search(line)
    ]
    assert not found


def test_the_names_of_metrics_are_those_of_one_task_each() -> None:
    names = [name for task in lookup.task_names() for name in lookup.task_of(task).metrics]
    assert len(names) == len(set(names))


def test_every_loss_is_a_metric_and_every_number_that_is_offered_too() -> None:
    for task in map(lookup.task_of, lookup.task_names()):
        assert {*task.losses, *task.offered, *task.fitted} <= set(task.metrics)
