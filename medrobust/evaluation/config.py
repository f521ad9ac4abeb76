"""Composed configuration -> the plain parts of a job. Beside the entry the one file of Hydra."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medrobust.base.class_arguments import class_arguments
from medrobust.base.conf_folder import conf_folder
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.lookup import FIRST

from .building import built, resolved

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from .experiment import Experiment

TUNING, ENCODER = "medrobust.tuning.Tuning", "medrobust.engine.EncodeImages"
FIRST_TASK = {"_target_": "medrobust.tasks.lookup.task_of", "kind": FIRST}
"""The task of release 0.1, whose records name none."""

FORMER_TARGETS = {
    "medrobust.tasks.CorruptedShots": "medrobust.tuning.CorruptedShots",
    "medrobust.tasks.Tuning": TUNING,
    "medrobust.tasks.ZeroShot": ENCODER,
}
"""Names in the records of earlier releases, and where their parts are now."""


def experiment_from_config(config: "DictConfig", typed: Sequence[str] = ()) -> "Experiment":
    """Build the plain parts of a job from its composed configuration.

    Args:
        config: As Hydra composed it.
        typed: Overrides of the command line, which win over what files say under former names.

    Raises:
        ConfigurationError: If a value is missing, or a part cannot be built from its keywords.
        MedRobustError: As the part raises it.
    """
    from .experiment import Experiment

    config = with_present_groups(config, typed)
    plain = resolved(config)
    levels = plain["severity"]["levels"]
    parts = {
        name: built(config, name)
        for name in (
            "model",
            "dataset",
            "corruption",
            "prompts",
            "adapter",
            "speed",
            "task",
            "trainer",  # imports Lightning: what is wrong before is said at once
        )
    }
    dataset = parts["dataset"]
    return Experiment(
        model=parts["model"],
        datasets=tuple(getattr(dataset, "members", (dataset,))),
        corruption=parts["corruption"],
        severities=tuple(levels) if isinstance(levels, list) else levels,
        prompts=parts["prompts"],
        further_prompts=tuple(
            built(config.further_prompts, name) for name in config.get("further_prompts", ())
        ),
        store=Path(config.store.dir).absolute(),
        trainer=parts["trainer"],
        precision=str(config.trainer.precision),
        task=parts["task"],
        adapter=parts["adapter"],
        tuning=built(config, "tuning") if config.get("tuning") else None,
        speed=parts["speed"],
        seed=config.seed,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        reference=config.reference,
        reference_prompts=config.reference_prompts,
        validation=config.validation,
        sanity=config.sanity,
        audit=config.get("audit", True),
        resume=config.resume,
        keep_features=config.store.features,
        examples=config.store.examples,
        license=str(config.get("license", "any")),
        config=plain,
    )


def with_present_groups(config: "DictConfig", typed: Sequence[str] = ()) -> "DictConfig":
    """Return a configuration with `tuning` apart from `task`, which release 0.1 had as one group.

    A record of that release has a recipe, or the encoder of images, as its task. A file of options
    of that time may choose `task=few_shot`, which chooses `tuning=few_shot` now: what is given
    below `task` and is no key of a task goes to `tuning`, but for keys that were typed.

    Args:
        config: Composed, or of a record.
        typed: Overrides of the command line, as `tuning.shots=4`.

    Raises:
        ConfigurationError: If keys of tuning are given and nothing is tuned.
    """
    from omegaconf import OmegaConf

    task: dict[str, Any] = {}
    if "task" in config:
        task |= cast("dict[str, Any]", OmegaConf.to_container(config.task))
    target = FORMER_TARGETS.get(str(task.get("_target_")), task.get("_target_"))
    tuning: dict[str, Any] = {}
    if target == TUNING:
        tuning, task = {**task, "_target_": TUNING}, {}
    elif target in (None, ENCODER):
        task = {}
    else:
        recipe = [argument.name for argument in class_arguments(TUNING)]
        wins = {override.lstrip("+~").partition("=")[0] for override in typed}
        below = {key: task.pop(key) for key in recipe if key in task}
        tuning = _given(_without(below, wins, "tuning"))
        if tuning and not config.get("tuning"):
            raise ConfigurationError(
                f"task.{next(iter(tuning))} is a key of tuning, and nothing is tuned: add "
                f"tuning=few_shot."
            )
    present = OmegaConf.create(config)
    OmegaConf.set_struct(present, value=False)
    present.task = task or FIRST_TASK
    if tuning:
        if target != TUNING:
            _refuse_two_values(OmegaConf.to_container(config.tuning), tuning)
        present.tuning = OmegaConf.merge(config.get("tuning") or {}, tuning)
    return present


def _refuse_two_values(present: Any, former: Mapping[str, Any]) -> None:
    """Refuse a key that files give under both names: which of them comes last is not known.

    Raises:
        ConfigurationError: Naming the key and both values.
    """
    import yaml

    file = conf_folder() / "tuning" / "few_shot.yaml"
    default = dict(_leaves(yaml.safe_load(file.read_text(encoding="utf-8"))))
    given = dict(_leaves(present))
    for key, value in _leaves(former):
        if key in given and given[key] not in (value, default.get(key)):
            raise ConfigurationError(
                f"files say task.{key}={value} and tuning.{key}={given[key]}: write tuning.{key} "
                f"in the files of your own, or type the one that is meant."
            )


def _without(table: Mapping[str, Any], keys: Collection[str], place: str) -> dict[str, Any]:
    """Leave out the values whose dotted key is one of `keys`, at any depth."""
    return {
        key: _without(value, keys, f"{place}.{key}") if isinstance(value, Mapping) else value
        for key, value in table.items()
        if f"{place}.{key}" not in keys
    }


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a file only names, `???`, at any depth."""
    parts = {
        key: _given(value) if isinstance(value, Mapping) else value for key, value in table.items()
    }
    return {key: value for key, value in parts.items() if value not in ("???", {})}


def experiment_from_record(recorded: Mapping[str, Any], changes: Mapping[str, str]) -> "Experiment":
    """Build the parts of a job from the configuration in a cell's record.

    A store may come from a stranger: nothing is built but what the files of conf/ name.

    Args:
        recorded: Plain and resolved.
        changes: Dotted key -> value, of keys that the record has.

    Raises:
        ConfigurationError: If it names another part, or a key that is not there.
        MedRobustError: As `experiment_from_config` raises it.
    """
    from omegaconf import OmegaConf

    files = [file.read_text(encoding="utf-8") for file in conf_folder().rglob("*.yaml")]
    allowed = set(re.findall(r"\b_target_:\s*([\w.]+)", "\n".join(files))) | {ENCODER}
    for key, value in _leaves(recorded):
        if key.endswith("_target_") and FORMER_TARGETS.get(value, value) not in allowed:
            raise ConfigurationError(
                f"its record names {value!r} in {key}, which is no part of medrobust and is not "
                f"run from a store."
            )
        if isinstance(value, str) and "${" in value:
            raise ConfigurationError(f"its record has an interpolation in {key}, and none is read.")
    config = with_present_groups(OmegaConf.create(_with_present_targets(recorded)))
    known = {key for key, _ in _leaves(recorded)}
    for key, value in changes.items():
        if key not in known or key.endswith("_target_"):
            raise ConfigurationError(f"{key} is no key of the cell's configuration.")
        OmegaConf.update(config, key, value)
    return experiment_from_config(config)


def _with_present_targets(value: Any) -> Any:
    """Return a recorded configuration with its parts under their present names."""
    if isinstance(value, Mapping):
        return {
            name: FORMER_TARGETS.get(item, item)
            if name == "_target_"
            else _with_present_targets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_with_present_targets(item) for item in value]
    return value


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of every plain value below."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{key}.{number}")
    else:
        yield key, value
