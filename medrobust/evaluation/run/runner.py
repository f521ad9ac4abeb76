"""The loop over the cells of a job, and what it does out of memory, after errors, beside others."""

import logging
import time
from collections.abc import Sequence

import torch

from medrobust.base.wording import agreeing, counted, part_of
from medrobust.engine.passes import Encoded
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.left_overs import sweep_store
from medrobust.evaluation.locks import Claims
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.ranks import ALONE, Ranks
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError

from .encoder import Encoder
from .encoding import OnCell
from .failures import FailedCell, Failures
from .finished import FinishedCells
from .passes import EncodingPass
from .pictures import rows_to_show
from .queue import EncodingQueue
from .streamed import Streams
from .writer import CellWriter

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds to the next look at cells that other processes compute, when nothing else is left."""

PATIENCE = 600.0
"""Seconds without a new cell of theirs after which this process computes them too: one that stands
still must not stop the others."""


class CellRunner:
    """Runs the cells of one job with one Trainer, one module and one store.

    Three things happen at once: a thread reads and corrupts the next batches, the caller's thread
    encodes, and another classifies and writes what is encoded. A cell counts once it is written.

    Of several processes that share its cells the first decides what is missing, classifies and
    writes; each of them encodes its share of the images. Other jobs on the same store compute other
    cells meanwhile: each claims an encoding before it begins, skips what another holds, and comes
    back in the end to what is then not finished, and not held or held for too long. With
    `resume=False` nothing is claimed, and everything computed.
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
        self._encoder = Encoder(experiment.model, experiment.how, resources)
        self._claims = Claims(store.root, sharing=experiment.where.resume and ranks.rank == 0)
        self._failures = Failures(alone=ranks.world == 1)

    @property
    def device(self) -> str:
        """Name of the device that cells were encoded on; of the CPU if none was."""
        return self._encoder.device

    @property
    def failed(self) -> list[FailedCell]:
        """Cells that could not be computed, each with its reason; the others went on."""
        return self._failures.cells

    def complain(self) -> None:
        """Raise what stopped cells, once the others are done.

        Raises:
            MedRobustError: With the number of those cells and reasons, and the first one's reason.
        """
        self._failures.complain()

    def run(self, plans: Sequence[DatasetPlan], on_cell: OnCell = lambda done: None) -> None:
        """Finish each cell of the plan; those with equal images are encoded once.

        A cell whose numbers are not finite is left out, with the reason in `failed`, and the others
        go on.

        Args:
            plans: What to run.
            on_cell: Hears of each cell when it is in the store: of those found there first.

        Raises:
            StoreError: If a finished cell is damaged, or the store cannot be written.
            ConfigurationError: If the Trainer cannot be made or leaves images out, the model has
                other classes, or memory does not suffice.
            Exception: What a cell of several processes raised; of one process, it is in `failed`.
        """
        finished = FinishedCells(
            self.experiment.model, self.experiment.where, self.resources, self.store, on_cell
        )
        writer = CellWriter(
            self.experiment,
            self.resources,
            self.store,
            self._claims,
            self._encoder,
            self._failures,
            on_cell,
        )
        queues = [EncodingQueue(plan, finished, self._claims, self.ranks) for plan in plans]
        with self._claims:
            if self.ranks.rank == 0:
                sweep_store(self.store.root, self._claims)
            for queue in queues:
                with writer.behind():
                    self._begin(queue, writer)
            if self._any_refused(queues):
                self._wait(queues, writer)

    def _begin(self, queue: EncodingQueue, writer: CellWriter) -> None:
        """Write what needs no encoding, and encode what nobody else does."""
        if self.ranks.rank == 0:
            self.store.write_data(queue.plan.record)
        for encoding in queue.fill():
            writer.write_from_features(encoding)
        self._encode(queue, writer)

    def _any_refused(self, queues: Sequence[EncodingQueue]) -> bool:
        """Say, in every process that shares the cells, whether the first one left any to others."""
        return bool(self.ranks.agree(["more"] if any(queue.refused for queue in queues) else []))

    def _wait(self, queues: Sequence[EncodingQueue], writer: CellWriter) -> None:
        """Wait for cells that others compute, and compute what they let go of."""
        count = sum(len(encoding.missing) for queue in queues for encoding in queue.refused)
        log.info("waiting for %s that other processes compute", counted(count, "cell"))
        since, before = time.monotonic(), sum(len(queue.refused) for queue in queues)
        while self._any_refused(queues):
            time.sleep(PAUSE)
            if time.monotonic() - since > PATIENCE:
                log.warning("no cell of theirs for %.0f s: computing them here", PATIENCE)
                self._claims.ignore()
            with writer.behind():
                for queue in queues:
                    queue.refill()
                    self._encode(queue, writer)
            now = sum(len(queue.refused) for queue in queues)
            if now < before:
                since, before = time.monotonic(), now

    def _encode(self, queue: EncodingQueue, writer: CellWriter) -> None:
        """Encode what can be claimed, in one test run unless an error interrupts it.

        Out of memory, it goes on with batches of half the size.
        """
        while queue.anything_to_begin():
            size = self._encoder.batch_size  # no Trainer at all is no failure of a cell
            short = False
            try:
                self._test(queue, writer)
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise self._too_large() from error
                short = True
            except Exception as error:
                self._failures.note(queue.give_up().cells, error)
                self._encoder.forget_trainer()
            if short:  # no sooner: the error holds on to the batch
                log.warning("out of memory with batch_size=%d: going on with %d.", size, size // 2)
                self._encoder.go_on_with(size // 2)

    def _too_large(self) -> ConfigurationError:
        model = self.experiment.model.source
        return ConfigurationError(
            f"memory does not suffice for model.micro_batch={model.micro_batch} of "
            f"{model.name!r}: set a smaller one. It changes the last digits, so that its cells are "
            f"others."
        )

    def _test(self, queue: EncodingQueue, writer: CellWriter) -> None:
        """Encode what is waiting; each leaves the queue when its features are there."""
        image_set = queue.plan.image_set
        passes = self._passes(queue, writer)
        self._encoder.load()
        writer.start_clock()
        if passes[0].count:
            self._encoder.encode(passes)
        else:  # more processes than micro-batches
            for one in passes:
                one.wanted()
                one.finished(Encoded(torch.empty(0)))
        if queue.waiting:
            seen = self._encoder.rows_seen
            raise ConfigurationError(
                f"only {part_of(seen, len(image_set), 'image')} {agreeing(seen, 'was')} encoded: "
                f"take trainer.fast_dev_run or trainer.limit_test_batches away, and use "
                f"dataset.limit for a part of a data set. The cell was not stored."
            )

    def _passes(self, queue: EncodingQueue, writer: CellWriter) -> list[EncodingPass]:
        image_set, seed = queue.plan.image_set, self.experiment.data.seed
        micro_batch = self.experiment.model.source.micro_batch
        rows = self.ranks.rows(len(image_set), micro_batch)
        shown = rows_to_show(image_set, asked=self.experiment.where.examples)
        show = frozenset(place for place, row in enumerate(rows.tolist()) if row in shown)
        plain = [
            EncodingPass(
                encoding,
                queue,
                writer,
                self.ranks,
                rows,
                show,
                seed,
                micro_batch,
            )
            for encoding in queue.waiting
        ]
        streams = Streams()
        return [one for whole in plain for one in streams.passes(whole)]
