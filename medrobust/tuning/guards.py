"""What a training is watched by: frozen weights, finite losses, draws that disturb no other."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from medrobust.datasets.image_set import ImageSet

from .shots import ShotBatch


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seed on the CPU and on one device, then go on with the streams of before.

    `torch.manual_seed` would seed every kind of device there could be, which takes milliseconds.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


@contextmanager
def all_frozen(model: nn.Module) -> Iterator[None]:
    """Freeze every parameter for as long as it takes, then train again what was trained.

    torch folds a product with a weight that may be trained into another one, even where no gradient
    is asked for, and on some processors the last bit differs.
    """
    trained = [value for value in model.parameters() if value.requires_grad]
    for value in trained:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in trained:
            value.requires_grad_(True)


def frozen_digests(model: nn.Module) -> dict[str, str]:
    """Hash every frozen parameter and every buffer, by name."""
    frozen = [(name, value) for name, value in model.named_parameters() if not value.requires_grad]
    return {
        name: hashlib.sha256(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        ).hexdigest()
        for name, value in [*frozen, *model.named_buffers()]
        if value.numel()
    }


def recompute_blocks(model: nn.Module) -> None:
    """Let the repeated blocks of the image side forget their activations, and compute them again.

    Transformers' own switch works in training mode only, which frozen parts never enter.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1:
            for block in module:
                forward: Callable[..., Any] = block.forward
                block.forward = partial(recomputed, forward, use_reentrant=False)


def not_finite(shots: Sequence[ImageSet], batch: ShotBatch, losses: Sequence[Tensor]) -> str:
    """Say which images have a loss that is no number, and what to do."""
    named = []
    for part, loss in zip(batch.parts, losses, strict=True):
        broken = (~torch.isfinite(loss)).cpu().tolist()
        named += [
            f"{shots[part.dataset].name}/{name}"
            for name, bad in zip(part.ids, broken, strict=True)
            if bad
        ]
    return (
        f"the loss is not finite in epoch {batch.epoch} for {', '.join(named[:8])}"
        f"{f' and {len(named) - 8} more' if len(named) > 8 else ''}. Lower tuning.optimizer.lr, or "
        f"use trainer.precision=32-true."
    )
