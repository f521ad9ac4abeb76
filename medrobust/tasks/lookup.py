"""Which task a stored head or a configuration means, found by name: there is no list to add to.

A task is the object `TASK` of a package `medrobust.tasks.NAME`, or one that an installed package of
somebody else names in its entry points:

    [project.entry-points."medrobust.tasks"]
    retrieval = "their_package.retrieval:TASK"
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from medrobust.base.former_names import FIRST
from medrobust.exceptions import ConfigurationError, unknown_name

from .base import Task

GROUP = "medrobust.tasks"
"""Of the entry points."""

OLD_KINDS = dict.fromkeys(("zero_shot", "identity", "probe"), FIRST)
"""Kind of a head of the first task, which cells keep for ever -> its task."""

_given: dict[str, Task] = {}


def task_name(kind: str) -> str:
    """Return the name of the task that a head's kind belongs to; any task may bring new kinds.

    Example:
        >>> task_name("probe"), task_name("retrieval")
        ('classification', 'retrieval')
    """
    return OLD_KINDS.get(kind, kind)


def task_of(kind: str, text_corruption: object = None) -> Task:
    """Return the task that a head's kind, or a name of conf/task, belongs to.

    Args:
        kind: Of a head, or a name.
        text_corruption: What texts that it reads are corrupted by; None: by nothing.

    Raises:
        UnknownNameError: If there is none of that name; it names those that there are.
        ConfigurationError: If texts are to be corrupted, and it reads none.
    """
    name = task_name(kind)
    task = _given[name] if name in _given else _installed(name)
    return task if text_corruption is None else task.with_text_corruption(text_corruption)


def task_names() -> list[str]:
    """Return the names of all tasks: the package's own, those of others, and given ones."""
    return sorted({*_own(), *_of_others(), *_given})


@contextmanager
def given(task: Task) -> Iterator[None]:
    """Know a task that no installed package names, as one of a test or a notebook."""
    before = dict(_given)
    _given[task.kind] = task
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


@cache
def _own() -> frozenset[str]:
    folder = Path(__file__).parent
    return frozenset(path.parent.name for path in folder.glob("[a-z]*/__init__.py"))


@cache
def _of_others() -> frozenset[str]:
    return frozenset(entry.name for entry in entry_points(group=GROUP))


def _of_folder(name: str) -> Task:
    """Return the task of a folder, which has its name.

    Raises:
        ConfigurationError: If the folder has no `TASK`, or one of another name.
    """
    task = getattr(import_module(f"{__package__}.{name}"), "TASK", None)
    if not isinstance(task, Task) or task.kind != name:
        found = f"its kind is {task.kind!r}" if isinstance(task, Task) else "there is none"
        raise ConfigurationError(
            f"medrobust/tasks/{name} must hold TASK, a task whose kind is {name!r}: {found}."
        )
    return task


@cache
def _installed(name: str) -> Task:
    """Return a task that is no given one; what is raised is not kept.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    if name in _own():
        return _of_folder(name)
    if name not in _of_others():
        raise unknown_name("task", name, task_names())
    (entry, *_) = entry_points(group=GROUP, name=name)
    return cast("Task", entry.load())
