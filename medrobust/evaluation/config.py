"""Composed configuration -> the plain parts of a job. Beside the entry the one file of Hydra."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.conf_folder import conf_folder
from medrobust.base.former_names import present_record
from medrobust.base.untuned import not_tunable, to_be_tuned
from medrobust.exceptions import ConfigurationError

from .building import built, resolved, with_infinity

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from .experiment import Experiment

UNTUNED = frozenset(
    f"medrobust.adapters.{name}"
    for name in (
        *("AttentionMil", "AttentionProbe", "Intervene", "LinearProbe", "Lora", "Mvfa"),
        *("NearestNeighbours", "Prototypes", "WeightTuning"),
    )
)
"""Adapters that are nothing before they are tuned: by name, so that torch stays out."""


def experiment_from_config(config: "DictConfig") -> "Experiment":
    """Build the plain parts of a job from its composed configuration.

    Raises:
        ConfigurationError: If a value is missing, or a part cannot be built from its keywords.
        MedRobustError: As the part raises it.
    """
    from medrobust.datasets.domains import judged
    from medrobust.tuning.stage import parted

    from .experiment import AskedModel, Data, Experiment, How, Where

    plain = resolved(config)
    refuse_tuning_of_nothing(plain)
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
    if config.get("readings"):
        built(config, "readings")  # what is wrong with them is said before anything runs
    dataset, store = parts["dataset"], config.store
    members = getattr(dataset, "members", (dataset,))
    further = config.get("further_prompts", ())
    tuning = built(config, "tuning") if config.get("tuning") else None
    adapter, stage = parted(parts["adapter"], tuning)
    return Experiment(
        data=Data(
            datasets=tuple(judged(one, parts["task"].target) for one in members),
            corruption=parts["corruption"],
            severities=tuple(levels) if isinstance(levels, list) else levels,
            seed=config.seed,
            validation=config.validation,
            sanity=config.sanity,
            audit=config.get("audit", True),
            quality=built(config, "quality") if config.get("quality") else None,
            equalise=built(config.severity, "equalise") if "equalise" in config.severity else None,
        ),
        model=AskedModel(
            source=parts["model"],
            task=parts["task"],
            prompts=parts["prompts"],
            further_prompts=tuple(built(config.further_prompts, name) for name in further),
            adapter=adapter,
            stage=stage,
            speed=parts["speed"],
            precision=str(config.trainer.precision),
        ),
        where=Where(
            store=Path(store.dir).absolute(),
            resume=config.resume,
            keep_features=store.features,
            examples=store.examples,
            reference=config.reference,
            reference_prompts=config.reference_prompts,
        ),
        how=How(parts["trainer"], config.batch_size, config.num_workers),
        license=str(config.get("license", "any")),
        config=plain,
    )


def refuse_tuning_of_nothing(config: Mapping[str, Any]) -> None:
    """Refuse keys of `tuning` where no recipe is chosen: files may bring them, as of release 0.1.

    Raises:
        ConfigurationError: Naming the first key.
    """
    given = config.get("tuning") or {}
    if given and "_target_" not in given:
        raise ConfigurationError(
            f"tuning.{next(iter(given))} is given, and nothing is tuned: add tuning=few_shot."
        )


def refuse_untuned(config: Mapping[str, Any]) -> None:
    """Refuse an adapter that has to be tuned where nothing is, and a recipe with nothing to tune.

    Raises:
        ConfigurationError: Naming the adapter, as `tuning.stage` says it of the built objects.
    """
    adapter = config.get("adapter") or {}
    kind, name, recipe = adapter.get("_target_"), adapter.get("name", "none"), config.get("tuning")
    if kind in UNTUNED and not recipe:
        raise to_be_tuned(name)
    if kind == "medrobust.adapters.NoAdapter" and recipe and not adapter.get("baseline"):
        raise not_tunable(name)


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
    allowed = set(re.findall(r"\b_target_:\s*([\w.]+)", "\n".join(files)))
    present = present_record(recorded)
    for key, value in _leaves(present):
        if key.endswith("_target_") and value not in allowed:
            raise ConfigurationError(
                f"its record names {value!r} in {key}, which is no part of medrobust and is not "
                f"run from a store."
            )
        if isinstance(value, str) and "${" in value:
            raise ConfigurationError(f"its record has an interpolation in {key}, and none is read.")
    config = OmegaConf.create(with_infinity(present))
    known = {key for key, _ in _leaves(present)}
    for key, value in changes.items():
        if key not in known or key.endswith("_target_"):
            raise ConfigurationError(f"{key} is no key of the cell's configuration.")
        OmegaConf.update(config, key, value)
    return experiment_from_config(config)


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
