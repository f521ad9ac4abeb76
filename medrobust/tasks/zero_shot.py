"""Zero-shot evaluation: one cell a call of `Trainer.test`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from medrobust.adapters.linear_probe import Probe
from medrobust.exceptions import MedRobustError, NotFiniteError
from medrobust.models.encoding import ImageEncoder, MicroBatcher
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead
from medrobust.tasks.datamodule import ImageBatch
from medrobust.types import UInt8Array, UInt8Batch

Head: TypeAlias = ZeroShotHead | IdentityHead | Probe

Corrupt: TypeAlias = Callable[[UInt8Batch, Tensor], UInt8Batch]
"""(images uint8 (n, C, H, W), index (n,)) -> corrupted images of the same shape and dtype."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one cell leaves behind.

    Attributes:
        features: float32 (N, D) on the CPU, in the order of the split.
        logits: float32 (N, K) on the CPU, in the same order.
        shown: Row -> the corrupted image, uint8 (C, H, W), for the rows asked for.
    """

    features: Tensor
    logits: Tensor
    shown: Mapping[int, UInt8Array] = field(default_factory=dict)


class ZeroShot(LightningModule):
    """Corrupts, preprocesses and encodes on the device; classifies by class texts.

    One module serves all cells of a model: `begin` names the corruption and the head of the next
    cell, `Trainer.test` runs it, `result` hands it over. Nothing is aggregated per batch, and the
    module knows nothing of the store.

    Args:
        model: Frozen encoder, in eval mode.
        micro_batch: Images a forward pass, fixed.
    """

    def __init__(self, model: torch.nn.Module, micro_batch: int) -> None:
        super().__init__()
        self.model = model
        self.micro_batch = micro_batch
        self._corrupt: Corrupt | None = None
        self._head: Head | None = None
        self._wanted: frozenset[int] = frozenset()
        self._begin_pass()

    def begin(
        self,
        corrupt: Corrupt | None,
        head: Head,
        *,
        show: frozenset[int] = frozenset(),
    ) -> None:
        """Name the next cell: its corruption (None for clean), its head, the rows to show."""
        self._corrupt, self._head, self._wanted = corrupt, head, show

    def _begin_pass(self) -> None:
        self._features: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._shown: dict[int, UInt8Array] = {}

    def on_test_epoch_start(self) -> None:
        """Forget the last cell."""
        self._begin_pass()
        self._batcher = MicroBatcher(self._encoder, self.micro_batch)

    @property
    def _encoder(self) -> ImageEncoder:
        return self.model  # type: ignore[return-value]  # a Module by type, an encoder by contract

    def test_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Corrupt one batch and encode the micro-batches that it fills."""
        corrupted = batch.images
        if self._corrupt is not None:
            corrupted = self._corrupt(batch.images, batch.index)
        for position, row in enumerate(batch.rows.tolist()):
            if row in self._wanted:
                self._shown[row] = corrupted[position].cpu().numpy().copy()
        self._rows.append(batch.rows.cpu())
        self._features += self._batcher.push(corrupted)

    def on_test_epoch_end(self) -> None:
        """Encode what is left over."""
        self._features += self._batcher.flush()

    def transfer_batch_to_device(
        self, batch: ImageBatch, device: torch.device, dataloader_index: int
    ) -> ImageBatch:
        """Move images and index; the rows stay, they are only counted."""
        return ImageBatch(
            batch.images.to(device, non_blocking=True),
            batch.index.to(device, non_blocking=True),
            batch.rows,
        )

    def result(self) -> Encoded:
        """Hand over the cell that `Trainer.test` has run.

        Raises:
            NotFiniteError: If features or logits are not finite.
            MedRobustError: If rows are not as expected.
        """
        rows = torch.cat(self._rows)
        features = torch.cat(self._features).float().cpu()
        if self._head is None or not torch.equal(rows, torch.arange(len(features))):
            raise MedRobustError("rows of a split were lost or doubled: this is an error of ours.")
        return _classified(features, self._head, self._shown)

    def classify(
        self, features: Tensor, head: Head, *, shown: Mapping[int, UInt8Array] | None = None
    ) -> Encoded:
        """Classify features, float32 (N, D) on the CPU, that were kept, without encoding again.

        Raises:
            NotFiniteError: If features or logits are not finite.
        """
        return _classified(features, head, shown or {})


def _classified(features: Tensor, head: Head, shown: Mapping[int, UInt8Array]) -> Encoded:
    logits = head.cpu().logits(features)  # one device and one shape for every way to get here
    for name, values in (("features", features), ("logits", logits)):
        broken = int((~torch.isfinite(values)).any(dim=1).sum())
        if broken:
            raise NotFiniteError(
                f"{name} of {broken} of {len(values)} images are not finite: the weights, the "
                f"precision or the preprocessing do not suit these images. The cell was not stored."
            )
    return Encoded(features, logits, dict(shown))
