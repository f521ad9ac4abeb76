"""BN-adapt: normalisation by the statistics of the images at hand (Schneider et al., 2006.16971).

Each layer of batch normalisation keeps mean and variance of its training images, (mu_s, v_s). With
those of the n images of a micro-batch (mu_b, v_b, biased) and a prior N, as if N images had been
seen before,

    mu = (N mu_s + n mu_b) / (N + n),    v = (N v_s + n v_b) / (N + n)
                                           [ + N n (mu_s - mu_b)^2 / (N + n)^2 ].

The last term, `between`, makes v the variance of both groups together; the public code leaves it
out. N = 0 is the micro-batch alone, N = inf the model as published, to the bit. Every micro-batch
begins anew: no image changes the answer to one of another micro-batch, cell or corruption, and the
layers keep their own statistics. A micro-batch is `model.micro_batch` images as they follow one
another in the split, the last one what is left; what pads it does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import images_that_count

from .base import Adaptation, visual_tower


@dataclass(frozen=True, slots=True)
class BatchStatistics(Adaptation):
    """Normalises by statistics of each micro-batch and of training together.

    Args:
        name: In tables and in the store; empty: "bn_adapt" and what differs from the defaults.
        prior: N, images that the statistics of training stand for; `.inf`: they alone.
        between: Whether the variance counts how far the two means are apart.
    """

    name: str = ""
    prior: float = 16.0
    between: bool = False

    def __post_init__(self) -> None:
        """Refuse a prior that is no number of images.

        Raises:
            ConfigurationError: Naming the key.
        """
        if type(self.prior) not in (int, float) or not self.prior >= 0:
            raise ConfigurationError(
                f"adapter.prior={self.prior} must be a number of images from 0 on, or .inf."
            )

        if not self.name:
            parts = [f"prior={self.prior:g}"] * (self.prior != 16) + ["between"] * self.between
            object.__setattr__(self, "name", " ".join(["bn_adapt", *parts]))

    def description(self) -> dict[str, Any]:
        """Return prior and form."""
        return {"kind": "bn_adapt", "prior": str(float(self.prior)), "between": self.between}

    def origin(self) -> dict[str, Any]:
        """Say that answers are adapted, so that gains are counted."""
        return {"label": self.name, "draw": None}

    def attach(self, model: nn.Module) -> nn.Module:
        """Let each layer of batch normalisation of the image side look at its micro-batch.

        Raises:
            ConfigurationError: If there is none.
        """
        tower = visual_tower(model)
        found = [
            module
            for name, module in model.named_modules()
            if name.startswith(tower) and isinstance(module, nn.BatchNorm2d)
        ]
        if not found:
            raise ConfigurationError(
                f"adapter={self.name} needs layers of batch normalisation, and the image side of "
                f"{type(model).__name__} has none: take a ResNet (clip_rn50, medclip_resnet50)."
            )
        for module in found:
            before, after = self._hooks(module)
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after, always_call=True)
        return model

    def _hooks(self, module: nn.BatchNorm2d) -> tuple[Callable[..., None], Callable[..., None]]:
        """Return what puts mixed statistics into a layer, and what takes them out again."""
        kept: list[tuple[Tensor, Tensor]] = []

        def before(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            mean, variance = module.running_mean, module.running_var
            assert mean is not None
            assert variance is not None
            kept.append((mean, variance))
            module.running_mean, module.running_var = self.mixed(given[0], mean, variance)

        def after(layer: nn.Module, given: tuple[Tensor, ...], output: Any) -> None:
            module.running_mean, module.running_var = kept.pop()

        return before, after

    def mixed(self, values: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the statistics of training with those of a micro-batch.

        Args:
            values: (n, C, H, W), padding of the last micro-batch at its end.
            mean: Of training, (C,).
            variance: Of training, (C,).

        Returns:
            Mean and variance (C,), of the type of the statistics of training.
        """
        count = images_that_count(len(values))
        share = self.prior / (self.prior + count) if self.prior != float("inf") else 1.0
        if share == 1:
            return mean, variance
        spread, middle = torch.var_mean(values[:count].float(), dim=(0, 2, 3), correction=0)
        mixed_mean = share * mean + (1 - share) * middle
        mixed_variance = share * variance + (1 - share) * spread
        if self.between:
            mixed_variance = mixed_variance + share * (1 - share) * (mean - middle) ** 2
        return mixed_mean.to(mean.dtype), mixed_variance.to(variance.dtype)
