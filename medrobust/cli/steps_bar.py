"""A bar on the terminal while something computes, which leaves nothing behind."""

from collections.abc import Iterator
from contextlib import contextmanager

from medrobust.base.steps import OnStep


@contextmanager
def steps_bar(title: str, steps: str) -> Iterator[OnStep]:
    """Show how far a computation is, where errors are read by a person.

    Args:
        title: What is computed.
        steps: What its steps are, many of them.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{steps}, left:"),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with shown as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
