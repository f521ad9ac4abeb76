"""Zero-shot evaluation: one call of `Trainer.test` for many cells."""

from collections.abc import Sequence

import torch
from pytorch_lightning import LightningModule

from medrobust.engine import streams
from medrobust.exceptions import MedRobustError
from medrobust.models.encoding import ImageEncoder, MicroBatcher
from medrobust.types import UInt8Array

from .allocator import keep_freed_memory
from .filling import Filling
from .loader import CorruptedBatch
from .passes import Encoded, Pass
from .patch_rows import PatchRows


class EncodeImages(LightningModule):
    """Preprocesses and encodes corrupted images on the device.

    One module serves all passes of a model: `begin` names the next ones, which get their features,
    and `Trainer.test` runs over their batches, one pass after the other. Nothing is aggregated per
    batch, and the module knows nothing of heads and of the store.

    Args:
        model: Frozen encoder, in eval mode.
        micro_batch: Images a forward pass, fixed.
    """

    def __init__(self, model: torch.nn.Module, micro_batch: int) -> None:
        super().__init__()
        self.model = model
        self.micro_batch = micro_batch
        self._passes: Sequence[Pass] = ()
        self._begin_pass()

    def begin(self, passes: Sequence[Pass]) -> None:
        """Name the passes whose batches come next; each is given its features when it ends."""
        self._passes = passes

    def _begin_pass(self) -> None:
        self._features, self._rows = Filling(0), Filling(0)
        self._shown: dict[int, UInt8Array] = {}
        self._batcher: MicroBatcher | None = None
        self._patches = PatchRows({}, 0)

    def _begun(self, one: Pass) -> MicroBatcher:
        """Return what encodes the pass, made for its first batch."""
        if self._batcher is None:
            self._features, self._rows = Filling(one.count), Filling(one.count)
            self._patches = PatchRows(one.patch_readers, one.count)
            encoder = one.encoder(self._encoder)
            self._batcher = MicroBatcher(encoder, self.micro_batch, self._patches.watch)
        return self._batcher

    @property
    def rows_seen(self) -> int:
        """Images of the pass that has begun and not ended."""
        return len(self._rows)

    def on_test_epoch_start(self) -> None:
        """Forget a pass that did not end."""
        keep_freed_memory()
        self._begin_pass()
        self._stream = streams.encoding(self.device)
        if self._stream is not None:  # the weights have been moved in another
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            for weights in (*self.parameters(), *self.buffers()):
                weights.record_stream(self._stream)  # after an error they go while it reads them

    @property
    def _encoder(self) -> ImageEncoder:
        return self.model  # type: ignore[return-value]  # a Module by type, an encoder by contract

    def test_step(self, batch: CorruptedBatch, batch_index: int) -> None:
        """Encode the micro-batches that one batch fills, and what is left where a pass ends.

        Raises:
            MedRobustError: If rows are not as expected.
        """
        batcher = self._begun(self._passes[batch.number])
        self._rows.add(batch.rows)
        self._shown |= batch.shown
        with streams.inside(self._stream):
            for features in batcher.push(batch.wait()):
                self._features.add(features)
            for features in batcher.flush() if batch.last else ():
                self._features.add(features)
        if batch.last:
            self._hand_over(self._passes[batch.number])

    def transfer_batch_to_device(
        self, batch: CorruptedBatch, device: torch.device, dataloader_index: int
    ) -> CorruptedBatch:
        """Leave the batch where it is: it was moved ahead of its use."""
        return batch

    def _hand_over(self, one: Pass) -> None:
        features, rows = self._features.rows(), self._rows.rows()
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)
        if not torch.equal(rows, torch.arange(len(features))):
            raise MedRobustError("rows of a split were lost or doubled: this is an error of ours.")
        kept, failed = self._patches.joined(), self._patches.failed
        encoded = Encoded(features, self._shown, kept, failed=failed)
        self._begin_pass()
        one.finished(encoded)
