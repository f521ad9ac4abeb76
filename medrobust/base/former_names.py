"""Names of release 0.1 in commands, files of options and records, and what they are now.

Tuning was a task then: `task=few_shot` and `task.shots=4` are `tuning=few_shot` and
`tuning.shots=4` now. Scripts and papers have the former names, so that they are taken for ever,
where they stand: a key that is read under its present name is laid over by others as it always was.

The kind of labels was the `task` of data of one's own; `dataset.label_kind` is its key now, and
`dataset.task` is taken with a warning for one release.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from .class_arguments import class_arguments
from .once import say_once

log = logging.getLogger(__name__)

RECIPE, ENCODER = "medrobust.tuning.Tuning", "medrobust.engine.EncodeImages"

FORMER_TARGETS = {
    "medrobust.tasks.CorruptedShots": "medrobust.tuning.CorruptedShots",
    "medrobust.tasks.Tuning": RECIPE,
    "medrobust.tasks.ZeroShot": ENCODER,
}
"""Former name of a part -> its present name."""

FORMER_TASKS = {"zero_shot": "none", "few_shot": "few_shot"}
"""Former option of `task` -> option of `tuning`."""

FIRST = "classification"
"""The one task of release 0.1, whose records name none."""


OWN_DATA = tuple(f"medrobust.datasets.{name}" for name in ("Dicom", "Folder", "Npz"))
"""Classes that had a `task`, which is the kind of labels."""

FORMER_KIND = (
    "dataset.task is called dataset.label_kind now, and the former name is taken until the next "
    "release."
)


def warn_of_kind() -> None:
    """Say, once a job, that `dataset.task` has another name now."""
    say_once(log, logging.WARNING, FORMER_KIND)


@cache
def recipe_keys() -> frozenset[str]:
    """Return the keys of `tuning`; no task may have one of the same name."""
    return frozenset(argument.name for argument in class_arguments(RECIPE))


def present_key(key: str) -> str:
    """Return the present name of a dotted key.

    Example:
        >>> present_key("task.optimizer.lr"), present_key("task.kind"), present_key("seed")
        ('tuning.optimizer.lr', 'task.kind', 'seed')
        >>> present_key("dataset.task")
        'dataset.label_kind'
    """
    if key == "dataset.task":
        return "dataset.label_kind"
    group, _, rest = key.partition(".")
    below = group == "task" and rest.split(".")[0] in recipe_keys()
    return f"tuning.{rest}" if below else key


def present_options(options: str) -> str | None:
    """Return the options of `tuning` that former options of `task` stand for, None for others.

    Example:
        >>> present_options("zero_shot,few_shot"), present_options("classification")
        ('none,few_shot', None)
    """
    named = [option.strip() for option in options.split(",")]
    if not set(named) <= FORMER_TASKS.keys():
        return None
    return ",".join(FORMER_TASKS[option] for option in named)


def present_text(text: str) -> str:
    """Return a value with the keys that it refers to under their present names.

    Example:
        >>> present_text("lora_${task.fraction}")
        'lora_${tuning.fraction}'
    """
    return re.sub(
        r"(?<=\$\{)task\.[\w.]+",
        lambda found: present_key(found[0]),
        FORMER_TARGETS.get(text, text),
    )


def present_values(value: Any) -> Any:
    """Return plain values with parts, and keys that texts refer to, under their present names."""
    if isinstance(value, Mapping):
        present = {name: present_values(item) for name, item in value.items()}
        return _of_labels(present) if value.get("_target_") in OWN_DATA else present
    if isinstance(value, list):
        return [present_values(item) for item in value]
    return present_text(value) if isinstance(value, str) else value


def present_record(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a cell of release 0.1 as it would be recorded now.

    Its task is a recipe, or the encoder of images where nothing is tuned.
    """
    present: dict[str, Any] = present_values(recorded)
    target = present.get("task", {}).get("_target_")
    if target == RECIPE:
        present["tuning"] = present["task"]
    if target in (RECIPE, ENCODER, None):
        present["task"] = {"_target_": "medrobust.tasks.lookup.task_of", "kind": FIRST}
    return present


def present_file(content: Mapping[str, Any], group: str, *, whole: bool) -> dict[str, Any]:
    """Return the content of a file of options as it would be written now.

    Args:
        content: Plain; of the present form it comes back as it is.
        group: Folder of the file within the configuration.
        whole: Whether its keys begin at the root (`# @package _global_`), not at its group.
    """
    present: dict[str, Any] = present_values(content)
    if "defaults" in present:
        present["defaults"] = [_default(entry) for entry in present["defaults"] or ()]
    if group == "task" and not whole:
        return _recipe_file(present)
    if group == "dataset" and not whole:
        return _of_labels(present) if _says_task_for_labels(content) else present
    if whole:
        if _says_task_for_labels(content.get("dataset")):
            present["dataset"] = _of_labels(present["dataset"])
        _move_keys(present)
        params = (present.get("hydra") or {}).get("sweeper", {}).get("params")
        if params:
            present["hydra"]["sweeper"]["params"] = dict(_swept(params))
    return present


def is_recipe_file(content: Mapping[str, Any]) -> bool:
    """Say whether a file in conf/task is a recipe: one on its own, or built on `few_shot`."""
    target = content.get("_target_")
    bases = [entry for entry in content.get("defaults") or () if isinstance(entry, str)]
    return FORMER_TARGETS.get(str(target), target) == RECIPE or "few_shot" in bases


def _of_labels(data: Mapping[str, Any]) -> dict[str, Any]:
    """Write `label_kind` for the `task` of a data set; a present name goes before a former one."""
    present = {name: value for name, value in data.items() if name != "task"}
    return {"label_kind": data["task"], **present} if "task" in data else present


def _says_task_for_labels(data: Any) -> bool:
    """Say whether a file gives data of one's own a `task`, and warn if so."""
    if not isinstance(data, Mapping) or data.get("_target_", OWN_DATA[0]) not in OWN_DATA:
        return False
    if "task" in data:
        warn_of_kind()
    return "task" in data


def _default(entry: Any) -> Any:
    """Write `override /tuning: few_shot` for `override /task: few_shot`."""
    if not isinstance(entry, Mapping) or len(entry) != 1:
        return entry
    ((key, option),) = entry.items()
    words = str(key).split()
    options = present_options(option) if isinstance(option, str) else None
    if not words or words[-1] != "/task" or options is None:
        return entry
    return {" ".join([*words[:-1], "/tuning"]): options}


def _move_keys(present: dict[str, Any]) -> None:
    """Move the keys of a recipe from `task` to `tuning`."""
    task = present.get("task")
    if not isinstance(task, Mapping):
        return
    recipe = {key: value for key, value in task.items() if key in recipe_keys()}
    if not recipe:
        return
    rest = {key: value for key, value in task.items() if key not in recipe}
    present["task"], present["tuning"] = rest, _laid_over(recipe, present.get("tuning") or {})
    if not rest:
        del present["task"]


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over others at any depth: in one file a present name goes before a former one."""
    laid = dict(below)
    for key, value in above.items():
        under = laid.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            laid[key] = _laid_over(under, value)
        else:
            laid[key] = value
    return laid


def _swept(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what is swept over, under present names."""
    for key, options in params.items():
        present = present_options(options) if key == "task" and isinstance(options, str) else None
        yield (present_key(key), options) if present is None else ("tuning", present)


def _recipe_file(present: dict[str, Any]) -> dict[str, Any]:
    """Turn a file of somebody's own in conf/task, a recipe, into one that chooses tuning."""
    if not is_recipe_file(present):
        return present
    bases = present.pop("defaults", None) or ["_self_"]
    named = {"few_shot": "/tuning/few_shot@tuning"}
    defaults = [f"/task/{FIRST}@task", *(named.get(str(one), one) for one in bases)]
    return {"defaults": defaults, "tuning": present}
