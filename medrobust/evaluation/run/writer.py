"""Encoded images -> features and cells of the store, in a thread of its own."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Self, TypeAlias

import torch
from numpy.typing import NDArray

from medrobust.base.redaction import without_paths
from medrobust.base.targets import MaskedLabels, Masks
from medrobust.engine.passes import Encoded
from medrobust.evaluation.environment import versions
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.locks import Claims
from medrobust.evaluation.plan import PlannedCell
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.tasks.base import ONLINE, Head, NotedHead, SplitHead
from medrobust.tasks.patches import MaskHead

from .encoder import Encoder
from .encoding import Done, Encoding, OnCell
from .failures import Failures
from .masks import MovedMasks
from .pictures import png

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class CellWriter:
    """Answers from what is encoded, and writes features and cells, behind the one who encodes.

    Args:
        experiment: The job.
        resources: Keeps its model.
        store: Where the cells go.
        claims: Those of what is written are dropped.
        encoder: Knows the device.
        failures: Notes the cells that cannot be classified.
        on_cell: Hears of each cell that is written, in the writer's thread.
    """

    def __init__(
        self,
        experiment: Experiment,
        resources: Resources,
        store: Store,
        claims: Claims,
        encoder: Encoder,
        failures: Failures,
        on_cell: OnCell,
    ) -> None:
        self._experiment = experiment
        self._resources = resources
        self._task, self._side = experiment.model.task, resources.side(experiment.model)
        self._store = store
        self._claims = claims
        self._encoder = encoder
        self._failures = failures
        self._on_cell = on_cell
        self._since = time.perf_counter()

    @contextmanager
    def behind(self) -> Iterator[None]:
        """Write in a thread while the block runs, and wait for all of it in the end.

        Raises:
            StoreError: If the store cannot be written.
            ConfigurationError: If the model has other classes.
        """
        with InOrder() as self._calls:
            yield

    def start_clock(self) -> None:
        """Count the seconds of the next encoding from now on."""
        self._since = time.perf_counter()

    def write(self, encoding: Encoding, encoded: Encoded) -> None:
        """Write what was encoded since the clock was started, or since the last one.

        Raises:
            Exception: As an earlier one raised it; this one is written.
        """
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._calls(self._finish, encoding, encoded, seconds)

    def write_parts(self, encoding: Encoding, parts: Sequence[tuple[Encoding, Encoded]]) -> None:
        """Write the cells of one pass whose answers were encoded together, since the last one.

        Args:
            encoding: Of the pass: claimed until all of them are written.
            parts: A cell each, with its own answers; each counts its share of the seconds.

        Raises:
            Exception: As an earlier one raised it; these are written.
        """
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._calls(self._finish_parts, encoding, parts, seconds / max(len(parts), 1))

    def _finish_parts(
        self, encoding: Encoding, parts: Sequence[tuple[Encoding, Encoded]], seconds: float
    ) -> None:
        for part, encoded in parts:
            whole = replace(encoded, features=encoded.features.float().cpu())
            self._write_cells(part, whole, seconds)
        self._claims.drop(encoding.fingerprint)

    def write_from_features(self, encoding: Encoding) -> None:
        """Write the cells of an encoding whose features the store keeps.

        Their pictures are those of the run that kept them.

        Raises:
            Exception: As an earlier one raised it; this one is written.
        """
        self._calls(self._write_kept, encoding)

    def _write_kept(self, encoding: Encoding) -> None:
        kept = self._store.read_features(encoding.fingerprint)
        assert kept is not None
        self._write_cells(encoding, Encoded(torch.from_numpy(kept)), 0.0)

    def _finish(self, encoding: Encoding, encoded: Encoded, seconds: float) -> None:
        features = encoded.features.float().cpu()
        if self._keeps(encoding) and bool(features.isfinite().all()):
            self._store.write_features(
                encoding.fingerprint, features.numpy(), replace=not self._experiment.where.resume
            )
        self._write_cells(encoding, replace(encoded, features=features), seconds)
        self._claims.drop(encoding.fingerprint)  # after an error at the end of the run

    def _write_cells(self, encoding: Encoding, encoded: Encoded, seconds: float) -> None:
        pictures = {f"row-{row}.png": png(image) for row, image in encoded.shown.items()}
        for cell, head in encoding.missing:
            try:
                arrays = self._outputs(encoding, encoded, cell, head)
            except Exception as error:
                several = len(encoding.missing) > 1
                name = str(cell.key.head.get("name", "")) if several else ""
                self._failures.note([cell], error, name)
                continue
            self._task.check(arrays, encoding.image_set, self._side)
            notes = dict(encoded.notes)
            if isinstance(head, NotedHead):
                notes |= head.notes_of(encoded.features, encoding.image_set)
            self._write_cell(cell, arrays, pictures, seconds, notes)

    def _keeps(self, encoding: Encoding) -> bool:
        """Whether features are kept: answers of a method that adapts the model are none."""
        return self._experiment.where.keep_features and encoding.stream_head is None

    def _outputs(
        self, encoding: Encoding, encoded: Encoded, cell: PlannedCell, head: Head
    ) -> Arrays:
        """Ask a head for its arrays: of features, of rows that it kept, or of these and masks."""
        if (error := encoded.failed.get(cell.key.fingerprint)) is not None:
            raise error
        kept = encoded.rows.get(cell.key.fingerprint)
        if kept is None and isinstance(head, SplitHead):
            return head.outputs_of(encoded.features, encoding.image_set)
        if kept is None:
            return head.outputs(encoded.features)
        if not isinstance(head, MaskHead):
            return head.outputs(kept)
        image_set, severity = encoding.image_set, cell.key.spec.severity
        if not isinstance(image_set.target, MaskedLabels | Masks):
            return head.judged(kept, None)
        seed = self._experiment.data.seed
        return head.judged(kept, MovedMasks(image_set, cell.corruption, severity, seed))

    def _write_cell(
        self,
        cell: PlannedCell,
        arrays: Arrays,
        pictures: Mapping[str, bytes],
        seconds: float,
        notes: Mapping[str, Any],
    ) -> None:
        self._store.write(
            cell.key,
            arrays,
            {**self._record, **self._adaptation(cell, notes), "seconds": round(seconds, 4)},
            examples=pictures,
            replace=not self._experiment.where.resume,
        )
        self._on_cell(Done(cell, computed=True, seconds=seconds))

    @cached_property
    def _record(self) -> dict[str, Any]:
        """What the JSON of each cell says of this run."""
        record = {
            "status": "done",
            "config": without_paths(self._experiment.config),
            "versions": versions(),
            "device": self._encoder.device,
            "load_report": asdict(self._resources.model(self._experiment.model).report),
        }
        scale = getattr(self._resources.model(self._experiment.model), "logit_scale", None)
        if scale is not None:
            record["logit_scale"] = float(scale)  # of a model with a text side: cosine to logit
        return record

    def _adaptation(self, cell: PlannedCell, notes: Mapping[str, Any]) -> dict[str, Any]:
        """What the JSON of a cell says of how its answers were adapted; nothing where none were."""
        online = cell.key.head.get(ONLINE)
        origin = self._experiment.model.adapter.origin_with(online)
        if origin is None:
            return {}
        answers = self._task.answers_untuned(self._side)
        return {"adaptation": {**origin, "base_classifies": answers, **notes}}


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
