"""Experiments from plain keywords, each put into the group that has it; `model` is its source."""

from dataclasses import fields, replace
from typing import Any

from medrobust.adapters import NoAdapter
from medrobust.evaluation.experiment import AskedModel, Data, Experiment, How, Where
from medrobust.tuning.stage import parted

GROUPS = {"data": Data, "model": AskedModel, "where": Where, "how": How}
GROUP_OF = {field.name: name for name, group in GROUPS.items() for field in fields(group)}


def sorted_into_groups(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return group -> its keywords; `adapter` and `tuning` are told apart as the command does."""
    given = dict(given)
    adapter, stage = parted(given.pop("adapter", NoAdapter()), given.pop("tuning", None))
    found: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for name, value in (given | {"adapter": adapter, "stage": stage}).items():
        field = "source" if name == "model" else name
        found[GROUP_OF[field]][field] = value
    return found


def grouped(**given: Any) -> Experiment:
    """Build an experiment."""
    parts = sorted_into_groups(given)
    return Experiment(**{name: GROUPS[name](**values) for name, values in parts.items()})


def changed(experiment: Experiment, **given: Any) -> Experiment:
    """Return the experiment with other values."""
    stage = experiment.model.stage
    before = {
        "adapter": experiment.model.adapter if stage is None else stage.recipe,
        "tuning": None if stage is None else stage.how,
    }
    groups = {
        name: replace(getattr(experiment, name), **values)
        for name, values in sorted_into_groups(before | given).items()
    }
    return replace(experiment, **groups)
