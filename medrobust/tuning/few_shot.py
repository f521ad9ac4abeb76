"""Few-shot tuning of the image side against frozen class texts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from medrobust.adapters import Tunable
from medrobust.base.wording import agreeing, part_of
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.allocator import keep_freed_memory
from medrobust.keys import derive_key
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead

from .guards import drawing_from, frozen_digests, not_finite, recompute_blocks
from .joint_classes import Head, Joint, joint_classes
from .objective import Objective, Seen, check_masks_stay, read_blocks, seen, wants_masks
from .recipe import Tuning, TuningError
from .shots import (
    SelectionOrder,
    ShotBatch,
    ShotLoader,
    ShotOrder,
    ShotPart,
    Shots,
    shot_loader,
)
from .weighted import asked_objectives, minimised

STATE = "medrobust"
"""Entry of a checkpoint that holds what a resumed training needs beside Lightning's own."""


class FewShot(LightningModule):
    """Cross-entropy of (unit image feature x class-text feature x logit scale) over few images.

    The model is adapted already. Everything but what the adapter trains is frozen and stays in
    eval mode, statistics of batch normalisation included. The test split is no part of it, unless
    `choose=best_on_test` makes it the selection part.

    Args:
        model: With the adapter attached.
        adapter: Attached to it.
        heads: Class-text features of each data set, encoded once by the model as published.
        shots: Images to train on, one set for each head.
        selection: Images to choose the epoch by, one set for each head, or None.
        tuning: The recipe.
        num_workers: Processes that read and augment; changes no number.
    """

    selected: Tensor

    def __init__(
        self,
        model: nn.Module,
        adapter: Tunable,
        heads: Sequence[Head | Objective],
        shots: Sequence[ImageSet],
        selection: Sequence[ImageSet | None],
        tuning: Tuning,
        *,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # checkpoints hold what is trained, and nothing else
        self.model = model
        self.adapter = adapter
        self.heads = nn.ModuleList(cast(Sequence[nn.Module], heads))
        self.shots = tuple(shots)
        self.selection = tuple(selection)
        self.tuning = tuning
        self.num_workers = num_workers
        # Epoch, error and loss of the state that is kept; -1 before there is one.
        self.register_buffer("selected", torch.tensor([-1.0, float("inf"), float("inf")]))
        self._best: dict[str, Tensor] = {}
        self._loaders: list[ShotLoader] = []
        self._batches_done = 0
        self._moved = False
        check_masks_stay(self.heads, tuning)
        joint = tuning.label_space == "joint"
        self._joint = joint_classes(cast(Sequence[Head], heads), shots) if joint else None
        self.objectives = asked_objectives(tuning, self.heads, shots)

    # What is trained

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by name within the model."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def train(self, mode: bool = True) -> "FewShot":
        """Keep everything in eval mode but the dropout of the adapter."""
        super().train(mode)
        self.model.eval()
        for name, module in self.model.named_modules():
            if ".lora_dropout." in name:
                module.train(mode)
        return self

    def configure_optimizers(self) -> Any:
        """Build the optimiser over what is trained, with a rate for every step."""
        of_objectives = [] if self.objectives is None else list(self.objectives.parameters())
        optimizer = self.tuning.optimizer([*self.trained().values(), *of_objectives])
        optimizer.register_step_post_hook(self._after_step)
        steps = self.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.tuning.rate(step, steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    @property
    def order(self) -> ShotOrder:
        """Batches of this process, from where the training has come to."""
        return ShotOrder(
            sum(map(len, self.shots)),
            batch_size=self.tuning.batch_size,
            epochs=self.tuning.epochs,
            seed=self.tuning.seed,
            rank=self.global_rank,
            world=self.trainer.world_size,
            start=self._batches_done,
            groups=None if self.objectives is None else self.objectives.groups,
        )

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        batches = -(-sum(map(len, self.shots)) // self.tuning.batch_size) * self.tuning.epochs
        return -(-batches // self.tuning.accumulate)

    # Data

    def train_dataloader(self) -> Any:
        """Read the shots: all epochs in one pass of Lightning's, so that any batch can be next."""
        shots = Shots(
            self.shots,
            augment=self.tuning.augment,
            seed=self.tuning.seed,
            masks=wants_masks(self.heads),
        )
        return self._loader(shots, self.order)

    def val_dataloader(self) -> Any:
        """Read the selection part; nothing where there is none."""
        chosen = [one for one in self.selection if one is not None]
        if not chosen or self.tuning.choose == "last":
            return []
        order = SelectionOrder(
            sum(map(len, chosen)),
            batch_size=self.tuning.batch_size,
            rank=self.global_rank,
            world=self.trainer.world_size,
        )
        return self._loader(Shots(chosen, masks=wants_masks(self.heads)), order)

    def _loader(self, shots: Shots, order: ShotOrder | SelectionOrder) -> ShotLoader:
        self._loaders.append(shot_loader(shots, order, self.num_workers))
        return self._loaders[-1]

    def stop_reading(self) -> None:
        """Stop the threads that read, however the training has ended."""
        while self._loaders:
            self._loaders.pop().close()

    def transfer_batch_to_device(
        self, batch: ShotBatch, device: torch.device, dataloader_index: int
    ) -> ShotBatch:
        """Move the parts."""
        return ShotBatch(batch.epoch, tuple(part.to(device) for part in batch.parts))

    # Steps

    def _seen(self, parts: Sequence[ShotPart], images: Sequence[Tensor]) -> list[Seen]:
        """Encode the images of all sets in one pass; return them set by set."""
        model = cast(Any, self.model)
        each = [model.preprocess(batch) for batch in images]
        pixels = each[0] if len(each) == 1 else torch.cat(each)
        counts, read = list(map(len, images)), read_blocks(self.heads)
        return seen(self.adapter, model, pixels, counts, self.tuning.features, read)

    def _scores(self, features: Tensor, classes: Tensor, head: Head) -> Tensor:
        scale = self.tuning.logit_scale
        if scale is None:
            scale = cast(ZeroShotHead, head).logit_scale
        return scale * features @ classes.T

    def _logits(self, part: ShotPart, features: Tensor) -> Tensor:
        """Return float32 logits over the classes of the sample's own set."""
        head = cast(Head, self.heads[part.dataset])
        if isinstance(head, IdentityHead):
            return features
        classes = head.present if head.absent is None else head.present - head.absent
        with torch.autocast(features.device.type, enabled=False):
            return self._scores(features.float(), classes, head)

    def _joint_logits(
        self, part: ShotPart, features: Tensor, joint: Joint
    ) -> tuple[Tensor, Tensor]:
        """Return float32 logits over the classes of all sets, and labels counted like them."""
        classes, firsts = joint
        head = cast(Head, self.heads[part.dataset])
        with torch.autocast(features.device.type, enabled=False):
            logits = self._scores(features.float(), classes.to(features.device), head)
        return logits, part.labels + firsts[part.dataset]

    def _losses(self, part: ShotPart, own: Seen) -> Tensor:
        """Return the loss of each image."""
        head, features = self.heads[part.dataset], own.features
        if isinstance(head, Objective):
            return head.losses(own, part)
        if self._joint is not None:
            logits, target = self._joint_logits(part, features, self._joint)
            return functional.cross_entropy(logits, target, reduction="none")
        logits = self._logits(part, features).float()
        if part.labels.ndim == 2:
            each = functional.binary_cross_entropy_with_logits(
                logits, part.labels.float(), reduction="none"
            )
            return each.mean(dim=1)
        return functional.cross_entropy(logits, part.labels, reduction="none")

    def _corrupted(self, part: ShotPart, epoch: int) -> Tensor:
        if self.tuning.corrupt is None:
            return part.images
        stream = f"{self.shots[part.dataset].stream}/{epoch}"
        return self.tuning.corrupt(part.images, part.index, stream=stream, seed=self.tuning.seed)

    def training_step(self, batch: ShotBatch, batch_index: int) -> Tensor:
        """Return the share of this process in the loss of the batch.

        Raises:
            TuningError: If the loss is not finite; the message has the ids of the images.
        """
        stream = f"step/{self._batches_done}"
        key = derive_key(self.tuning.seed, stream, "dropout", self.global_rank)
        with drawing_from(key[0], self.device):
            encoded = self._seen(
                batch.parts, [self._corrupted(part, batch.epoch) for part in batch.parts]
            )
        losses = minimised(self.objectives, batch, encoded, self._seen, self.heads, self._losses)
        weighted = [
            (part.weights * loss).sum() for part, loss in zip(batch.parts, losses, strict=True)
        ]
        total = torch.stack(weighted).sum()
        if not torch.isfinite(total):
            raise TuningError(not_finite(self.shots, batch, losses))
        self._draw(total)
        self._batches_done += 1  # here, because files to resume from are written before other hooks
        # Lightning averages gradients over processes; the weights are shares of the whole batch.
        return total * self.trainer.world_size

    def _draw(self, loss: Tensor) -> None:
        """Put loss and rate of a batch on the curves, if somebody looks; by the first process."""
        if self.logger is not None:
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            done = self._batches_done + 1
            numbers = {
                "train/loss": float(loss.detach()) * self.trainer.world_size,
                "train/rate": rate,
                "train/epoch": done / self.order.per_epoch,
            }
            self.logger.log_metrics(numbers, step=done)

    # Choosing

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch."""
        self._sums = torch.zeros(3, dtype=torch.float64, device=self._sum_device)

    @property
    def _sum_device(self) -> torch.device:
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def validation_step(self, batch: ShotBatch, batch_index: int) -> None:
        """Add up errors, losses and images of the selection part."""
        present = [number for number, one in enumerate(self.selection) if one is not None]
        parts = [replace(part, dataset=present[part.dataset]) for part in batch.parts]
        encoded = self._seen(parts, [part.images for part in parts])
        for part, own in zip(parts, encoded, strict=True):
            wrong, loss = (one.double() for one in self._judged(part, own))
            each = torch.stack([wrong, loss, torch.ones_like(wrong)], dim=1)
            self._sums += (part.weights.double()[:, None] * each).sum(dim=0)

    def _judged(self, part: ShotPart, own: Seen) -> tuple[Tensor, Tensor]:
        """Return which images are answered wrongly, (n,), and the loss of each."""
        head = self.heads[part.dataset]
        if isinstance(head, Objective):
            return head.judged(own, part)
        return self._wrong(part, own), self._losses(part, own)

    def _wrong(self, part: ShotPart, own: Seen) -> Tensor:
        """Return which images are answered wrongly, float64 (n,); of several labels their share."""
        logits, labels = self._logits(part, own.features).float(), part.labels
        if self.tuning.choose == "best_on_test" and self._joint is not None:
            logits, labels = self._joint_logits(part, own.features, self._joint)
        if labels.ndim == 2:
            return ((logits > 0) != (labels > 0)).double().mean(dim=1)
        return (logits.argmax(dim=1) != labels).double()

    def on_validation_epoch_end(self) -> None:
        """Keep the trained weights if no epoch was better."""
        sums = cast(Tensor, self.trainer.strategy.reduce(self._sums, reduce_op="sum"))
        error, loss = (sums[:2] / sums[2]).tolist()
        found = {"selection/error": error, "selection/loss": loss}
        self.log_dict(found, logger=False)  # for the callback that stops early
        if self.logger is not None:
            self.logger.log_metrics(found, step=self._batches_done)
        if (error, loss) < (float(self.selected[1]), float(self.selected[2])):
            epoch = self._batches_done / max(1, self.order.per_epoch)
            self.selected.copy_(torch.tensor([epoch, error, loss]))
            self._best = {n: p.detach().cpu().clone() for n, p in self.trained().items()}

    def on_train_end(self) -> None:
        """Put the best epoch in, and check once more that nothing else has moved.

        Raises:
            TuningError: If a frozen weight or statistic has changed, or no step was taken.
        """
        self._check_frozen("after the last step")
        if not self._moved:
            raise TuningError(
                "the optimiser took no step at a learning rate above zero: nothing was tuned. "
                "With 16-mixed precision every gradient may have overflowed; use bf16-mixed."
            )
        with torch.no_grad():
            for name, parameter in self.trained().items():
                if name in self._best:
                    parameter.copy_(self._best[name])

    # Guards

    def on_fit_start(self) -> None:
        """Remember what must not move, and what must."""
        keep_freed_memory()
        self.train()
        self._frozen = frozen_digests(self.model)
        self._first = {
            name: value.detach().clone()
            for name, value in self.adapter.must_move(self.model).items()
        }
        if self.tuning.gradient_checkpointing:
            recompute_blocks(self.model)

    def on_train_start(self) -> None:
        """Leave eval mode where dropout is asked for; Lightning keeps modes as they are."""
        self.train()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Check the first step that was really taken; a scaler that skips one does not call."""
        if self._moved or optimizer.param_groups[0]["lr"] == 0:
            return
        still = [
            name
            for name, value in self.adapter.must_move(self.model).items()
            if torch.equal(value.detach(), self._first[name])
        ]
        if still:
            raise TuningError(
                f"after the first step {part_of(len(still), len(self._first), 'weight')} that "
                f"should have moved {agreeing(len(still), 'has')} not: {', '.join(still[:3])}. "
                f"They get no gradient; choose other adapter.targets."
            )
        self._check_frozen("after the first step")
        self._moved = True
        self._first = {}

    def _check_frozen(self, when: str) -> None:
        now = frozen_digests(self.model)
        moved = [name for name, digest in self._frozen.items() if now.get(name) != digest]
        if moved:
            raise TuningError(
                f"{when} {len(moved)} frozen weights or statistics have changed: "
                f"{', '.join(moved[:3])}. The adapter would not be what was trained."
            )

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained, and nothing of the model's own."""
        kept = {f"model.{name}" for name in self.trained()} | {"selected"}
        kept |= {f"objectives.{name}" for name in ("slopes", "offsets")}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name in kept}
        checkpoint[STATE] = {
            "batches": self._batches_done,
            "best": self._best,
            "moved": self._moved,
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        kept = checkpoint[STATE]
        self._batches_done, self._best = kept["batches"], dict(kept["best"])
        self._moved = kept["moved"]
