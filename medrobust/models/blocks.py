"""The blocks of an image tower, found by its structure, and their outputs as places of a grid."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError

LISTS = ("resblocks", "layers", "layer", "blocks", "stages")
"""Under which names towers of open_clip, transformers and timm keep their blocks or stages."""

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""Of ResNets in the manner of torchvision, which keep no list."""


BRANCHES = "branches"
"""Submodule of a block that an adapter adds: name -> module whose call returns what that branch
says of the places, and what it adds to the states. Its attribute `joint` tells whether the former
is in the space of texts already."""


@dataclass(frozen=True)
class Heard:
    """What a block and its branches have returned.

    Attributes:
        output: Tokens, a map, or a tuple that begins with one of them.
        branches: Name -> tokens or map, and whether it is in the space of texts.
    """

    output: Any
    branches: dict[str, tuple[Tensor, bool]]


@dataclass(frozen=True)
class Blocks:
    """What a tower is made of, block after block.

    Attributes:
        modules: One a block, or a stage where the grid shrinks from one to the next.
        patch: Side of the patches of a plain vision transformer, whose tokens may begin with some
            of no place (class, registers); None where every token has a place.
        channels_last: Whether maps come as (N, h, w, D).
        shrinks: Whether the grid shrinks from one of them to the next.
    """

    modules: tuple[nn.Module, ...]
    patch: int | None
    channels_last: bool = False
    shrinks: bool = False

    @contextmanager
    def heard(self, blocks: Sequence[int]) -> Iterator[dict[int, Heard]]:
        """Keep what chosen blocks, and their branches, return while the tower runs inside."""
        outputs: dict[int, Heard] = {}
        hooks = []
        for block in set(blocks):
            module = self.modules[block - 1]
            branches: dict[str, tuple[Tensor, bool]] = {}
            for name, branch in getattr(module, BRANCHES, nn.ModuleDict()).items():
                hooks.append(branch.register_forward_hook(_keeper_of_branch(name, branches)))
            hooks.append(module.register_forward_hook(_keeper(block, outputs, branches)))
        try:
            yield outputs
        finally:
            for hook in hooks:
                hook.remove()

    def places(self, output: Any, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        """Return what a block has returned as states of places.

        Args:
            output: Tokens (N, T, D), a map, or a tuple that begins with one of them.
            height: Of the pixels.
            width: Of the pixels.

        Returns:
            (N, P, D) row by row, and the grid (h, w), P = h w.

        Raises:
            ConfigurationError: If the tokens are no grid.
        """
        states = output[0] if isinstance(output, tuple | list) else output
        if states.ndim == 4:
            return self._of_map(states, height, width)
        count = states.shape[1]
        if self.patch is not None:
            grid = height // self.patch, width // self.patch
        else:
            grid = isqrt(count), isqrt(count)
        first = count - grid[0] * grid[1]
        if first < 0 or (first and self.patch is None):
            raise ConfigurationError(
                f"patch features: {count} tokens are no grid of {grid[0]} x {grid[1]} places."
            )
        return states[:, first:], grid

    def _of_map(self, states: Tensor, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        patch = self.patch or height + width  # SAM keeps the grid of its patches, channels last
        kept = states.shape[1:3] == (height // patch, width // patch)
        if not (self.channels_last or kept):
            states = states.permute(0, 2, 3, 1)
        return states.flatten(1, 2), (states.shape[1], states.shape[2])


def _keeper(block: int, outputs: dict[int, Heard], branches: Any) -> Any:
    def keep(module: nn.Module, _: Any, output: Any) -> None:
        outputs[block] = Heard(output, branches)

    return keep


def _keeper_of_branch(name: str, branches: dict[str, tuple[Tensor, bool]]) -> Any:
    def keep(branch: Any, _: Any, output: tuple[Tensor, Tensor]) -> None:
        branches[name] = output[0], branch.joint

    return keep


def find_blocks(tower: nn.Module, what: str) -> Blocks:
    """Find the blocks of an image tower: the outermost list of them.

    Args:
        tower: Modules of an image side.
        what: Whose it is, for the message.

    Raises:
        ConfigurationError: If it has none.
    """
    for part in tower.modules():
        modules = _blocks_of(part)
        if not modules:
            continue
        inner: list[Any] = [getattr(stage, "blocks", None) for stage in modules]
        if any(one is not None for one in inner):  # Swin: before the grid shrinks
            last = tuple(one[-1] for one in inner)
            return Blocks(last, None, getattr(part, "output_fmt", "") == "NHWC", shrinks=True)
        return Blocks(modules, _patch_side(tower), shrinks=hasattr(part, STAGES[0]))
    raise ConfigurationError(
        f"{what} has no patch features: its image tower has no list of blocks. Take a vision "
        f"transformer, a Swin transformer or a ResNet."
    )


def _blocks_of(part: nn.Module) -> tuple[nn.Module, ...]:
    """Return the blocks that a module itself keeps; none, if it keeps none."""
    if all(isinstance(getattr(part, name, None), nn.Module) for name in STAGES):
        return tuple(getattr(part, name) for name in STAGES)
    for name in LISTS:
        kept = getattr(part, name, None)
        if isinstance(kept, nn.ModuleList | nn.Sequential) and len(kept):
            return tuple(kept)
    return ()


def _patch_side(tower: nn.Module) -> int | None:
    """Return the stride of the convolution that cuts patches: the first, if it does."""
    first = next((part for part in tower.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or first.kernel_size != first.stride or first.stride[0] == 1:
        return None
    return int(first.stride[0])
