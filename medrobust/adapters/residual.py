"""Residual adapters after chosen blocks, in two branches: which image, and where in it.

References:
    Huang et al., Adapting visual-language models for generalizable anomaly detection in medical
    images (MVFA), arXiv:2403.12570; its code, MediaBrain-SJTU/MVFA-AD (`CLIP/adapter.py`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models.base import ImageModel
from medrobust.models.blocks import BRANCHES

from .base import check_keys
from .lora import CONFIG, WEIGHTS

Form: TypeAlias = Literal["residual", "published"]

CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
NAMES = (SEGMENTATION, CLASSIFICATION)
"""Of the branches."""

KIND = "mvfa"
LEVELS = 4
"""Blocks that are adapted unless they are named: at a quarter, half, three quarters, the last."""

KEPT, ADDED = 0.8, 0.1
"""What the published form keeps of the states, and takes of each branch."""

FAULTS = (
    "the published form of MVFA multiplies the states of adapted blocks by 0.8 and starts from "
    "random branches, so that the model is another one before any step",
    "the published detection loss takes the sigmoid of a probability and cannot fall below 0.313 "
    "for an abnormal and 0.693 for a normal image",
)
"""What the reader of figures of the published form must know."""


DESCRIBED: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"blocks": (list,), "bottleneck": (int,), "share": (int, float), "form": (str,)}
)
"""Entries of the configuration of an artifact, and their kinds."""


class Branch(nn.Module):
    """A bottleneck that begins at zero: what it adds to the states, and the states with it."""

    joint = False

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return states of the branch and what it adds, both (N, T, D)."""
        added: Tensor = self.up(nn.functional.leaky_relu(self.down(states)))
        return states + added, added


class PublishedBranch(nn.Module):
    """The published bottleneck: its middle is compared with texts, its end is added."""

    joint = True

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck, bias=False)
        self.up = nn.Linear(bottleneck, width, bias=False)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle (N, T, E), in the space of texts, and what is added (N, T, D)."""
        middle: Tensor = nn.functional.leaky_relu(self.down(states))
        return middle, nn.functional.leaky_relu(self.up(middle))


BRANCH: Mapping[Form, type[Branch | PublishedBranch]] = MappingProxyType(
    {"residual": Branch, "published": PublishedBranch}
)


@dataclass(frozen=True, slots=True)
class Mvfa:
    """Bottlenecks after chosen blocks of a vision transformer, one a branch.

    In the "residual" form each branch b of a block adds U_b act(D_b x) to its own states, which go
    to the space of texts like those of the block itself, and the tower goes on with
    x + share (added by segmentation + added by classification). U_b begins at zero: an exact no-op,
    features and places alike. The "published" form is that of MVFA's code: see `FAULTS`.

    Args:
        name: In tables and in the store.
        blocks: Numbered from 1; None: a quarter, half, three quarters of them, and the last.
        bottleneck: Width of each; the published form takes that of the space of texts.
        share: Of each branch in what the tower goes on with.
        form: "residual" or "published".
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = False

    name: str = KIND
    blocks: Sequence[int] | None = None
    bottleneck: int = 64
    share: float = 0.1
    form: Form = "residual"

    def __post_init__(self) -> None:
        """Refuse numbers that no adapter can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.bottleneck < 1 or not 0 <= self.share <= 1 or self.blocks == []:
            raise ConfigurationError(
                f"adapter.bottleneck={self.bottleneck} must be at least 1, adapter.share="
                f"{self.share} in [0, 1], and adapter.blocks name at least one or be null."
            )
        if self.form not in get_args(Form):
            raise ConfigurationError(
                f"adapter.form={self.form!r} is none of {', '.join(get_args(Form))}."
            )

    @property
    def begins_elsewhere(self) -> bool:
        """Whether the model is another one before any step, on purpose."""
        return self.form == "published"

    @property
    def protocol(self) -> tuple[str, ...]:
        """What the reader of its figures must know: sentences."""
        return FAULTS if self.form == "published" else ()

    def description(self) -> dict[str, Any]:
        """Return what decides the adapter; the name does not."""
        blocks = None if self.blocks is None else list(self.blocks)
        said: dict[str, Any] = {"kind": KIND, "form": self.form, "blocks": blocks}
        if self.form == "residual":
            said |= {"bottleneck": self.bottleneck, "share": self.share}
        return said

    def attach(self, model: nn.Module, *, seed: int = 0) -> tuple[str, ...]:
        """Put both branches behind the blocks, and freeze the rest.

        Raises:
            ConfigurationError: If the model has no places that can be compared with texts, or no
                such blocks.
        """
        tower = _tower(model)
        chosen = self._chosen(tower)
        widths = _widths(tower, chosen)
        model.eval().requires_grad_(False)
        touched = []
        names = {id(module): name for name, module in model.named_modules()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for block in chosen:
                module = tower.image_blocks[block - 1]
                width, joint = widths[block]
                middle = joint if self.form == "published" else self.bottleneck
                branches = {name: BRANCH[self.form](width, middle) for name in NAMES}
                module.add_module(BRANCHES, nn.ModuleDict(branches).to(tower.device))
                module.register_forward_hook(self._mixing())
                touched.append(f"{names[id(module)]}.{BRANCHES}")
        model.eval()
        return tuple(touched)

    def _chosen(self, tower: ImageModel) -> list[int]:
        count = tower.patch_blocks
        if self.blocks is None:
            return default_blocks(count)
        wrong = [block for block in self.blocks if not 1 <= block <= count]
        if wrong or len(set(self.blocks)) < len(self.blocks):
            raise ConfigurationError(
                f"adapter.blocks={list(self.blocks)} must be different ones of 1 to {count}, the "
                f"blocks of {type(tower).__name__}."
            )
        return sorted(self.blocks)

    def _mixing(self) -> Callable[..., Any]:
        return Published() if self.form == "published" else Residual(self.share)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the branches, by their names within the model."""
        return {name: value.detach().cpu().clone() for name, value in _branches(model).items()}

    def load_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put weights of the branches into an attached model, each accounted for."""
        own = _branches(model)
        check_keys(state, own, "the adapter")
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    def merge(self, model: nn.Module) -> None:
        """Leave the branches where they are: no weight of the model can do what they do."""

    def detach(self, model: nn.Module) -> None:
        """Take the branches away: the model is again what it was before."""
        for module in model.modules():
            if hasattr(module, BRANCHES):
                delattr(module, BRANCHES)
                hooks = module._forward_hooks
                for key in [k for k, hook in hooks.items() if isinstance(hook, Residual)]:
                    del hooks[key]

    def must_move(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return what a step that reaches the branches changes.

        Of the classification branch alone: without masks nothing asks the last block where.
        """
        end = "up.weight" if self.form == "residual" else "down.weight"
        return {
            name: value
            for name, value in _branches(model).items()
            if name.endswith(f"{CLASSIFICATION}.{end}")
        }

    def files(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Return the weights."""
        from safetensors.torch import save

        return {WEIGHTS: save(dict(state))}

    def further_files(self, model: nn.Module, source: str) -> dict[str, bytes]:
        """Return how they are attached."""
        said = self.description() | {"blocks": list(_tower(model).branch_blocks)}
        return {CONFIG: json.dumps(said, indent=2, sort_keys=True).encode()}

    @classmethod
    def described(cls, said: Mapping[str, Any], file: str) -> "Mvfa":
        """Return the recipe of a configuration file.

        Raises:
            WeightsMismatchError: If it describes none.
        """
        values = {key: value for key, value in said.items() if key != "kind"}
        odd = [k for k, value in values.items() if not isinstance(value, DESCRIBED.get(k, ()))]
        blocks = values.get("blocks", ())
        if said.get("kind") != KIND or odd or not all(type(one) is int for one in blocks):
            raise WeightsMismatchError(
                f"{file} describes no residual adapters: see {', '.join(odd) or 'blocks or kind'}."
            )
        return cls(**values)


@dataclass(frozen=True)
class Residual:
    """Hook of a block: mixes what its branches add into what it returns."""

    share: float

    def __call__(self, module: nn.Module, _: Any, output: Any) -> Any:
        """Return the states that the tower goes on with, in the form they came in."""
        states = output[0] if isinstance(output, tuple) else output
        branches: Any = getattr(module, BRANCHES)
        mixed = self.mixed(states, *(branches[name](states)[1] for name in NAMES))
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    def mixed(self, states: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return x + share (first + second)."""
        return states + self.share * (first + second)


@dataclass(frozen=True)
class Published(Residual):
    """The published mixing, 0.8 x + 0.1 first + 0.1 second."""

    share: float = ADDED

    def mixed(self, states: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the mixture."""
        return KEPT * states + ADDED * first + ADDED * second


def default_blocks(count: int) -> list[int]:
    """Return a quarter, half, three quarters of the blocks, and the last.

    Example:
        >>> default_blocks(24), default_blocks(3)
        ([6, 12, 18, 24], [1, 2, 3])
    """
    return sorted({-(-count * part // LEVELS) for part in range(1, LEVELS + 1)})


def _tower(model: nn.Module) -> ImageModel:
    if not isinstance(model, ImageModel):
        raise ConfigurationError(
            f"adapter=mvfa needs a model with a text side, and {type(model).__name__} has none."
        )
    return model


def _widths(model: ImageModel, blocks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return the widths of states and of the space of texts, by a pass over a black image.

    Raises:
        ConfigurationError: If places cannot be compared with texts, or are maps of a network whose
            grid shrinks.
    """
    side = getattr(model.preprocess, "size", None) or 224
    with torch.no_grad():
        black = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=model.device)
        patches = model.encode_patches(model.preprocess(black), blocks)
    if not all(level.has_joint and level.tokens for level in patches.values()):
        raise ConfigurationError(
            f"adapter=mvfa needs a vision transformer whose places can be compared with texts, and "
            f"{type(model).__name__} is none. Choose another model, or adapter=lora."
        )
    return {
        block: (level.states.shape[2], level.joint().shape[2]) for block, level in patches.items()
    }


def _branches(model: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in model.named_parameters() if f".{BRANCHES}." in n}
