"""Experiments from plain keywords, each put into the group that has it; `model` is its source."""

from dataclasses import fields, replace
from typing import Any

from medrobust.evaluation.experiment import AskedModel, Data, Experiment, How, Where

GROUPS = {"data": Data, "model": AskedModel, "where": Where, "how": How}
GROUP_OF = {field.name: name for name, group in GROUPS.items() for field in fields(group)}


def sorted_into_groups(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return group -> its keywords."""
    found: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for name, value in given.items():
        name = "source" if name == "model" else name
        found[GROUP_OF[name]][name] = value
    return found


def grouped(**given: Any) -> Experiment:
    """Build an experiment."""
    parts = sorted_into_groups(given)
    return Experiment(**{name: GROUPS[name](**values) for name, values in parts.items()})


def changed(experiment: Experiment, **given: Any) -> Experiment:
    """Return the experiment with other values."""
    groups = {
        name: replace(getattr(experiment, name), **values)
        for name, values in sorted_into_groups(given).items()
    }
    return replace(experiment, **groups)
