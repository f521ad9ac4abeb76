"""Planned cells -> stored cells."""

import logging
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import cv2
import numpy as np
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from medrobust.adapters.artifact import Tuned
from medrobust.base.redaction import without_paths
from medrobust.base.wording import counted
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.encode import Encoded, EncodeImages, classify
from medrobust.engine.loader import CorruptedBatches, Pass, kept_bytes
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError
from medrobust.types import Int64Array, UInt8Array

from .environment import describe_device, versions
from .experiment import Experiment, single_device
from .file_columns import FilesColumn
from .locks import Claims
from .plan import DatasetPlan, PlannedCell
from .ranks import ALONE, Ranks
from .resources import Head, Resources
from .store import CellSpec, Store

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds to the next look at cells that other processes compute, when nothing else is left."""

PATIENCE = 600.0
"""Seconds without a new cell of theirs after which this process computes them too: one that stands
still must not stop the others."""

EXAMPLES = 2
"""Pictures kept a cell: the first image of the split and the middle one."""


@dataclass(frozen=True, slots=True)
class Done:
    """One cell, finished now or found in the store."""

    cell: PlannedCell
    computed: bool
    seconds: float


Told: TypeAlias = Callable[[Done], None]
"""Called with each cell once it is in the store, from whatever thread has put it there."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """What one encoding serves: cells that differ in their head, or in the name of their suite.

    Attributes:
        first: Any cell of it: names its images and its corruption.
        missing: The cells that are not finished, each with its classifier.
    """

    first: PlannedCell
    missing: tuple[tuple[PlannedCell, Head], ...]

    @property
    def fingerprint(self) -> str:
        """Under which its features lie."""
        return self.first.key.encoding_fingerprint


class CellRunner:
    """Runs the cells of one job with one Trainer, one module and one store.

    Three things happen at once: a thread reads and corrupts the next batches, the caller's thread
    encodes, and another classifies and writes what is encoded. A cell counts once it is written.

    Of several processes that share its cells the first decides what is missing, classifies and
    writes; each of them encodes its share of the images. Other jobs on the same store compute other
    cells meanwhile: each claims an encoding before it begins, skips what another holds, and comes
    back in the end to what is then not finished, and not held or held for too long. With
    `resume=False` nothing is claimed, and everything computed.

    Attributes:
        failed: Cells that could not be computed, each with its reason; the others went on.
    """

    def __init__(
        self,
        experiment: Experiment,
        resources: Resources,
        store: Store,
        ranks: Ranks = ALONE,
    ) -> None:
        self.experiment = experiment
        self.ranks = ranks
        self.resources = resources
        self.store = store
        self.failed: dict[CellSpec, str] = {}
        self._claims = Claims(store.root, sharing=experiment.resume and ranks.rank == 0)
        self._taken: deque[Encoding] = deque()
        self._batch_size: int | None = None
        self._short = False  # of memory: keep none but what is worked on
        self._module: EncodeImages | None = None
        self._trainer: Trainer | None = None

    @property
    def device(self) -> str:
        """Name of the device that cells were encoded on; of the CPU if none was."""
        return describe_device(
            None if self._trainer is None else self._trainer.strategy.root_device
        )

    def run(self, plans: Sequence[DatasetPlan], told: Told = lambda done: None) -> None:
        """Finish each cell of the plan; those with equal images are encoded once.

        A cell whose numbers are not finite is left out, with the reason in `failed`, and the others
        go on.

        Args:
            plans: What to run.
            told: Hears of each cell when it is in the store: of those found there first.

        Raises:
            StoreError: If a finished cell is damaged, or the store cannot be written.
            ConfigurationError: If the Trainer cannot be made or leaves images out, the model has
                other classes, or memory does not suffice.
            Exception: What a cell of several processes raised; of one process, it is in `failed`.
        """
        first = self.ranks.rank == 0
        with self._claims:
            left = []
            for plan in plans:
                with InOrder() as behind:
                    to_encode = self._to_encode(plan, behind, told) if first else []
                    left.append(self._encode_ours(plan, to_encode, behind, told))
            if self.ranks.agree(["more"] if any(left) else []):
                self._wait(plans, left, told)

    def _wait(self, plans: Sequence[DatasetPlan], left: list[list[Encoding]], told: Told) -> None:
        """Wait for cells that others compute, and compute what they let go of."""
        count = sum(len(encoding.missing) for encodings in left for encoding in encodings)
        log.info("waiting for %s that other processes compute", counted(count, "cell"))
        since, before = time.monotonic(), sum(map(len, left))
        while self.ranks.agree(["more"] if any(left) else []):
            time.sleep(PAUSE)
            if time.monotonic() - since > PATIENCE:
                log.warning("no cell of theirs for %.0f s: computing them here", PATIENCE)
                self._claims.ignore()
            with InOrder() as behind:
                left = [
                    self._encode_ours(plan, self._not_found(encodings, told), behind, told)
                    for plan, encodings in zip(plans, left, strict=True)
                ]
            now = sum(map(len, left))
            if now < before:
                since, before = time.monotonic(), now

    def complain(self) -> None:
        """Raise what stopped cells, once the others are done.

        Raises:
            MedRobustError: With the number of those cells and the first one's reason.
        """
        if self.failed:
            spec, reason = next(iter(self.failed.items()))
            raise MedRobustError(
                f"{counted(len(self.failed), 'cell')} failed, {spec} first: "
                f"{reason.rstrip('.')}. The others are kept; the same command tries these again."
            )

    def _fail(self, cells: Iterable[PlannedCell], error: Exception) -> None:
        """Note that cells failed, and why; what fails every cell alike is raised instead.

        Raises:
            StoreError: As it was raised, likewise a ConfigurationError.
            Exception: As it was raised, if other processes wait for this one.
        """
        if isinstance(error, StoreError | ConfigurationError) or self.ranks.world > 1:
            raise error
        reason = error.for_records if isinstance(error, MedRobustError) else _reason(error)
        for cell in cells:
            self.failed[cell.key.spec] = reason
            log.error("%s failed: %s", cell.key.spec, reason)
        log.debug("the cell failed by", exc_info=error)

    def _to_encode(self, plan: DatasetPlan, behind: "InOrder", told: Told) -> list[Encoding]:
        """Write what needs no encoding, and return what does."""
        self.store.write_data(plan.record)
        to_encode = []
        for encoding in self._wanted(plan, told):
            if self._keeps_features(encoding.fingerprint):
                behind(self._classify_kept, plan.image_set, encoding, told)
            else:
                to_encode.append(encoding)
        return to_encode

    def _wanted(self, plan: DatasetPlan, told: Told) -> list[Encoding]:
        """Tell of the cells that are finished, and group the others by their encoding."""
        missing: dict[str, list[tuple[PlannedCell, Head]]] = {}
        first: dict[str, PlannedCell] = {}
        for cell in plan.cells:
            encoding = cell.key.encoding_fingerprint
            first.setdefault(encoding, cell)
            cells = missing.setdefault(encoding, [])
            if self.experiment.resume and (self.store.has(cell.key) or self.store.adopt(cell.key)):
                told(Done(cell, computed=False, seconds=0.0))
            else:
                cells.append((cell, self.resources.head(self.experiment, dict(cell.key.head))))
        return [
            Encoding(first[encoding], tuple(cells))
            for encoding, cells in missing.items()
            if cells or (self.experiment.keep_features and not self._keeps_features(encoding))
        ]

    def _not_found(self, encodings: Iterable[Encoding], told: Told) -> list[Encoding]:
        """Tell of the cells that others have finished meanwhile, and return what is left."""
        left = []
        for encoding in encodings:
            missing = []
            for cell, head in encoding.missing:
                if self.store.has(cell.key):
                    told(Done(cell, computed=False, seconds=0.0))
                else:
                    missing.append((cell, head))
            rest = replace(encoding, missing=tuple(missing))
            left += [] if self._finished(rest) else [rest]
        return left

    def _finished(self, encoding: Encoding) -> bool:
        """Say whether the store has all that an encoding is wanted for."""
        cells = all(self.store.holds(c.key.spec, c.key.fingerprint) for c, _ in encoding.missing)
        return cells and (
            not self.experiment.keep_features or self._keeps_features(encoding.fingerprint)
        )

    def _take(self, encoding: Encoding) -> bool:
        """Claim an encoding that is not finished, and that nobody else computes."""
        if not self._claims.take(encoding.fingerprint):
            return False
        if self.experiment.resume and self.ranks.rank == 0 and self._finished(encoding):
            self._claims.drop(encoding.fingerprint)
            return False
        return True

    def _keeps_features(self, encoding: str) -> bool:
        return self.experiment.resume and self.store.has_features(encoding)

    def _encode_ours(
        self, plan: DatasetPlan, wanted: Sequence[Encoding], behind: "InOrder", told: Told
    ) -> list[Encoding]:
        """Encode what nobody else does, and return the rest.

        Several processes that share each cell agree on what to encode before they begin; one
        process claims a cell when it begins with it.
        """
        if self.ranks.world == 1:
            return self._encode(plan.image_set, wanted, behind, told)
        ours = [encoding for encoding in wanted if self._take(encoding)]
        left = [encoding for encoding in wanted if encoding not in ours]
        agreed = self.ranks.agree([encoding.fingerprint for encoding in ours])
        if self.ranks.rank != 0:
            cells = {cell.key.encoding_fingerprint: cell for cell in plan.cells}
            ours = [Encoding(cells[encoding], ()) for encoding in agreed]
        self._encode(plan.image_set, ours, behind, told)
        return left

    def _encode(
        self, image_set: ImageSet, wanted: Sequence[Encoding], behind: "InOrder", told: Told
    ) -> list[Encoding]:
        """Encode in one test run what can be claimed, and return the rest.

        Out of memory, it goes on with batches of half the size.
        """
        waiting = list(wanted)
        refused: list[Encoding] = []
        while waiting:
            if self.ranks.world == 1 and not self._take(waiting[0]):
                refused.append(waiting.pop(0))
                continue
            size = self._images_at_once()
            self._taken.clear()
            try:
                self._test(image_set, waiting, refused, behind, told)
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise ConfigurationError(
                        f"memory does not suffice for model.micro_batch="
                        f"{self.experiment.model.micro_batch} of {self.experiment.model.name!r}: "
                        f"set a smaller one. It changes the last digits, so that its cells are "
                        f"others."
                    ) from error
                self._batch_size, self._short = size // 2, True
            except Exception as error:
                encoding = next(iter((*self._taken, *waiting)), wanted[-1])
                if encoding in waiting:
                    waiting.remove(encoding)
                self._claims.drop(encoding.fingerprint)
                self._fail([cell for cell, _ in encoding.missing] or [encoding.first], error)
                self._trainer = None
                continue
            else:
                continue
            log.warning("out of memory with batch_size=%d: going on with %d.", size, size // 2)
            torch.cuda.empty_cache()
        return refused

    def _images_at_once(self) -> int:
        if self._batch_size is None:
            on_gpu = self._ready_trainer().strategy.root_device.type == "cuda"
            self._batch_size = self.experiment.images_at_once(on_gpu=on_gpu)
        return self._batch_size

    def _test(
        self,
        image_set: ImageSet,
        waiting: list[Encoding],
        refused: list[Encoding],
        behind: "InOrder",
        told: Told,
    ) -> None:
        """Encode what is waiting; each leaves the list when its features are there.

        Args:
            image_set: Clean images.
            waiting: What is left to encode; empty afterwards.
            refused: Gets what others compute.
            behind: Writes.
            told: Hears of cells.
        """
        trainer, module = self._ready_trainer(), self._ready_module()
        rows = self.ranks.rows(len(image_set), self.experiment.model.micro_batch)
        started = time.perf_counter()

        def finished(encoded: Encoded) -> None:
            nonlocal started
            whole = self.ranks.join(encoded, len(image_set), self.experiment.model.micro_batch)
            now = time.perf_counter()
            seconds, started = now - started, now
            encoding = self._taken.popleft()
            waiting.remove(encoding)
            if whole is not None:
                behind(self._finish, image_set, encoding, whole, seconds, told)

        def wanted(encoding: Encoding) -> bool:
            took = self.ranks.world > 1 or self._take(encoding)
            if not took:
                waiting.remove(encoding)
            (self._taken if took else refused).append(encoding)
            return took

        if not len(rows):  # more processes than micro-batches
            self._taken.extend(waiting)
            while waiting:
                finished(Encoded(torch.empty(0)))
            return
        module.begin(finished)
        batches = CorruptedBatches(
            [
                replace(
                    self._pass(image_set, encoding.first, rows), wanted=partial(wanted, encoding)
                )
                for encoding in waiting
            ],
            batch_size=self._images_at_once(),
            num_workers=self.experiment.num_workers,
            device=trainer.strategy.root_device,
            kept_bytes=0 if self._short else kept_bytes(trainer.strategy.root_device),
        )
        try:
            with closing(batches), quiet_lightning():
                trainer.test(module, batches, verbose=False)
        except SystemExit as stopped:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stopped
        if waiting:
            raise ConfigurationError(
                f"only {module.rows_seen} of {len(image_set)} images were encoded: take "
                f"trainer.fast_dev_run or trainer.limit_test_batches away, and use dataset.limit "
                f"for a part of a data set. The cell was not stored."
            )

    def _pass(self, image_set: ImageSet, cell: PlannedCell, rows: Int64Array) -> Pass:
        """Say what is read, the clean images or published corrupted ones, and what corrupts it."""
        wanted = self._rows_to_show(image_set)
        show = frozenset(place for place, row in enumerate(rows.tolist()) if row in wanted)
        severity = cell.key.spec.severity
        whole: Callable[[], ImageSet] = partial(_given, image_set)
        corrupt = None
        if isinstance(cell.corruption, FilesColumn):
            whole = partial(cell.corruption.images, image_set, severity)
        elif cell.corruption is not None:
            corrupt = partial(
                _corrupt_batch, cell.corruption, severity, self.experiment.seed, image_set.stream
            )
        clean = not isinstance(cell.corruption, FilesColumn)
        return Pass(partial(_share, whole, rows), len(rows), corrupt, show, clean)

    def _classify_kept(self, image_set: ImageSet, encoding: Encoding, told: Told) -> None:
        """Classify features of the store; the pictures are those of the run that kept them."""
        kept = self.store.read_features(encoding.fingerprint)
        assert kept is not None
        self._write_cells(image_set, encoding, Encoded(torch.from_numpy(kept)), 0.0, told)

    def _finish(
        self,
        image_set: ImageSet,
        encoding: Encoding,
        encoded: Encoded,
        seconds: float,
        told: Told,
    ) -> None:
        """Classify what was encoded, and write features and cells."""
        features = encoded.features.float().cpu()
        if self.experiment.keep_features and bool(features.isfinite().all()):
            self.store.write_features(
                encoding.fingerprint, features.numpy(), replace=not self.experiment.resume
            )
        self._write_cells(image_set, encoding, Encoded(features, encoded.shown), seconds, told)
        self._claims.drop(encoding.fingerprint)  # after an error at the end of the run

    def _write_cells(
        self,
        image_set: ImageSet,
        encoding: Encoding,
        encoded: Encoded,
        seconds: float,
        told: Told,
    ) -> None:
        pictures = {f"row-{row}.png": _png(image) for row, image in encoded.shown.items()}
        for cell, head in encoding.missing:
            try:
                logits = classify(encoded.features, head)
            except Exception as error:
                self._fail([cell], error)
                continue
            self._check_classes(logits, image_set)
            self.store.write(
                cell.key,
                logits.numpy(),
                {**self._record, "seconds": round(seconds, 4)},
                examples=pictures,
                replace=not self.experiment.resume,
            )
            told(Done(cell, computed=True, seconds=seconds))

    @cached_property
    def _record(self) -> dict[str, Any]:
        """What the JSON of each cell says of this run."""
        record = {
            "status": "done",
            "config": without_paths(self.experiment.config),
            "versions": versions(),
            "device": self.device,
            "load_report": asdict(self.resources.model(self.experiment).report),
        }
        if isinstance(self.experiment.adapter, Tuned):
            classifies = self.resources.classifies(self.experiment)
            record["adaptation"] = self.experiment.adapter.origin() | {
                "base_classifies": classifies
            }
        return record

    def _check_classes(self, logits: Tensor, image_set: ImageSet) -> None:
        """Refuse what is not one column a class, before it is stored."""
        given, wanted = logits.shape[1], len(image_set.class_names)
        if given != wanted:
            raise ConfigurationError(
                f"model {self.experiment.model.name!r} gives {given} logits an image, and data set "
                f"{image_set.name!r} has {wanted} classes: it was made for other classes."
            )

    def _rows_to_show(self, image_set: ImageSet) -> frozenset[int]:
        allowed = self.experiment.examples
        if allowed is None:
            allowed = image_set.origin != "own"
        if not allowed:
            return frozenset()
        return frozenset(len(image_set) * part // EXAMPLES for part in range(EXAMPLES))

    def _ready_module(self) -> EncodeImages:
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


class InOrder:
    """Runs calls in a thread, in the order given, while the caller goes on.

    The caller goes on when the calls before the last one are done: a kill loses what the last one
    was to write, and no more. The first error is raised at the next call, or on leaving; calls that
    were given are run all the same, since what one loses another need not.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medrobust-behind")
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run `function(*arguments)` when those before it are done.

        Raises:
            Exception: As an earlier call raised it; this one is run.
        """
        self._waiting.append(self._thread.submit(function, *arguments))
        while len(self._waiting) > 1:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all calls; an error of the caller goes before one of theirs."""
        self._thread.shutdown()
        if kind is None:
            for call in self._waiting:
                call.result()


def _reason(error: Exception) -> str:
    """Say in one line what a library raised."""
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {first}"


def _given(image_set: ImageSet) -> ImageSet:
    return image_set


def _share(whole: Callable[[], ImageSet], rows: Int64Array) -> ImageSet:
    image_set = whole()
    if len(rows) == len(image_set):
        return image_set
    return image_set.take(rows, fingerprint=image_set.fingerprint)


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
