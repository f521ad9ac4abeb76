"""Low-rank adaptation by peft: W + (alpha / rank) B A, with A and B trained and W frozen."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from medrobust.base.safe_files import json_object
from medrobust.base.wording import with_article
from medrobust.exceptions import ConfigurationError, WeightsMismatchError

from .base import check_keys, parent_of, visual_tower
from .layouts import find_targets

Variant = Literal["lora", "rslora", "dora"]

ON_DISK = "base_model.model."
"""What peft writes before every name of an adapter file."""

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


UPDATED = re.compile(r"base_model\.model\.(.+)\.lora_A\.weight")
"""Name of the A of a module in an adapter file."""

LARGEST_RANK = 1 << 13

DESCRIBED: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "r": (int,),
        "lora_alpha": (int, float),
        "use_rslora": (bool,),
        "use_dora": (bool,),
        "fan_in_fan_out": (bool,),
        "rank_pattern": (dict,),
        "alpha_pattern": (dict,),
        "modules_to_save": (list,),
    }
)
"""Entries of peft's configuration that decide what an update does, and their kinds."""


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank updates of chosen projections of the image tower.

    Args:
        name: In tables and in the store.
        rank: Of each update.
        alpha: The update is scaled by alpha / rank (rsLoRA: by alpha / sqrt(rank)).
        dropout: On the input of the updates, while training.
        targets: Parts of the image tower (`medrobust.adapters.layouts`): q, k, v, out, fc1, fc2;
            qkv where they are fused; conv for residual networks.
        modules: Regular expression of whole module names, in place of `targets`.
        variant: "lora"; "rslora" (arXiv:2312.03732); "dora" (arXiv:2402.09353).

    References:
        Hu et al., LoRA, arXiv:2106.09685. A starts Kaiming-uniform, B zero: an exact no-op.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = False

    name: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: Sequence[str] = ("q", "k", "v")
    modules: str | None = None
    variant: Variant = "lora"

    def __post_init__(self) -> None:
        """Refuse numbers that no update can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ConfigurationError(
                f"adapter.rank={self.rank} must be at least 1, adapter.alpha={self.alpha} above 0 "
                f"and adapter.dropout={self.dropout} in [0, 1)."
            )
        if self.variant not in get_args(Variant):
            raise ConfigurationError(
                f"adapter.variant={self.variant!r} is none of {', '.join(get_args(Variant))}."
            )
        if self.modules is None and not self.targets:
            raise ConfigurationError("adapter.targets=[] adapts nothing: name q, k, v or others.")

    def description(self) -> dict[str, Any]:
        """Return what decides the update; the name does not."""
        values = asdict(self) | {"kind": "lora", "targets": list(self.targets)}
        return {key: value for key, value in values.items() if key != "name"}

    def attach(self, model: nn.Module, *, seed: int = 0) -> tuple[str, ...]:
        """Put A and B beside the targeted projections, and freeze the rest.

        Raises:
            ConfigurationError: If no module is meant, or one whose update peft would ignore.
        """
        from peft import LoraConfig, inject_adapter_in_model

        pattern, names = self._targets(model)
        model.eval().requires_grad_(False)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # any number, to peft's code
            lora_dropout=self.dropout,
            target_modules=pattern,
            use_rslora=self.variant == "rslora",
            use_dora=self.variant == "dora",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, model)
        model.eval()
        return tuple(names)

    def _targets(self, model: nn.Module) -> tuple[str, list[str]]:
        tower = visual_tower(model)
        if self.modules is None:
            pattern, names = find_targets(model, tower, tuple(self.targets))
        else:
            pattern = self.modules
            names = [name for name, _ in model.named_modules() if re.fullmatch(pattern, name)]
        if not names:
            raise ConfigurationError(
                f"adapter.modules={pattern!r} names no module of {type(model).__name__}."
            )
        _check_targets(model, names, tower)
        return pattern, names

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return A and B (DoRA: and the magnitudes) under the names of peft's file."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(model, save_embedding_layers=False)
        return {f"{ON_DISK}{name}": value.detach().cpu().clone() for name, value in found.items()}

    def load_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put A and B into an attached model, each accounted for."""
        from peft import set_peft_model_state_dict

        check_keys(state, self.state(model), "the adapter")
        inside = {name.removeprefix(ON_DISK): value for name, value in state.items()}
        set_peft_model_state_dict(model, inside)

    def merge(self, model: nn.Module) -> None:
        """Add the update to the projections, which take their old place again."""
        self._put_back(model, merged=True)

    def detach(self, model: nn.Module) -> None:
        """Give the projections their old place again, without the update."""
        self._put_back(model, merged=False)

    @staticmethod
    def _put_back(model: nn.Module, *, merged: bool) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import ModulesToSaveWrapper

        kinds = (BaseTunerLayer, ModulesToSaveWrapper)
        for name in [n for n, part in model.named_modules() if isinstance(part, kinds)]:
            owner, leaf = parent_of(model, name)
            layer: Any = getattr(owner, leaf)
            if isinstance(layer, ModulesToSaveWrapper):  # a module that was saved whole
                saved = layer.modules_to_save["default"]
                setattr(owner, leaf, saved if merged else layer.original_module)
                continue
            if merged:
                layer.merge(safe_merge=True)
            setattr(owner, leaf, layer.get_base_layer())
        if hasattr(model, "peft_config"):
            del model.peft_config

    def must_move(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return every B: zero at first, so that a step that reaches it changes it."""
        return {name: value for name, value in model.named_parameters() if ".lora_B." in name}

    def files(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Return the weights alone; the configuration needs the model, see `config`."""
        from safetensors.torch import save

        return {WEIGHTS: save({name: value.contiguous() for name, value in state.items()})}

    def further_files(self, model: nn.Module, source: str) -> dict[str, bytes]:
        """Return what `PeftModel.from_pretrained` reads beside the weights."""
        return {CONFIG: self.config(model, source)}

    def config(self, model: nn.Module, source: str) -> bytes:
        """Return peft's `adapter_config.json` of an attached model.

        Args:
            model: To which the update is attached.
            source: Hub id, or what else names the base model.
        """
        configs: Any = model.peft_config
        values = dict(configs["default"].to_dict())
        values |= {"base_model_name_or_path": source, "inference_mode": True}
        plain = {
            key: sorted(value) if isinstance(value, set) else value for key, value in values.items()
        }
        return (json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n").encode()


def _check_targets(model: nn.Module, names: Sequence[str], tower: str) -> None:
    """Refuse what peft accepts and then ignores in the forward pass, and what is not the image's.

    `nn.MultiheadAttention` and the attention pool of CLIP's residual networks read the weights of
    their projections directly: an update there gets no gradient, yet would be merged.
    """
    for name in names:
        module = model.get_submodule(name)
        owner, _ = parent_of(model, name)
        if not name.startswith(tower):
            raise ConfigurationError(
                f"adapter.modules names {name}, which is outside the image tower {tower!r}: class "
                f"texts are encoded once and stay as they are."
            )
        if isinstance(owner, nn.MultiheadAttention) or type(owner).__name__ == "AttentionPool2d":
            raise ConfigurationError(
                f"{name} lies in {with_article(type(owner).__name__)}, which reads its weights "
                f"directly: an update there would be ignored, and merged all the same. Choose "
                f"other targets."
            )
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise ConfigurationError(
                f"{name} is {with_article(type(module).__name__)}; low-rank updates are for linear "
                f"layers and convolutions. Name those."
            )


def attach_described(model: nn.Module, file: Path, state: Mapping[str, Tensor]) -> None:
    """Put updates beside the modules that an adapter of peft was saved for, with first values.

    The modules are those that the tensors are named after: no regular expression of the file is
    ever matched, which could take for ever, and of its other entries only `DESCRIBED` are used.

    Args:
        model: Frozen, and changed.
        file: `adapter_config.json`, as peft writes it.
        state: The tensors of the adapter, by their names on disk.

    Raises:
        ConfigurationError: If the file describes no such update, or the model lacks a module.
    """
    from peft import LoraConfig, inject_adapter_in_model

    try:
        said = json_object(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}).") from error
    given = {name: said[name] for name in DESCRIBED if said.get(name) is not None}
    wrong = [name for name, value in given.items() if not _plain(value, DESCRIBED[name])]
    if wrong or said.get("peft_type", "LORA") != "LORA" or not _first_values_kept(said):
        what = ", ".join(wrong) or "peft_type or init_lora_weights"
        raise ConfigurationError(f"{file} describes no low-rank update that is known: see {what}.")
    modules = updated_modules(state)
    known = {name for name, _ in model.named_modules()}
    if not modules or not known.issuperset(modules):
        raise WeightsMismatchError(
            f"the adapter in {file.parent} does not fit this model. It changes "
            f"{', '.join(modules[:3]) or 'no module'}, of which {type(model).__name__} has none. "
            f"Nothing was loaded."
        )
    model.eval().requires_grad_(False)
    try:
        inject_adapter_in_model(LoraConfig(target_modules=modules, **given), model)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(
            f"{file} cannot be put into {type(model).__name__}: {str(error).splitlines()[0]}"
        ) from error


def updated_modules(state: Mapping[str, Tensor]) -> list[str]:
    """Name the modules that the tensors of an adapter file update, in order."""
    return sorted({match[1] for name in state if (match := UPDATED.fullmatch(name))})


def digest_of_updated(weights: Mapping[str, Tensor]) -> str:
    """Hash the weights that updates are added to.

    Args:
        weights: Name of a module -> its weight, without the update.

    Returns:
        SHA-256 over names and float32 values, by name.
    """
    found = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().cpu().float().contiguous().flatten()
        found.update(f"{name}\n".encode())
        found.update(values.view(torch.uint8).numpy().data)
    return found.hexdigest()


def _plain(value: Any, kinds: tuple[type, ...]) -> bool:
    """Say whether an entry of a configuration is of its kind, and harmless."""
    if isinstance(value, dict):
        names = all(re.fullmatch(r"[\w.]+", name) for name in value)
        return dict in kinds and names and all(_plain(v, (int, float)) for v in value.values())
    if isinstance(value, list):
        return list in kinds and all(
            isinstance(name, str) and re.fullmatch(r"[\w.]+", name) for name in value
        )
    if isinstance(value, bool):
        return bool in kinds
    return type(value) in kinds and 0 < value <= LARGEST_RANK


def _first_values_kept(said: Mapping[str, Any]) -> bool:
    """Say whether the update was made beside the weights as published, not taken out of them."""
    first = said.get("init_lora_weights", True)
    return isinstance(first, bool) or first in ("gaussian", "orthogonal", None)
