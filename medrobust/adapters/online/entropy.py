"""Tent, ETA, EATA and SAR: scale and shift of normalisation go down the entropy of the answers.

H is the entropy of an image's probabilities in nats, theta scale and shift of the normalisation
layers of the image side, K the number of classes. Layers of batch normalisation take the statistics
of the micro-batch (`statistics: batch`), and gradients pass them. An image is answered by the pass
whose gradient is then taken, so that the first micro-batch has the model's own answers (of a model
without batch normalisation to the bit). Step by step, for each micro-batch:

    tent   theta down the mean of H
    eta    of the images with H < margin * ln K, and those of them whose probabilities have a cosine
           below `similar` with the running mean of those that were used (.9 of it, .1 of the new
           mean): theta down the mean of H / exp(H - margin * ln K)
    eata   and + anchor * sum F (theta - theta_0)^2, F the mean over micro-batches of clean source
           images of the squared gradient of the loss against their own predictions
    sar    of the images with H < margin * ln K: up `radius` along the gradient of their mean H,
           there the gradient of the mean H of those that are still below, and theta down that from
           where it was. The last quarter of the blocks and what follows them stay. Once the running
           mean (.9) of the second loss is below `floor`, all begins anew. Images are answered by
           the first pass. With `published`, as in the public code, momentum goes on where no image
           passes and when weights begin anew, which they do until the running mean has risen.

Where no image is left, no step is taken. With K = 2 the margin is .4 ln 2 = .277 nats: only images
with a probability above .92 pass, so that the share that was used stands in each cell's record.
Sources: Wang et al., arXiv:2006.10726 (`DequanWang/tent`); Niu et al., arXiv:2204.02610
(`mr-eggplant/EATA`); Niu et al., arXiv:2302.12400 (`mr-eggplant/SAR`). Rates and margins are those
for ImageNet; momentum is plain, as in the code of EATA and SAR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import all_images_count
from medrobust.types import Int64Array, LogitBatch, PixelBatch, UInt8Batch

from .adapting import Adapting, Scene, Session, answered, entropies
from .base import Begins, check
from .lent import Statistics, copies, descend, lent, norm_weights, of_micro_batch

Optimizer: TypeAlias = Literal["sgd", "adam"]
By: TypeAlias = Literal["batch", "training"]


@dataclass(frozen=True, slots=True)
class Descent(Adapting):
    """Gradient steps in scale and shift of normalisation.

    Args:
        order: Of the images.
        protocol: When theta is again the model's own.
        rate: Length of a step; 0: none.
        steps: For each micro-batch; 0: none.
        optimizer: "sgd" with momentum .9, or "adam".
        statistics: What batch normalisation goes by: the micro-batch, or training. With the latter
            and no steps, this is the model to the bit.
    """

    protocol: Begins = "per_cell"
    rate: float = 2.5e-4
    steps: int = 1
    optimizer: Optimizer = "sgd"
    statistics: By = "batch"

    def __post_init__(self) -> None:
        """Refuse what is no step.

        Raises:
            ConfigurationError: Naming the key.
        """
        check(self.method, "rate", self.rate, low=0)
        check(self.method, "steps", self.steps, low=0, whole=True)
        check_one_of(self.method, "optimizer", self.optimizer, ("sgd", "adam"))
        check_one_of(self.method, "statistics", self.statistics, ("batch", "training"))

    @property
    def idle(self) -> bool:
        """Without a step, by the statistics of training."""
        return self.statistics == "training" and (self.steps == 0 or self.rate == 0)

    def check(self, model: Any) -> None:
        """Refuse a model without normalisation layers.

        Raises:
            ConfigurationError: Naming both.
        """
        if not norm_weights(model):
            raise ConfigurationError(
                f"adapter.online={self.method} changes scale and shift of normalisation, and the "
                f"image side of {type(model).__name__} has none: choose lame, t3a or zero."
            )

    def optimizer_of(self, weights: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """Return what takes steps in weights of a session."""
        if self.optimizer == "adam":
            return torch.optim.Adam(weights.values(), lr=self.rate)
        return torch.optim.SGD(weights.values(), lr=self.rate, momentum=0.9)


@dataclass(frozen=True, slots=True)
class Tent(Descent):
    """Goes down the entropy of every image."""

    method: ClassVar[str] = "tent"

    def begin(self, scene: Scene) -> "TentSession":
        """Begin with a cell."""
        return TentSession(self, scene)


@dataclass(frozen=True, slots=True)
class Eta(Descent):
    """Goes down the entropy of sure images that are unlike those before.

    Args:
        margin: Share of ln K below which an image is sure.
        similar: Cosine from which an image is like those before.
    """

    margin: float = 0.4
    similar: float = 0.05

    method: ClassVar[str] = "eta"

    def __post_init__(self) -> None:
        """Refuse what is no filter.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        check(self.method, "margin", self.margin, low=0)
        check(self.method, "similar", self.similar, low=-1)

    def begin(self, scene: Scene) -> "EtaSession":
        """Begin with a cell."""
        return EtaSession(self, scene)


@dataclass(frozen=True, slots=True)
class Eata(Eta):
    """ETA that is held near the model as it was, by clean images of another split.

    Args:
        anchor: Weight of the distance.
        images: How many clean images at most.
        split: Which they are of.
    """

    anchor: float = 2000.0
    images: int = 2000
    split: str = "train"

    method: ClassVar[str] = "eata"

    def __post_init__(self) -> None:
        """Refuse what does not hold the model.

        Raises:
            ConfigurationError: Naming the key.
        """
        Eta.__post_init__(self)
        check(self.method, "anchor", self.anchor, low=0)
        check(self.method, "images", self.images, low=1, whole=True)

    def source(self) -> tuple[str, int]:
        """Return of which other split it reads how many clean images."""
        return self.split, self.images

    def begin(self, scene: Scene) -> "EtaSession":
        """Begin with a cell; what the source images say is found once for all of them."""
        if self.method not in scene.kept:
            with all_images_count():
                scene.kept[self.method] = fisher(self, scene)
        return EtaSession(self, scene, self.anchor, scene.kept[self.method])


@dataclass(frozen=True, slots=True)
class Sar(Descent):
    """Goes down the entropy of sure images where it is flat, and begins anew when it collapses.

    Args:
        margin: Share of ln K below which an image is sure.
        radius: How far up the gradient the slope is taken.
        floor: Of the running mean of the second loss.
        published: What is kept where no image passes, and when all begins anew, is what the public
            code keeps.
    """

    rate: float = 1e-3
    margin: float = 0.4
    radius: float = 0.05
    floor: float = 0.2
    published: bool = False

    method: ClassVar[str] = "sar"
    later: ClassVar[Mapping[str, Any]] = {"published": False}

    def __post_init__(self) -> None:
        """Refuse what is no filter.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        for key in ("margin", "radius", "floor"):
            check("sar", key, getattr(self, key), low=0)

    def begin(self, scene: Scene) -> "SarSession":
        """Begin with a cell."""
        return SarSession(self, scene)


class TentSession(Session):
    """Scale and shift of one cell.

    Args:
        method: Its parameters.
        scene: Of the cell.
        names: Weights that move; None: those of all normalisation layers of the image side.

    Attributes:
        weights: Name -> what stands for it now.
    """

    def __init__(self, method: Descent, scene: Scene, names: Sequence[str] | None = None) -> None:
        self.method, self.scene = method, scene
        names = norm_weights(scene.model) if names is None else names
        self._own = {name: scene.model.get_parameter(name).detach() for name in names}
        self._statistics = of_micro_batch if method.statistics == "batch" else None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take the model's own weights, and forget all momentum."""
        self.weights = copies(self._own)
        self._optimizer = self.method.optimizer_of(self.weights)

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer, then go down."""
        pixels = self.scene.model.preprocess(images)
        with lent(self.scene.model, self.weights, self._statistics):
            if not self.method.steps:
                with torch.no_grad():
                    return answered(self.scene, pixels)
            for _ in range(self.method.steps):
                logits = self.step(pixels)
        return logits.detach()

    def step(self, pixels: PixelBatch) -> LogitBatch:
        """Take one step; return the answers before it."""
        logits = answered(self.scene, pixels)
        descend(entropies(logits).mean(), self.weights, self._optimizer)
        return logits


class EtaSession(TentSession):
    """ETA, or EATA where `spread` says how firmly each weight is held.

    Attributes:
        mean: Running mean of the probabilities of images that were used; None before the first.
    """

    used = 0

    def __init__(
        self, method: Eta, scene: Scene, anchor: float = 0.0, spread: Mapping[str, Tensor] = {}
    ) -> None:
        self._eta, self._anchor, self._spread = method, anchor, spread
        self.mean: Tensor | None = None
        super().__init__(method, scene)

    def step(self, pixels: PixelBatch) -> LogitBatch:
        """Take one step by the images that are sure and new; return the answers before it."""
        logits = answered(self.scene, pixels)
        unsure = entropies(logits)
        limit = self._eta.margin * log(logits.shape[1])
        chosen = unsure < limit
        chances = logits.detach().softmax(dim=1)
        if self.mean is not None:
            alike = functional.cosine_similarity(self.mean[None], chances, dim=1).abs()
            chosen &= alike < self._eta.similar
        count = int(chosen.sum())
        if not count:
            return logits
        self.use(count)
        new = chances[chosen].mean(dim=0)
        self.mean = new if self.mean is None else 0.9 * self.mean + 0.1 * new
        taken = unsure[chosen]
        loss = (taken / (taken.detach() - limit).exp()).mean() + self._held()
        descend(loss, self.weights, self._optimizer)
        return logits

    def _held(self) -> Tensor | float:
        """Return what the distance from the model's own weights adds to the loss."""
        parts = [
            (spread * (self.weights[name] - self._own[name]) ** 2).sum()
            for name, spread in self._spread.items()
        ]
        return self._anchor * torch.stack(parts).sum() if parts else 0.0


def fisher(method: Eata, scene: Scene) -> dict[str, Tensor]:
    """Return the mean squared gradient of each weight over micro-batches of clean source images."""
    own = {name: scene.model.get_parameter(name) for name in norm_weights(scene.model)}
    weights = copies(own)
    statistics: Statistics | None = of_micro_batch if method.statistics == "batch" else None
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    for images in scene.source(method.split, method.images):
        pixels = scene.model.preprocess(images.to(scene.model.device))
        with lent(scene.model, weights, statistics):
            logits = scene.head.logits(scene.model.encode_image(pixels))
            loss = functional.cross_entropy(logits, logits.argmax(dim=1))
            slopes = torch.autograd.grad(loss, list(weights.values()))
        for name, slope in zip(sums, slopes, strict=True):
            sums[name] += slope**2
        count += 1
    return {name: whole / max(count, 1) for name, whole in sums.items()}


class SarSession(TentSession):
    """SAR.

    Attributes:
        mean: Running mean of the second loss; None before the first.
    """

    used = 0

    def __init__(self, method: Sar, scene: Scene) -> None:
        self._sar = method
        self.mean: float | None = None
        super().__init__(method, scene, early_norm_weights(scene.model))

    def step(self, pixels: PixelBatch) -> LogitBatch:
        """Take one step by the slope nearby; return the answers before it."""
        logits = answered(self.scene, pixels)
        limit = self._sar.margin * log(logits.shape[1])
        unsure = entropies(logits)
        sure = unsure < limit
        if not sure.any():
            self._pass()
            return logits
        leaves = list(self.weights.values())
        slopes = torch.autograd.grad(unsure[sure].mean(), leaves)
        length = torch.stack([slope.norm() for slope in slopes]).norm()
        own = [leaf.detach().clone() for leaf in leaves]
        with torch.no_grad():
            for leaf, slope in zip(leaves, slopes, strict=True):
                leaf.add_(slope * (self._sar.radius / (length + 1e-12)))
        there = entropies(answered(self.scene, pixels))[sure]
        still = there < limit
        second = there[still].mean() if still.any() else None
        back = None if second is None else torch.autograd.grad(second, leaves)
        with torch.no_grad():
            for leaf, before in zip(leaves, own, strict=True):
                leaf.copy_(before)
        if second is not None and back is not None:
            self.use(int(still.sum()))
            for leaf, slope in zip(leaves, back, strict=True):
                leaf.grad = slope
            self._optimizer.step()
            self._optimizer.zero_grad()
            new = second.item()
            self.mean = new if self.mean is None else 0.9 * self.mean + 0.1 * new
            self._watch()
        else:
            self._pass()
        return logits

    def _pass(self) -> None:
        """Do what is done where no image passes: nothing, or go on with the momentum."""
        if self._sar.published:
            for leaf in self.weights.values():
                leaf.grad = torch.zeros_like(leaf)
            self._optimizer.step()
            self._optimizer.zero_grad()
            self._watch()

    def _watch(self) -> None:
        """Begin anew where the running mean of the loss says that all answers collapse."""
        if self.mean is None or self.mean >= self._sar.floor:
            return
        if self._sar.published:
            with torch.no_grad():
                for name, leaf in self.weights.items():
                    leaf.copy_(self._own[name])
        else:
            self.begin_anew()
            self.mean = None


def early_norm_weights(model: nn.Module) -> list[str]:
    """Name scale and shift of normalisation before the last quarter of the blocks.

    Of a ResNet all but the last of its four stages, of a ViT-B all but the last three of its twelve
    blocks and the norm that follows them.

    Raises:
        ConfigurationError: If the image side has no blocks.
    """
    blocks: Any = model.image_blocks
    late = {id(part) for block in blocks[-max(1, len(blocks) // 4) :] for part in block.modules()}
    names = norm_weights(model)
    modules = dict(model.named_modules())
    order = [id(module) for module in model.modules()]
    end = max(order.index(id(part)) for part in blocks[-1].modules())
    return [
        name
        for name in names
        if id(one := modules[name.rpartition(".")[0]]) not in late and order.index(id(one)) < end
    ]


def check_one_of(method: str, key: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a choice that does not exist.

    Raises:
        ConfigurationError: Naming method and key.
    """
    if value not in known:
        raise ConfigurationError(
            f"adapter.online: {key}={value} of {method} is none of {', '.join(known)}."
        )
