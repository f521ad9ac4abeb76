"""Normalisation swap: layers of batch normalisation become group, layer or instance normalisation.

What a layer gets from each image alone is brought to mean 0 and variance 1 over groups of channels
and all places (`group`: at most `groups` groups of two channels or more; `layer`: one group;
`instance`: each channel), and then to scale and shift of the layer. Batch normalisation gave its
channels other means and variances than that, so that weights of the one do not suit the other, as
arXiv:2306.13276 trains each network anew. What can be done without labels:

    images > 0   scale and shift of each channel are set, layer by layer in one pass over so many
                 clean images of another split, to what gives its output there the mean and variance
                 that batch normalisation gives it
    steps > 0    then scale and shift of all layers go down 1 - cosine of the features and those of
                 the model as it was, `steps` micro-batches of the same images (Adam)

With images = 0 the layer's own scale and shift stay: the plain swap. No image of the cell teaches
anything, so that none changes the answer to another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import all_images_count
from medrobust.types import Int64Array, LogitBatch, UInt8Batch

from .adapting import Scene, Session, answered
from .base import Begins, check
from .batch_norm import OfStatistics
from .entropy import check_one_of
from .lent import batch_norms, copies, descend, lent

To: TypeAlias = Literal["group", "layer", "instance", "batch"]
Affine: TypeAlias = Mapping[str, Tensor]
"""Name of a layer, ".weight" or ".bias" -> scale or shift, (C,)."""


@dataclass(frozen=True, slots=True)
class NormSwap(OfStatistics):
    """Swaps the normalisation of a ResNet.

    Args:
        order: Not read: no image changes the answer to another one.
        to: "group", "layer" or "instance"; "batch": the model itself, to the bit.
        groups: Of "group", at most.
        images: Clean images that scale and shift are set by; 0: they stay.
        steps: Micro-batches of them that scale and shift then learn of.
        rate: Length of such a step.
        split: Which the clean images are of.
    """

    to: To = "group"
    groups: int = 32
    images: int = 256
    steps: int = 0
    rate: float = 1e-3
    split: str = "train"

    method: ClassVar[str] = "norm_swap"
    protocols: ClassVar[tuple[Begins, ...]] = ("episodic",)

    def __post_init__(self) -> None:
        """Refuse what does not exist, and steps without images.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_one_of("norm_swap", "to", self.to, ("group", "layer", "instance", "batch"))
        check("norm_swap", "groups", self.groups, low=1, whole=True)
        check("norm_swap", "images", self.images, low=0, whole=True)
        check("norm_swap", "steps", self.steps, low=0, whole=True)
        check("norm_swap", "rate", self.rate, low=0)
        if self.steps and not self.images:
            raise ConfigurationError(
                f"adapter.online: steps={self.steps} of norm_swap learn of clean images: set "
                f"images, too."
            )

    @property
    def ordered(self) -> bool:
        """Never: each image stands alone."""
        return False

    @property
    def idle(self) -> bool:
        """Where batch normalisation stays."""
        return self.to == "batch"

    def source(self) -> tuple[str, int] | None:
        """Return of which other split it reads how many clean images."""
        return None if self.idle or not self.images else (self.split, self.images)

    def begin(self, scene: Scene) -> "SwapSession":
        """Begin with a cell; scale and shift are found once for all of them."""
        key = f"norm_swap {self.description()}"
        if key not in scene.kept and not self.idle:
            with all_images_count():
                scene.kept[key] = fitted(self, scene)
        return SwapSession(self, scene, scene.kept.get(key, {}))

    def normalised(self, values: Tensor) -> Tensor:
        """Bring (n, C, H, W) to mean 0 and variance 1 within each image."""
        channels = values.shape[1]
        count = {"layer": 1, "instance": channels}.get(self.to)
        if count is None:
            most = min(self.groups, max(1, channels // 2))
            count = next(k for k in range(most, 0, -1) if channels % k == 0)
        return functional.group_norm(values, count)


class SwapSession(Session):
    """A model whose normalisation is another one.

    Args:
        method: Its parameters.
        scene: Of the cell.
        affine: Scale and shift of each layer.
    """

    def __init__(self, method: NormSwap, scene: Scene, affine: Affine) -> None:
        self.method, self.scene, self.affine = method, scene, affine

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer by the other normalisation."""
        pixels = self.scene.model.preprocess(images)
        with torch.no_grad():
            if self.method.idle:
                return answered(self.scene, pixels)
            with lent(self.scene.model, {}, normalise=partial(_swapped, self.method, self.affine)):
                return answered(self.scene, pixels)


def _swapped(
    method: NormSwap, affine: Affine, name: str, layer: nn.BatchNorm2d, values: Tensor
) -> Tensor:
    scale, shift = affine[f"{name}.weight"], affine[f"{name}.bias"]
    return method.normalised(values) * _by_channel(scale) + _by_channel(shift)


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def fitted(method: NormSwap, scene: Scene) -> dict[str, Tensor]:
    """Return scale and shift of each layer, fitted to clean images where there are some."""
    affine: dict[str, Tensor] = {}
    for name, layer in batch_norms(scene.model).items():
        ones = torch.ones(layer.num_features, device=scene.model.device)
        affine[f"{name}.weight"] = layer.weight.detach().clone() if layer.affine else ones
        affine[f"{name}.bias"] = layer.bias.detach().clone() if layer.affine else 0 * ones
    if not method.images:
        return affine
    batches = [one.to(scene.model.device) for one in scene.source(method.split, method.images)]
    with torch.no_grad(), lent(scene.model, {}, normalise=partial(_set, method, affine)):
        scene.model.encode_image(scene.model.preprocess(torch.cat(batches)))
    return _taught(method, scene, affine, batches) if method.steps else affine


def _set(
    method: NormSwap, affine: dict[str, Tensor], name: str, layer: nn.BatchNorm2d, values: Tensor
) -> Tensor:
    """Set scale and shift of a layer so that its output is spread as batch normalisation has it.

    That of a channel has mean `bias` and the standard deviation |weight| over clean images.
    """
    normal = method.normalised(values)
    spread, mean = torch.var_mean(normal, dim=(0, 2, 3), correction=0)
    scale = affine[f"{name}.weight"] / (spread + layer.eps).sqrt()
    affine[f"{name}.weight"] = scale
    affine[f"{name}.bias"] = affine[f"{name}.bias"] - mean * scale
    return _swapped(method, affine, name, layer, values)


def _taught(
    method: NormSwap, scene: Scene, affine: Affine, batches: list[UInt8Batch]
) -> dict[str, Tensor]:
    """Let scale and shift learn the features of the model as it was."""
    weights = copies(affine)
    optimizer = torch.optim.Adam(weights.values(), lr=method.rate)
    model: Any = scene.model
    for step in range(method.steps):
        pixels = model.preprocess(batches[step % len(batches)])
        with torch.no_grad():
            wanted = model.encode_image(pixels)
        with lent(model, {}, normalise=partial(_swapped, method, weights)):
            loss = 1 - functional.cosine_similarity(model.encode_image(pixels), wanted).mean()
        descend(loss, weights, optimizer)
    return {name: weight.detach() for name, weight in weights.items()}
