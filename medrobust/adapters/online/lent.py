"""A model lent other weights and other normalisation for a while: nothing of it is written over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.adapters.base import parent_of, visual_tower
from medrobust.models.encoding import images_that_count

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)

Statistics: TypeAlias = Callable[[str, Tensor], tuple[Tensor, Tensor]]
"""Name of a layer and its input (m, C, H, W) without padding -> mean and variance, (C,)."""

Normalise: TypeAlias = Callable[[str, nn.BatchNorm2d, Tensor], Tensor]
"""Name of a layer, the layer and its input (n, C, H, W) with padding -> its output."""


@contextmanager
def lent(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    statistics: Statistics | None = None,
    *,
    normalise: Normalise | None = None,
) -> Iterator[None]:
    """Let a model have other weights, and its image side other statistics, while the block runs.

    Args:
        model: Gets its own back in the end, whatever happens.
        weights: Name of a parameter -> what stands for it; gradients reach it.
        statistics: Of its layers of batch normalisation; None: as it is.
        normalise: What stands for these layers in place of other statistics.
    """
    if statistics is not None:
        normalise = partial(_normalised, statistics)
    places = {name: parent_of(model, name) for name in weights}
    own = {name: module._parameters[leaf] for name, (module, leaf) in places.items()}
    layers = batch_norms(model) if normalise is not None else {}
    try:
        for name, (module, leaf) in places.items():
            module._parameters[leaf] = weights[name]  # type: ignore[assignment]  # or of a sum
        for name, layer in layers.items():
            assert normalise is not None
            layer.__dict__["forward"] = partial(normalise, name, layer)
        yield
    finally:
        for name, (module, leaf) in places.items():
            module._parameters[leaf] = own[name]
        for layer in layers.values():
            layer.__dict__.pop("forward", None)


def _normalised(statistics: Statistics, name: str, layer: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """Normalise (n, C, H, W) by statistics that gradients may pass."""
    mean, variance = statistics(name, values[: images_that_count(len(values))])
    if not (mean.requires_grad or variance.requires_grad):
        return functional.batch_norm(
            values, mean, variance, layer.weight, layer.bias, False, 0.0, layer.eps
        )
    mean, variance = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
    normal = (values - mean) * torch.rsqrt(variance + layer.eps)
    if not layer.affine:
        return normal
    return normal * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)


def of_micro_batch(name: str, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of (m, C, H, W), as train mode normalises by them."""
    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    return mean, variance


def batch_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return the layers of batch normalisation of the image side, by name."""
    tower = visual_tower(model)
    return {
        name: module
        for name, module in model.named_modules()
        if name.startswith(tower) and isinstance(module, nn.BatchNorm2d)
    }


def statistics_of(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and variance of training of each layer of batch normalisation."""
    found = {}
    for name, layer in batch_norms(model).items():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        found[name] = (layer.running_mean, layer.running_var)
    return found


def norm_weights(model: nn.Module, towers: Sequence[str] | None = None) -> list[str]:
    """Name scale and shift of every normalisation layer.

    Args:
        model: Not changed.
        towers: Prefixes of names; None: the image side.
    """
    prefixes = tuple(towers) if towers is not None else (visual_tower(model),)
    return [
        f"{name}.{leaf}"
        for name, module in model.named_modules()
        if isinstance(module, NORMS) and f"{name}.".startswith(prefixes)
        for leaf in ("weight", "bias")
        if getattr(module, leaf) is not None
    ]


def copies(own: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """Copy weights, as what a session may change."""
    return {name: nn.Parameter(value.detach().clone()) for name, value in own.items()}


def descend(loss: Tensor, weights: Mapping[str, nn.Parameter], optimizer: Any) -> None:
    """Take one step down a loss in the weights of a session, and in no other."""
    leaves = list(weights.values())
    slopes = torch.autograd.grad(loss, leaves, allow_unused=True)
    for leaf, slope in zip(leaves, slopes, strict=True):
        leaf.grad = slope
    optimizer.step()
    optimizer.zero_grad()
