"""AdaBN, alpha-BN and EMA-BN: other statistics for batch normalisation, and no gradient.

With mean and variance of training (mu_s, v_s) and those of a micro-batch (mu_b, v_b, biased):

    alpha_bn    mu = (1 - alpha) mu_s + alpha mu_b,              the same for v; alpha = .1
    ema_bn      mu <- (1 - momentum) mu + momentum mu_b, from mu_s on, and the micro-batch is
                answered by what mu then is; v likewise; momentum = .1
    adabn       mu, v of all images of the cell: the mean over micro-batches, weighted by their
                images, v with what the means of micro-batches differ by

In the first look of adabn each layer normalises by its micro-batch, so that later layers see what
they will see. The public code of alpha-BN and EMA-BN feeds the unbiased variance (n / (n - 1) times
ours, n values a channel) where the paper means the biased one; ours is biased. As elsewhere, what
pads the last micro-batch does not count. Sources: Li et al., arXiv:1603.04779; Schneider et al.,
arXiv:2006.16971; `mariodoebler/test-time-adaptation:classification/methods/bn.py`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array, LogitBatch, UInt8Batch

from .adapting import Adapting, Scene, Session, answered
from .base import Begins, check
from .lent import batch_norms, lent, of_micro_batch, statistics_of


@dataclass(frozen=True, slots=True)
class OfStatistics(Adapting):
    """Changes statistics alone, which only batch normalisation has."""

    def check(self, model: Any) -> None:
        """Refuse a model without layers of batch normalisation.

        Raises:
            ConfigurationError: Naming both.
        """
        if not batch_norms(model):
            raise ConfigurationError(
                f"adapter.online={self.method} needs layers of batch normalisation, and the image "
                f"side of {type(model).__name__} has none: take a ResNet (clip_rn50, "
                f"medclip_resnet50), or a method that changes scale and shift (tent)."
            )


@dataclass(frozen=True, slots=True)
class AlphaBN(OfStatistics):
    """Mixes statistics of training with those of each micro-batch, which stands alone.

    Args:
        order: Of the images.
        alpha: Share of the micro-batch; 0: the model itself, to the bit.
    """

    alpha: float = 0.1

    method: ClassVar[str] = "alpha_bn"
    protocols: ClassVar[tuple[Begins, ...]] = ("episodic",)

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_share("alpha_bn", "alpha", self.alpha)

    @property
    def idle(self) -> bool:
        """Without a share of the micro-batch."""
        return self.alpha == 0

    def begin(self, scene: Scene) -> "Alone":
        """Begin with a cell."""
        return Alone(scene, self.alpha)


@dataclass(frozen=True, slots=True)
class EmaBN(OfStatistics):
    """Lets statistics follow the micro-batches.

    Args:
        order: Of the images.
        protocol: When statistics are again those of training.
        momentum: Share of each micro-batch; 0: the model itself, to the bit.
    """

    protocol: Begins = "per_cell"
    momentum: float = 0.1

    method: ClassVar[str] = "ema_bn"

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_share("ema_bn", "momentum", self.momentum)

    @property
    def idle(self) -> bool:
        """Without a share of any micro-batch."""
        return self.momentum == 0

    def begin(self, scene: Scene) -> "Mixed":
        """Begin with a cell."""
        return Mixed(scene, self.momentum)


@dataclass(frozen=True, slots=True)
class AdaBN(OfStatistics):
    """Takes the statistics of all images of the cell, in a look before the first answer."""

    method: ClassVar[str] = "adabn"
    protocols: ClassVar[tuple[Begins, ...]] = ("per_cell",)
    looks: ClassVar[bool] = True

    def begin(self, scene: Scene) -> "Whole":
        """Begin with a cell."""
        return Whole(scene)


def check_share(method: str, key: str, value: Any) -> None:
    """Refuse a share that is none of [0, 1].

    Raises:
        ConfigurationError: Naming method and key.
    """
    check(method, key, value, low=0)
    if value > 1:
        raise ConfigurationError(f"adapter.online: {key}={value} of {method} must be 1 at most.")


class Mixed(Session):
    """Statistics that follow micro-batches.

    Args:
        scene: Of the cell.
        share: Of each micro-batch.

    Attributes:
        statistics: Name of a layer -> mean and variance, (C,).
    """

    def __init__(self, scene: Scene, share: float) -> None:
        self._scene, self._share = scene, share
        self.statistics = statistics_of(scene.model)

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer by statistics that have moved to the micro-batch."""
        if self._share == 0:
            return answered(self._scene, self._scene.model.preprocess(images))
        with torch.no_grad(), lent(self._scene.model, {}, self._moved):
            return answered(self._scene, self._scene.model.preprocess(images))

    def _moved(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        found = self._mixed(name, values)
        self.statistics[name] = found
        return found

    def _mixed(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        own, other = self.statistics[name], of_micro_batch(name, values.float())
        share = self._share
        mean, variance = ((1 - share) * a + share * b for a, b in zip(own, other, strict=True))
        return mean, variance


class Alone(Mixed):
    """Statistics of training, mixed anew for every micro-batch."""

    def _moved(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        return self._mixed(name, values)


class Whole(Session):
    """Statistics of all images of a cell."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._sums: dict[str, tuple[int, Tensor, Tensor]] = {}

    def look(self, images: UInt8Batch, index: Int64Array) -> None:
        """Add a micro-batch to the statistics."""
        with torch.no_grad(), lent(self._scene.model, {}, self._added):
            self._scene.model.encode_image(self._scene.model.preprocess(images))

    def _added(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        """Join the sums of squares about the mean, layer by layer (Chan's formula)."""
        mean, variance = of_micro_batch(name, values.double())
        count, whole, squares = self._sums.get(
            name, (0, torch.zeros_like(mean), torch.zeros_like(mean))
        )
        n, m = len(values), count + len(values)
        squares = squares + n * variance + (mean - whole) ** 2 * (n * count / m)
        self._sums[name] = (m, whole + (mean - whole) * (n / m), squares)
        return mean.to(values.dtype), variance.to(values.dtype)

    def statistics(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of a layer over all images, (C,)."""
        count, mean, squares = self._sums[name]
        return mean.to(values.dtype), (squares / count).to(values.dtype)

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer by the statistics of the whole cell."""
        with torch.no_grad(), lent(self._scene.model, {}, self.statistics):
            return answered(self._scene, self._scene.model.preprocess(images))
