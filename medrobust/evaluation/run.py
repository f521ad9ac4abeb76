"""Planned cells -> stored cells."""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from medrobust.adapters.artifact import Tuned
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.environment import describe_device, versions
from medrobust.evaluation.experiment import Experiment, single_device
from medrobust.evaluation.plan import DatasetPlan, PlannedCell
from medrobust.evaluation.published import FilesColumn
from medrobust.evaluation.resources import Head, Resources
from medrobust.evaluation.store import CellSpec, Store
from medrobust.exceptions import ConfigurationError, MedRobustError, NotFiniteError
from medrobust.paths import without_paths
from medrobust.tasks.datamodule import evaluation_loader
from medrobust.tasks.zero_shot import Corrupt, Encoded, ZeroShot
from medrobust.types import UInt8Array

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

EXAMPLES = 2
"""Pictures kept a cell: the first image of the split and the middle one."""


@dataclass(frozen=True, slots=True)
class Done:
    """One cell, finished now or found in the store."""

    cell: PlannedCell
    computed: bool
    seconds: float


class CellRunner:
    """Runs the cells of one job with one Trainer, one module and one store."""

    def __init__(self, experiment: Experiment, resources: Resources, store: Store) -> None:
        self.experiment = experiment
        self.resources = resources
        self.store = store
        self.failed: dict[CellSpec, str] = {}
        self._last: tuple[str, Encoded] | None = None
        self._module: ZeroShot | None = None
        self._trainer: Trainer | None = None

    @property
    def device(self) -> str:
        """Name of the device that cells are encoded on."""
        return describe_device(self._ready_trainer().strategy.root_device)

    def run(self, plans: Sequence[DatasetPlan]) -> Iterator[Done]:
        """Yield each cell of the plan, in order, once it is in the store.

        Neighbours that differ in their head alone share one encoding, kept in memory. A cell whose
        numbers are not finite is left out, with the reason in `failed`, and the others go on.

        Raises:
            StoreError: If a finished cell is damaged, or the store cannot be written.
        """
        for plan in plans:
            self.store.write_data(plan.record)
            for cell in plan.cells:
                started = time.perf_counter()
                missing = not (self.experiment.resume and self.store.has(cell.key))
                try:
                    if missing:
                        self._compute(plan.image_set, cell, started)
                except NotFiniteError as error:
                    self.failed[cell.key.spec] = str(error)
                    log.error("%s: %s", cell.key.spec, error)
                    continue
                yield Done(cell, missing, time.perf_counter() - started)
            self._last = None

    def complain(self) -> None:
        """Raise what stopped cells, once the others are done.

        Raises:
            MedRobustError: With the number of those cells and the first one's reason.
        """
        if self.failed:
            spec, reason = next(iter(self.failed.items()))
            raise MedRobustError(
                f"{len(self.failed)} cells were stopped and the others are kept; {spec}: {reason}"
            )

    def _compute(self, image_set: ImageSet, cell: PlannedCell, started: float) -> None:
        encoded = self._encode(image_set, cell)
        self._check(encoded, image_set)
        record = {
            "status": "done",
            "seconds": round(time.perf_counter() - started, 4),
            "config": without_paths(self.experiment.config),
            "versions": versions(),
            "device": self.device,
            "load_report": asdict(self.resources.model(self.experiment).report),
        }
        if isinstance(self.experiment.adapter, Tuned):
            record["adaptation"] = self.experiment.adapter.origin()
        self.store.write(
            cell.key,
            encoded.logits.numpy(),
            record,
            examples={f"row-{row}.png": _png(image) for row, image in encoded.shown.items()},
            replace=not self.experiment.resume,
        )

    def _check(self, encoded: Encoded, image_set: ImageSet) -> None:
        """Refuse what is not one row an image and one column a class, before it is stored."""
        if len(encoded.logits) != len(image_set):
            raise ConfigurationError(
                f"only {len(encoded.logits)} of {len(image_set)} images were encoded: take "
                f"trainer.fast_dev_run or trainer.limit_test_batches away, and use dataset.limit "
                f"for a part of a data set. The cell was not stored."
            )
        given, wanted = encoded.logits.shape[1], len(image_set.class_names)
        if given != wanted:
            raise ConfigurationError(
                f"model {self.experiment.model.name!r} gives {given} logits an image, and data set "
                f"{image_set.name!r} has {wanted} classes: it was made for other classes."
            )

    def _encode(self, image_set: ImageSet, cell: PlannedCell) -> Encoded:
        """Encode the images of a cell, or take the features of the cell before or of the store."""
        head = self.resources.head(self.experiment, dict(cell.key.head))
        encoding = cell.key.encoding_fingerprint
        if self._last is None or self._last[0] != encoding:
            self._last = None  # one at a time in memory
            self._last = encoding, self._encode_images(image_set, cell, head)
            return self._last[1]
        before = self._last[1]
        return self._ready_module().classify(before.features, head, shown=before.shown)

    def _encode_images(self, image_set: ImageSet, cell: PlannedCell, head: Head) -> Encoded:
        resume = self.experiment.resume
        kept = self.store.read_features(cell.key.encoding_fingerprint) if resume else None
        module = self._ready_module()
        if kept is not None:
            return module.classify(torch.from_numpy(kept), head)
        module.begin(self._corrupt(image_set, cell), head, show=self._rows_to_show(image_set))
        loader = evaluation_loader(
            self._read(image_set, cell),
            batch_size=self.experiment.batch_size,
            num_workers=self.experiment.num_workers,
        )
        trainer = self._ready_trainer()
        try:
            with quiet_lightning():
                trainer.test(module, loader, verbose=False)
        except SystemExit as stopped:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stopped
        encoded = module.result()
        if self.experiment.keep_features:
            self.store.write_features(
                cell.key.encoding_fingerprint, encoded.features.numpy(), replace=not resume
            )
        return encoded

    def _read(self, image_set: ImageSet, cell: PlannedCell) -> ImageSet:
        """Return what is read from disk: the clean images, or published corrupted ones."""
        if isinstance(cell.corruption, FilesColumn):
            return cell.corruption.images(image_set, cell.key.spec.severity)
        return image_set

    def _corrupt(self, image_set: ImageSet, cell: PlannedCell) -> Corrupt | None:
        if cell.corruption is None or isinstance(cell.corruption, FilesColumn):
            return None
        return partial(
            _corrupt_batch,
            cell.corruption,
            cell.key.spec.severity,
            self.experiment.seed,
            image_set.stream,
        )

    def _rows_to_show(self, image_set: ImageSet) -> frozenset[int]:
        allowed = self.experiment.examples
        if allowed is None:
            allowed = image_set.origin != "own"
        if not allowed:
            return frozenset()
        return frozenset(len(image_set) * part // EXAMPLES for part in range(EXAMPLES))

    def _ready_module(self) -> ZeroShot:
        if self._module is None:
            model = self.resources.model(self.experiment)
            self._module = self.experiment.task(model, self.experiment.model.micro_batch)
        return self._module

    def _ready_trainer(self) -> "Trainer":
        if self._trainer is None:
            build = single_device(self.experiment.trainer)
            try:
                with quiet_lightning():
                    self._trainer = build(
                        logger=False,
                        enable_checkpointing=False,
                        enable_progress_bar=False,
                        enable_model_summary=False,
                        use_distributed_sampler=False,
                    )
            except (MisconfigurationException, ValueError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise ConfigurationError(f"the trainer cannot be made: {reason}") from error
        return self._trainer


def _corrupt_batch(
    corruption: Any, severity: int, seed: int, stream: str, images: Any, index: Any
) -> Any:
    return corruption(images, severity=severity, seed=seed, stream=stream, index=index)


def _png(image: UInt8Array) -> bytes:
    """Encode uint8 (C, H, W) as PNG."""
    channel_last = np.moveaxis(image, 0, -1)
    written, data = cv2.imencode(".png", channel_last[..., ::-1])
    assert written
    return data.tobytes()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners and hints off the terminal, and put everything back."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels: Mapping[logging.Logger, int] = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
