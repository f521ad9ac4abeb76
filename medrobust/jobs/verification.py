"""Cells of a store computed again on this machine: `medrobust verify`."""

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medrobust.base.redaction import HIDDEN
from medrobust.evaluation.adaptation import adapted, plan_adaptation
from medrobust.evaluation.cells_of_searches import plans_like
from medrobust.evaluation.config import experiment_from_record
from medrobust.evaluation.environment import versions
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import beside
from medrobust.evaluation.image_cells import image_plans, run_image_cells
from medrobust.evaluation.plan import DatasetPlan, PlannedCell, plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.staleness import differences
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError
from medrobust.tasks.base import Cell, Move
from medrobust.tasks.lookup import task_of

REBUILT = (
    *("model", "dataset", "corruption", "prompts", "further_prompts", "trainer", "task"),
    *("tuning", "adapter", "speed", "quality"),
)
"""Groups of the recorded configuration that a cell is computed from."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one cell.

    Attributes:
        kind: "identical" to the last bit; "agrees" within the tolerance; "differs"; "not computed".
        sentence: By how much, or why not.
        needed: Keys of paths without which it cannot be computed.
    """

    kind: Literal["identical", "agrees", "differs", "not computed"]
    sentence: str = ""
    needed: tuple[str, ...] = ()


def fitting_changes(
    cells: Sequence[StoredCell], changes: Mapping[str, str]
) -> list[dict[str, str]]:
    """Give each cell the paths that it has a key for: those of other cells are not its own.

    Raises:
        ConfigurationError: If a key is of none of the cells.
    """
    fitting = [
        {key: value for key, value in changes.items() if _has(cell.record.get("config"), key)}
        for cell in cells
    ]
    if strange := [key for key in changes if not any(key in one for one in fitting)]:
        raise ConfigurationError(
            f"{strange[0]} is no key of the configuration of any cell of the sample."
        )
    return fitting


def _has(config: Any, key: str) -> bool:
    """Say whether plain values have a dotted key."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return False
        config = config[part]
    return True


def sample(store: Store, count: int, seed: int) -> list[StoredCell]:
    """Draw cells without replacement, the same ones for the same seed and the same store.

    All cells are read, with their pictures, so that no damaged one is passed over.

    Raises:
        ConfigurationError: If none is asked for.
        StoreError: If there is none, or a cell of the store is damaged, drawn or not.
    """
    if count < 1:
        raise ConfigurationError(f"--cells {count}: ask for at least one.")
    folders = list(store.folders())
    if not folders:
        raise StoreError(f"{store.root} holds no cells. Pass the folder that store.dir names.")
    drawn = set(random.Random(seed).sample(range(len(folders)), min(count, len(folders))))
    cells = []
    for number, folder in enumerate(folders):
        cell = store.intact(folder)
        for picture in range(len(cell.examples)):
            cell.picture(picture)
        if number in drawn:
            cells.append(cell)
    return cells


def verify(
    cell: StoredCell,
    store: Store,
    *,
    changes: Mapping[str, str],
    resources: Resources,
) -> Verdict:
    """Compute one cell again from what its record says, and compare its arrays."""
    if cell.unread:
        return Verdict("not computed", f"it is not damaged, but {cell.unread}")
    try:
        with tempfile.TemporaryDirectory(prefix="medrobust-") as scratch:
            again, device = compute_again(cell, store, Path(scratch), changes, resources)
    except MedRobustError as error:
        return Verdict("not computed", str(error), tuple(_needed(cell, changes)))
    return compare(cell, again, device)


def compute_again(
    cell: StoredCell,
    store: Store,
    scratch: Path,
    changes: Mapping[str, str],
    resources: Resources,
) -> tuple[Mapping[str, NDArray[Any]], str]:
    """Compute a cell from its record: its arrays, and the device that made them.

    Args:
        cell: As stored.
        store: That it lies in, which has the adapter of a tuned model.
        scratch: An empty folder, for the store of this one cell.
        changes: Dotted key -> value, for paths.
        resources: Keeps models and data.

    Raises:
        MedRobustError: Saying what is needed, or what is different here.
    """
    experiment = recorded_experiment(cell, changes)
    if experiment.model.stage is not None:
        experiment = _tuned(experiment, store, resources)
    wanted = [source for source in experiment.data.datasets if source.name == cell.spec.dataset]
    experiment = replace(
        experiment,
        data=replace(experiment.data, datasets=tuple(wanted)),
        where=replace(experiment.where, store=scratch, resume=True),
    )
    tables = plan(experiment, resources)
    if (images := _of_images(cell, experiment, tables, scratch, resources)) is not None:
        return images
    plans = [*tables, *beside(experiment, resources).plans]
    plans += plans_like(cell, experiment, resources, tables)
    near: list[PlannedCell] = []
    for dataset in plans:
        for planned in dataset.cells:
            if _is_of(planned, cell):
                runner = CellRunner(experiment, resources, Store(scratch))
                alone = [replace(dataset, cells=(planned,))]
                runner.run(alone)
                runner.complain()
                (found,) = read_cells(runner.store, alone)
                return found.arrays, str(found.record["device"])
            if replace(planned.key.spec, suite=cell.spec.suite) == cell.spec:
                near.append(planned)
    if not near:
        raise ConfigurationError("its recorded configuration makes no cell of that name.")
    nearest = next((one for one in near if one.key.spec == cell.spec), near[0])
    changed = " and ".join(differences(nearest.key, cell.record)) or "the version of the format"
    raise ConfigurationError(f"{changed} differ from what the cell was made with.")


def _is_of(planned: PlannedCell, cell: StoredCell) -> bool:
    """Say whether a planned cell is a stored one, which another suite may have taken over."""
    called = replace(planned.key.spec, suite=cell.spec.suite)
    return (planned.key.fingerprint, called) == (cell.fingerprint, cell.spec)


def _of_images(
    cell: StoredCell,
    experiment: Experiment,
    tables: Sequence[DatasetPlan],
    scratch: Path,
    resources: Resources,
) -> tuple[Mapping[str, NDArray[Any]], str] | None:
    """Compute a cell of images and no model again; None where it is none of them."""
    for dataset in image_plans(experiment, tables, resources):
        for planned in dataset.cells:
            if _is_of(planned, cell):
                alone = [replace(dataset, cells=(planned,))]
                run_image_cells(experiment, alone, Store(scratch))
                (found,) = read_cells(Store(scratch), alone)
                return found.arrays, str(found.record["device"])
    return None


def recorded_experiment(cell: StoredCell, changes: Mapping[str, str]) -> Experiment:
    """Build the job that made a cell from the configuration in its record.

    Raises:
        ConfigurationError: If a path is needed that no record keeps, or there is no configuration.
    """
    config = cell.record.get("config")
    if not config:
        raise ConfigurationError(
            "it was made from arrays in memory, which only the program that had them can repeat."
        )
    if needed := _needed(cell, changes):
        raise ConfigurationError(
            f"its record keeps no paths: add {' '.join(f'{key}=PATH' for key in needed)} "
            f"for the same files on this machine."
        )
    return experiment_from_record(config, changes)


def _needed(cell: StoredCell, changes: Mapping[str, str]) -> list[str]:
    """List the keys of the paths that must be given for a cell and are not."""
    return [key for key in hidden(cell.record.get("config") or {}) if key not in changes]


def hidden(config: Mapping[str, Any]) -> list[str]:
    """List the dotted keys whose path was left out of a record and without which nothing runs.

    Example:
        >>> hidden({"dataset": {"csv": "<path>", "cache_dir": "<path>"}, "store": "<path>"})
        ['dataset.csv']
    """

    def walk(value: Any, key: str) -> list[str]:
        if isinstance(value, Mapping):
            return [found for name in value for found in walk(value[name], f"{key}.{name}")]
        return [key] if value == HIDDEN and not key.endswith(".cache_dir") else []

    return [found for group in REBUILT for found in walk(config.get(group), group)]


def _tuned(experiment: Experiment, store: Store, resources: Resources) -> Experiment:
    """Take the adapter that was tuned from the store: nothing is trained here.

    Raises:
        ConfigurationError: If it is not there.
    """
    wanted = plan_adaptation(experiment, resources, store)
    if not wanted.folder.exists():
        raise ConfigurationError(
            f"its adapter {wanted.name!r} is not in the store as this machine would tune it; "
            f"bring STORE/adapters along, and the data it was tuned on."
        )
    experiment = replace(experiment, where=replace(experiment.where, resume=True))
    return adapted(experiment, resources, store)


def compare(cell: StoredCell, again: Mapping[str, NDArray[Any]], device: str) -> Verdict:
    """Compare the arrays of a cell: equal to the last bit, but for rounding, or not.

    Args:
        cell: As stored.
        again: Computed here, by name.
        device: That computed them.
    """
    if all(_same(array, again[name]) for name, array in cell.arrays.items()):
        return Verdict("identical")
    stored = Cell(cell.fingerprint, cell.arrays, cell.head, cell.data)
    found = task_of(cell.task).agreement(stored, again, move(cell.record, device))
    there = cell.record.get("versions") or {}
    other = sorted(name for name, value in versions().items() if there.get(name) != value)
    more = f"; other versions here: {', '.join(other)}" if other else ""
    return Verdict("agrees" if found.agrees else "differs", found.sentence + more)


def _same(stored: NDArray[Any], again: NDArray[Any]) -> bool:
    return np.array_equal(stored, again, equal_nan=stored.dtype.kind == "f")


def move(record: Mapping[str, Any], device: str) -> Move:
    """Say what lies between a stored cell and one that was computed here."""
    encoding = record["encoding"]
    if encoding.get("speed") or encoding.get("precision", "32-true") != "32-true":
        return "fast"
    kinds = {str(name).partition(":")[0] for name in (record.get("device"), device)}
    return "same kind" if len(kinds) == 1 else "other kind"
