"""Commands that can be pasted into a shell: of a job, of a sweep, of the reference's cells."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from medrobust.base.former_names import FIRST
from medrobust.base.program import program
from medrobust.tasks.lookup import task_names

OF_THE_MODEL = (
    "model",
    "experiment",
    "prompts",
    "reference",
    "reference_prompts",
    "adapter",
    "tuning",
    "logger",
    "aggregate",
    "readings",
)
"""Keys and groups that another model has its own of."""


def command_line(
    overrides: Sequence[str], *, swept: bool = False, packs: Sequence[Path] = ()
) -> str:
    """Write a command that can be pasted into a shell."""
    words = [*(f"--config-dir={pack}" for pack in packs), *overrides]
    return " ".join([program(), *(["-m"] if swept else []), *map(shlex.quote, words)])


def reference_command(
    reference: str,
    overrides: Sequence[str],
    choices: Sequence[Mapping[str, str]],
    *,
    swept: bool,
    packs: Sequence[Path] = (),
) -> str:
    """Say what to type to run the reference model on the same cells.

    Args:
        reference: Name of the reference model.
        overrides: What an experiment file sets, and what was typed, for this job or sweep.
        choices: Config group -> option, of each job.
        swept: Whether it was a sweep.
        packs: Folders given by `--config-dir`, which may hold the reference.
    """
    asked = {chosen["task"] for chosen in choices if "task" in chosen} - {FIRST}
    further = asked & set(task_names())  # the first task has former names that tune
    kept = [
        text
        for text in overrides
        if (of := re.split(r"[=.@]", text.lstrip("+~"))[0]) not in OF_THE_MODEL
        and not (of == "task" and not further)
        and not text.startswith(("dataset=", "task=", "hydra.run.", "hydra.sweep."))
    ]
    last = {text.split("=")[0]: text for text in kept}  # what is typed goes before a file
    named, kept = set(last), list(last.values())
    implied = [
        f"{group}="
        + ",".join(dict.fromkeys(chosen[group] for chosen in choices if group in chosen))
        for group in ("dataset", *(["task"] if further else []), "corruption", "severity")
        if group not in named and any(group in chosen for chosen in choices)
    ]
    several = swept or any("," in text for text in implied)
    return command_line([f"model={reference}", *implied, *kept], swept=several, packs=packs)
