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
from medrobust.base.wording import counted
from medrobust.evaluation.adaptation import adapted, plan_adaptation
from medrobust.evaluation.config import experiment_from_record
from medrobust.evaluation.environment import versions
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import beside
from medrobust.evaluation.image_cells import image_plans, run_image_cells
from medrobust.evaluation.plan import DatasetPlan, plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.staleness import differences
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError
from medrobust.metrics.scores import predictions

EXACT_DEVICE, OTHER_DEVICE, HALF_PRECISION = 1e-3, 0.05, 0.5
"""Largest difference of logits (logit scale times cosine) that is taken for rounding: float32 on
two processors of one kind; float32 on a CPU and a GPU, where a pixel in ten thousand of a corrupted
image may differ by a grey level; 16 bits, or a faster way to run the tower, on either side."""

MEASURES_MOVE = 1e-3
"""Largest difference of a measure of an image, as a share of its size, that is rounding."""

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

    Raises:
        ConfigurationError: If none is asked for.
        StoreError: If there is none, or one of them is damaged.
    """
    if count < 1:
        raise ConfigurationError(f"--cells {count}: ask for at least one.")
    folders = list(store.folders())
    if not folders:
        raise StoreError(f"{store.root} holds no cells. Pass the folder that store.dir names.")
    drawn = random.Random(seed).sample(range(len(folders)), min(count, len(folders)))
    return [store.read_folder(folders[number]) for number in sorted(drawn)]


def verify(
    cell: StoredCell,
    store: Store,
    *,
    changes: Mapping[str, str],
    resources: Resources,
) -> Verdict:
    """Compute one cell again from what its record says, and compare the logits."""
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
) -> tuple[NDArray[Any], str]:
    """Compute a cell from its record: its logits, and the device that made them.

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
    if (images := _of_images(cell, experiment, tables, scratch)) is not None:
        return images
    plans = [*tables, *beside(experiment, resources).plans]
    near = None
    for dataset in plans:
        for planned in dataset.cells:
            if planned.key.fingerprint == cell.fingerprint:
                runner = CellRunner(experiment, resources, Store(scratch))
                alone = [replace(dataset, cells=(planned,))]
                runner.run(alone)
                runner.complain()
                (found,) = read_cells(runner.store, alone)
                return found.arrays["logits"], str(found.record["device"])
            if planned.key.spec == cell.spec:
                near = near or planned
    if near is None:
        raise ConfigurationError("its recorded configuration makes no cell of that name.")
    changed = " and ".join(differences(near.key, cell.record)) or "the version of the format"
    raise ConfigurationError(f"{changed} differ from what the cell was made with.")


def _of_images(
    cell: StoredCell, experiment: Experiment, tables: Sequence[DatasetPlan], scratch: Path
) -> tuple[NDArray[Any], str] | None:
    """Compute a cell of images and no model again; None where it is none of them."""
    for dataset in image_plans(experiment, tables):
        for planned in dataset.cells:
            if planned.key.fingerprint == cell.fingerprint:
                alone = [replace(dataset, cells=(planned,))]
                run_image_cells(experiment, alone, Store(scratch))
                (found,) = read_cells(Store(scratch), alone)
                return next(iter(found.arrays.values())), str(found.record["device"])
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


def compare(cell: StoredCell, again: NDArray[Any], device: str) -> Verdict:
    """Compare logits, float32 (N, K): equal, within the tolerance, or not.

    Within it, predictions may differ for one image, the share that tables agree in.
    """
    if "logits" not in cell.arrays:
        return _compare_measures(next(iter(cell.arrays.values())), again)
    stored = cell.arrays["logits"]
    if np.array_equal(stored, again):
        return Verdict("identical")
    difference = float(np.abs(stored.astype(np.float64) - again).max())
    kind = cell.data.label_kind
    assert kind is not None
    before, after = (predictions(logits, kind) for logits in (stored, again))
    unequal = before != after
    moved = int((unequal.any(axis=1) if unequal.ndim == 2 else unequal).sum())
    allowed = tolerance(cell.record, device)
    there = cell.record.get("versions") or {}
    other = sorted(name for name, value in versions().items() if there.get(name) != value)
    sentence = (
        f"logits differ by {difference:.2g} at most ({allowed:g} allowed), predictions of {moved} "
        f"of {counted(len(again), 'image')}"
    )
    if other:
        sentence += f"; other versions here: {', '.join(other)}"
    return Verdict("agrees" if difference <= allowed and moved <= 1 else "differs", sentence)


def _compare_measures(stored: NDArray[Any], again: NDArray[Any]) -> Verdict:
    """Compare numbers of images, float64 (N, M): equal, within a thousandth, or not."""
    if np.array_equal(stored, again, equal_nan=True):
        return Verdict("identical")
    both = np.isfinite(stored) & np.isfinite(again)
    scale = np.maximum(np.abs(stored), 1.0, where=both, out=np.ones(stored.shape))
    apart = np.abs(np.subtract(stored, again, where=both, out=np.zeros(stored.shape))) / scale
    same_gaps = np.array_equal(np.isfinite(stored), np.isfinite(again))
    largest = float(apart.max())
    sentence = f"measures differ by {largest:.2g} of their size at most ({MEASURES_MOVE:g} allowed)"
    return Verdict("agrees" if same_gaps and largest <= MEASURES_MOVE else "differs", sentence)


def tolerance(record: Mapping[str, Any], device: str) -> float:
    """Return the largest difference of logits that is rounding, by devices and precision."""
    encoding = record["encoding"]
    if encoding.get("speed") or encoding.get("precision", "32-true") != "32-true":
        return HALF_PRECISION
    kinds = {str(name).partition(":")[0] for name in (record.get("device"), device)}
    return EXACT_DEVICE if len(kinds) == 1 else OTHER_DEVICE
