"""Configuration -> experiment -> cells. The one place beside the entry that knows Hydra."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.adapters.artifact import Tuned
from medrobust.adapters.base import Tunable
from medrobust.adapters.linear_probe import LinearProbe
from medrobust.base.class_arguments import class_arguments
from medrobust.base.conf_folder import conf_folder
from medrobust.base.near_misses import nearest_key
from medrobust.exceptions import ConfigurationError, MedRobustError

from .columns import Column
from .experiment import Experiment
from .file_columns import files_columns
from .store import CellKey, CellSpec, DataRecord

if TYPE_CHECKING:
    from hydra.errors import InstantiationException
    from omegaconf import DictConfig, MissingMandatoryValue

    from medrobust.datasets.image_set import DatasetSource, ImageSet

    from .resources import Resources

log = logging.getLogger(__name__)

FORMER_TARGETS = {
    "medrobust.tasks.CorruptedShots": "medrobust.tuning.CorruptedShots",
    "medrobust.tasks.Tuning": "medrobust.tuning.Tuning",
    "medrobust.tasks.ZeroShot": "medrobust.engine.EncodeImages",
}
"""Names in the records of earlier releases, and where their parts are now."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and what computes it; `corruption` is None for clean."""

    key: CellKey
    corruption: Column | None


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """The cells of one data set, clean first, then by corruption and severity, then by head.

    Cells that differ in their head alone stand side by side, so that one encoding serves them all.

    Attributes:
        image_set: The evaluated split.
        record: Its labels and names, as the store keeps them.
        columns: The corruptions, in table order.
        cells: One a column, severity and head, and clean.
    """

    image_set: "ImageSet"
    record: DataRecord
    columns: tuple[Column, ...]
    cells: tuple[PlannedCell, ...]


def experiment_from_config(config: "DictConfig") -> Experiment:
    """Build the plain parts of a job from its composed configuration.

    Raises:
        ConfigurationError: If a value is missing, or a part cannot be built from its keywords.
        MedRobustError: As the part raises it.
    """
    from omegaconf import MissingMandatoryValue, OmegaConf

    from medrobust.engine import EncodeImages
    from medrobust.tuning import Tuning

    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise _must_be_given(error) from error
    assert isinstance(plain, dict)
    parts = {
        name: built(config, name)
        for name in (
            "model",
            "dataset",
            "corruption",
            "prompts",
            "trainer",
            "task",
            "adapter",
            "speed",
        )
    }
    dataset, task = parts["dataset"], parts["task"]
    tunes = isinstance(task, Tuning)
    return Experiment(
        model=parts["model"],
        datasets=tuple(getattr(dataset, "members", (dataset,))),
        corruption=parts["corruption"],
        severities=_levels(config.severity.levels),
        prompts=parts["prompts"],
        further_prompts=tuple(
            built(config.further_prompts, name) for name in config.get("further_prompts", ())
        ),
        store=Path(config.store.dir).absolute(),
        trainer=parts["trainer"],
        precision=str(config.trainer.precision),
        task=EncodeImages if tunes else task,
        adapter=parts["adapter"],
        tuning=task if tunes else None,
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
        config={str(key): value for key, value in plain.items()},
    )


def experiment_from_record(recorded: Mapping[str, Any], changes: Mapping[str, str]) -> Experiment:
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
    for key, value in _leaves(recorded):
        if key.endswith("_target_") and FORMER_TARGETS.get(value, value) not in allowed:
            raise ConfigurationError(
                f"its record names {value!r} in {key}, which is no part of medrobust and is not "
                f"run from a store."
            )
        if isinstance(value, str) and "${" in value:
            raise ConfigurationError(f"its record has an interpolation in {key}, and none is read.")
    config = OmegaConf.create(_with_present_targets(recorded))
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


def _levels(levels: Any) -> tuple[int, ...]:
    if isinstance(levels, int | str) or not all(isinstance(level, int) for level in levels):
        raise ConfigurationError(
            f"severity.levels={levels} must be a list of whole numbers, as [1,3]."
        )
    return tuple(levels)


def built(config: "DictConfig", name: str) -> Any:
    """Instantiate one group of a configuration.

    Raises:
        ConfigurationError: Naming the group and the reason, not Hydra's insides.
        MedRobustError: As the object itself raises it.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import MissingMandatoryValue

    try:
        return instantiate(config[name], _convert_="all")
    except MissingMandatoryValue as error:
        raise _must_be_given(error) from error
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, MedRobustError):
            raise cause from error
        reason = str(cause).splitlines()[0]
        unknown = re.search(r"unexpected keyword argument '(\w+)'", reason)
        if unknown is not None:
            place = _failed_place(config, error) or name
            raise ConfigurationError(_no_such_key(config, place, unknown[1])) from error
        lacking = re.search(r"missing \d+ required [\w-]+ arguments?: (.+)", reason)
        if lacking is not None:
            place = _failed_place(config, error) or name
            keys = re.findall(r"'(\w+)'", lacking[1])
            typed = " ".join(f"+{place}.{key}=VALUE" for key in keys)
            raise ConfigurationError(
                f"{place} lacks {' and '.join(keys)}: write what is missing into its configuration "
                f"file, or add {typed} to the command."
            ) from error
        raise ConfigurationError(f"{name} cannot be built as configured: {reason}.") from error


def _must_be_given(error: "MissingMandatoryValue") -> ConfigurationError:
    key = error.full_key
    return ConfigurationError(f"{key} must be given: add {key}=VALUE to the command.")


def _failed_place(config: "DictConfig", error: "InstantiationException") -> str | None:
    """Return the key of the part that Hydra could not build, where its sentence names one."""
    from omegaconf import OmegaConf

    found = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    if found is None:
        return None
    listed = re.sub(r"(\d+)$", r"[\1]", found[1])  # OmegaConf writes sets0 for sets[0]
    return next(
        (key for key in (found[1], listed) if OmegaConf.select(config, key) is not None), None
    )


def _no_such_key(config: "DictConfig", place: str, key: str) -> str:
    """Say that the class of a place takes no such key, with the nearest that it takes."""
    from omegaconf import OmegaConf

    target = OmegaConf.select(config, f"{place}._target_", default="")
    accepted = [argument.name for argument in class_arguments(str(target))]
    near = nearest_key(f"{place}.{key}", [f"{place}.{argument}" for argument in accepted])
    hint = f" Did you mean {near!r}?" if near else ""
    return f"there is no configuration key '{place}.{key}'.{hint}"


def check(experiment: Experiment) -> "list[tuple[DatasetSource, tuple[Column, ...]]]":
    """Find what cannot run before data is opened or weights are loaded.

    Returns:
        Each data set with its corruptions in table order.

    Raises:
        UnknownNameError: If a corruption does not exist (for that data set).
        DatasetNotFoundError: If a published corrupted file is missing.
        WeightsNotFoundError: If files of the model are missing.
    """
    _check_adapter(experiment)
    expanded = [(source, _columns(experiment, source)) for source in experiment.datasets]
    experiment.model.weights_fingerprint()
    return expanded


def _check_adapter(experiment: Experiment) -> None:
    """Refuse an adapter that was not tuned yet, and one that was tuned on another model."""
    adapter = experiment.adapter
    if isinstance(adapter, Tunable | LinearProbe) and experiment.tuning is None:
        raise ConfigurationError(
            f"adapter={adapter.name} has to be tuned first: add task=few_shot, or give a tuned one "
            f"by adapter=path adapter.path=FOLDER."
        )
    if isinstance(adapter, Tuned):
        adapter.check_base(experiment.model.name, experiment.model.weights_fingerprint())


def _columns(experiment: Experiment, source: "DatasetSource") -> tuple[Column, ...]:
    computed = experiment.corruption.expand(source.suite)
    published = files_columns(source, (column.name for column in computed), experiment.severities)
    return computed if published is None else published


def plan(experiment: Experiment, resources: "Resources") -> list[DatasetPlan]:
    """Name every cell of a job: clean once a data set, then corruptions by severities.

    Args:
        experiment: The job.
        resources: Opens data sets and loads the model, once.

    Raises:
        MedRobustError: As `check`, the data set or the model raises it.
    """
    return [
        _dataset_plan(experiment, resources, source, columns)
        for source, columns in check(experiment)
    ]


def _dataset_plan(
    experiment: Experiment,
    resources: "Resources",
    source: "DatasetSource",
    columns: tuple[Column, ...],
) -> DatasetPlan:
    image_set = resources.image_set(source)
    conditions = [(None, 0), *product(columns, experiment.severities)]
    cells = planned_cells(experiment, resources, image_set, conditions)
    return DatasetPlan(image_set, data_record(image_set), columns, cells)


def planned_cells(
    experiment: Experiment,
    resources: "Resources",
    image_set: "ImageSet",
    conditions: Sequence[tuple[Column | None, int]],
) -> tuple[PlannedCell, ...]:
    """Name the cells of one split under the given (corruption, severity), each with every head.

    Raises:
        MedRobustError: If prompts or the model do not suit the data set.
    """
    heads = resources.task(experiment).heads(image_set, resources.side(experiment))
    encoder = resources.encoder_description(experiment)
    return tuple(
        PlannedCell(_key(experiment, encoder, image_set, head, corruption, severity), corruption)
        for (corruption, severity), head in product(conditions, heads)
    )


def data_record(image_set: "ImageSet") -> DataRecord:
    """Return what the store keeps of a split: everything but the images."""
    kept = [name for name in DataRecord.__dataclass_fields__ if hasattr(image_set, name)]
    return DataRecord(**{name: getattr(image_set, name) for name in kept})


def _key(
    experiment: Experiment,
    encoder: Mapping[str, Any],
    image_set: "ImageSet",
    head: Mapping[str, Any],
    corruption: Column | None,
    severity: int,
) -> CellKey:
    drawn = corruption is not None and corruption.random(severity)
    encoding: dict[str, Any] = {
        **encoder,
        "data": image_set.fingerprint,
        "corruption": {"name": "clean"}
        if corruption is None
        else corruption.identity(severity, image_set.images.shape[1:3]),
    }
    if drawn:
        encoding |= {"seed": experiment.seed, "stream": image_set.stream}
    spec = CellSpec(
        model=experiment.model.name,
        adapter=experiment.adapter.name,
        dataset=image_set.name,
        split=image_set.split,
        suite="none" if corruption is None else str(corruption.suite),
        corruption="clean" if corruption is None else corruption.name,
        severity=severity,
        seed=experiment.seed if drawn else None,
    )
    return CellKey(spec, encoding, head, image_set.fingerprint)
