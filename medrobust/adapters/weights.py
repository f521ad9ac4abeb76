"""Tuning weights that the model has already: of its normalisation layers, or of the whole tower."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medrobust.exceptions import ConfigurationError

from .base import check_keys, visual_tower
from .lora import WEIGHTS

Which = Literal["norm", "all"]

_ORIGINAL: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()
"""Attached model -> the weights it had, for `detach`; gone with the model."""


@dataclass(frozen=True, slots=True)
class WeightTuning:
    """Trains weights of the image tower in place.

    Statistics of batch normalisation are no weights: they stay as they are, whatever is tuned.

    Args:
        name: In tables and in the store.
        which: "norm": scale and shift of every normalisation layer; "all": the whole tower.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = False

    name: str = "full"
    which: Which = "all"

    def __post_init__(self) -> None:
        """Refuse another word.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.which not in get_args(Which):
            raise ConfigurationError(
                f"adapter.which={self.which!r} is none of {', '.join(get_args(Which))}."
            )

    def description(self) -> dict[str, Any]:
        """Return what decides which weights are trained."""
        return {"kind": "weights", "which": self.which}

    def attach(self, model: nn.Module, *, seed: int = 0) -> tuple[str, ...]:
        """Unfreeze the chosen weights and freeze the rest; nothing is added, nothing is drawn."""
        model.eval().requires_grad_(False)
        chosen = self._chosen(model)
        if not chosen:
            raise ConfigurationError(
                f"adapter.which={self.which}: {type(model).__name__} has no such weights."
            )
        _ORIGINAL[model] = {n: p.detach().cpu().clone() for n, p in chosen.items()}
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in chosen))

    def _chosen(self, model: nn.Module) -> dict[str, nn.Parameter]:
        tower = visual_tower(model)
        norms = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)
        wanted = {
            f"{name}.{leaf}"
            for name, module in model.named_modules()
            if self.which == "all" or isinstance(module, norms)
            for leaf, _ in module.named_parameters(recurse=False)
        }
        return {
            name: parameter
            for name, parameter in model.named_parameters()
            if name.startswith(tower) and name in wanted
        }

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the tuned weights under their own names."""
        return {n: p.detach().cpu().clone() for n, p in self._chosen(model).items()}

    def load_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put tuned weights in their places, each accounted for."""
        chosen = self._chosen(model)
        check_keys(state, chosen, "the tuned weights")
        with torch.no_grad():
            for name, parameter in chosen.items():
                parameter.copy_(state[name])

    def merge(self, model: nn.Module) -> None:
        """Freeze the weights; they are in their places already."""
        model.requires_grad_(False)
        _ORIGINAL.pop(model, None)

    def detach(self, model: nn.Module) -> None:
        """Put the weights back that `attach` found."""
        self.load_state(model, _ORIGINAL.pop(model))
        model.requires_grad_(False)

    def must_move(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the trained scales and weights, unless a step may leave them: see the text.

        A bias of keys has no effect on a softmax and gets no gradient beyond rounding; biases are
        therefore not asked to move.
        """
        return {n: p for n, p in self._chosen(model).items() if not n.endswith("bias")}

    def files(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Return the weights alone."""
        from safetensors.torch import save

        return {WEIGHTS: save({name: value.contiguous() for name, value in state.items()})}

    def further_files(self, model: nn.Module, source: str) -> dict[str, bytes]:
        """Return none: names of weights say where they belong."""
        return {}
