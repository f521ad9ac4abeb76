"""How the image tower runs: precision, memory layout, compilation, attention kernel."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
Attention: TypeAlias = Literal["sdpa", "eager"]

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Speed:
    """Options that trade exactness for speed; the defaults are exact.

    Against fp32, features of the tests' models turn by a cosine of less than 1e-3 in bf16 and fp16,
    and move by less than 1e-5 with channels-last order or eager attention.

    Attributes:
        precision: "fp32"; or "bf16" or "fp16", in which the image tower runs under autocast, its
            weights staying float32. Texts, normalisation and logits are always float32 or better.
        channels_last: Keep images and convolutions in channels-last order, faster for ResNets.
        compile: Compile the image tower with `torch.compile`; the first batch takes a minute.
        attention: "sdpa", PyTorch's fused kernels, or "eager", the plain formula.
    """

    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    attention: Attention = "sdpa"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        for key, known in (("precision", Precision), ("attention", Attention)):
            if getattr(self, key) not in get_args(known):
                raise ConfigurationError(
                    f"speed.{key}={getattr(self, key)!r} is none of {get_args(known)}."
                )

    def description(self) -> dict[str, Any]:
        """Return the choices that are not the default: part of the fingerprint."""
        return {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if getattr(self, name) != getattr(EXACT, name)
        }

    @contextmanager
    def context(self, device: torch.device) -> Iterator[None]:
        """Run what is inside in the chosen precision."""
        if self.precision == "fp32":
            yield
            return
        with torch.autocast(device.type, dtype=DTYPES[self.precision]):
            yield

    def arrange(self, pixels: Tensor) -> Tensor:
        """Put pixels into the chosen memory order."""
        return pixels.to(memory_format=torch.channels_last) if self.channels_last else pixels

    def apply(self, model: Any) -> Any:
        """Prepare a loaded model, in place, and return it.

        Args:
            model: Has a `visual_encoder` and takes a `speed`.

        Raises:
            ConfigurationError: If the model has no visual encoder of its own (a user's classifier).
        """
        if self == EXACT:
            return model
        if not isinstance(getattr(model, "visual_encoder", None), nn.Module):
            raise ConfigurationError(
                f"speed={self.description()} needs a model of medrobust, and this is a "
                f"{type(model).__name__}. Choose speed=exact."
            )
        if self.attention == "eager":
            for module in model.visual_encoder.modules():
                if hasattr(module, "set_attn_implementation"):
                    module.set_attn_implementation("eager")
        if self.channels_last:
            model.visual_encoder.to(memory_format=torch.channels_last)
        if self.compile:
            model.visual_encoder.compile()
        model.speed = self
        return model


EXACT = Speed()
"""Full precision, the order and kernels as the model was loaded."""
