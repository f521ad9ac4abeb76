"""Patch features: what the blocks of an image tower say of each place, from one pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError

from .blocks import Blocks, Heard

Projection: TypeAlias = Callable[[Tensor], Tensor]
"""States (N, P, D) of places -> (N, P, E) in the space that images and texts share."""


EncodesWindows: TypeAlias = Callable[[Tensor], Tensor]
"""Windows (W, k) of places -> features (N, W, D)."""


@dataclass(frozen=True)
class PatchLevel:
    """What one block says of the places of each image.

    Attributes:
        block: From 1; of Swin transformers and ResNets the stage.
        states: float32 (N, P, D), as the block returns them: tokens of no place (class, registers)
            left out, row by row of the grid, not normalised.
        grid: (h, w), P = h w.
        branches: Name -> float32 (N, P, E) in the shared space, what adapters with branches of
            their own say of the places; empty without one.
        tokens: Whether the block gives tokens, and no map.
        first: float32 (N, T, D), the tokens of no place; none of them where there is no such one.
    """

    block: int
    states: Tensor
    grid: tuple[int, int]
    projection: Projection | None = field(default=None, repr=False)
    branches: Mapping[str, Tensor] = field(default_factory=dict)
    tokens: bool = True
    first: Tensor | None = field(default=None, repr=False)

    @property
    def has_joint(self) -> bool:
        """Whether the places can be compared with texts."""
        return self.projection is not None

    def joint(self) -> Tensor:
        """Return the places in the space shared with texts: float32 (N, P, E), not normalised.

        As the class token of the last block goes there: through the tower's last norm and its
        projection, whatever the block.

        Raises:
            ConfigurationError: If the model cannot.
        """
        if self.projection is None:
            raise ConfigurationError(
                f"the places of block {self.block} cannot be compared with texts: this model has "
                f"no projection for them. Take its last block, a model with a text side, or a "
                f"memory bank."
            )
        return self.projection(self.states).float()

    def rows(self, start: int, end: int) -> "PatchLevel":
        """Return that of some images alone."""
        kept = {name: states[start:end] for name, states in self.branches.items()}
        first = None if self.first is None else self.first[start:end]
        return replace(self, states=self.states[start:end], branches=kept, first=first)


class PatchFeatures(Mapping[int, PatchLevel]):
    """Levels of one batch: block -> what it says, in the order asked for.

    Args:
        levels: One a block.
        windows: Encodes windows of places of the same images alone, as `ImageModel.encode_windows`
            does; None where nobody can.
    """

    def __init__(self, levels: Sequence[PatchLevel], windows: EncodesWindows | None = None) -> None:
        self._levels = {level.block: level for level in levels}
        self._windows = windows

    def __getitem__(self, block: int) -> PatchLevel:
        return self._levels[block]

    def __iter__(self) -> Iterator[int]:
        return iter(self._levels)

    def __len__(self) -> int:
        return len(self._levels)

    @property
    def blocks(self) -> tuple[int, ...]:
        """In the order asked for."""
        return tuple(self._levels)

    def of(self, blocks: Sequence[int]) -> "PatchFeatures":
        """Return chosen levels."""
        return PatchFeatures([self._levels[block] for block in blocks], self._windows)

    def windows(self, places: Tensor) -> Tensor:
        """Encode windows of places alone, float32 (N, W, D) of unit norm, by further passes.

        Args:
            places: int64 (W, k), the places of each window, row by row of the grid.
        """
        assert self._windows is not None
        return self._windows(places)

    def rows(self, start: int, end: int) -> "PatchFeatures":
        """Return those of some images alone."""
        levels = [level.rows(start, end) for level in self._levels.values()]
        whole = self._windows
        return PatchFeatures(levels, whole and (lambda places: whole(places)[start:end]))


def check_blocks(blocks: Sequence[int], count: int, what: str) -> None:
    """Refuse blocks that a tower does not have.

    Raises:
        ConfigurationError: Naming them.
    """
    wrong = [block for block in blocks if not 1 <= block <= count]
    if wrong or not blocks or len(set(blocks)) < len(blocks):
        named = ", ".join(map(str, blocks)) or "none"
        raise ConfigurationError(
            f"patch features of the blocks {named} were asked for; {what} has "
            f"{counted(count, 'block')}, numbered from 1: name some of them, each once."
        )


def read_levels(
    found: Blocks,
    outputs: Mapping[int, Heard],
    blocks: Sequence[int],
    pixels: Tensor,
    projection: Callable[[int], Projection | None],
) -> list[PatchLevel]:
    """Make levels of what was heard while a tower ran.

    Args:
        found: The blocks of the tower.
        outputs: Block -> what it and its branches have returned.
        blocks: In the order asked for.
        pixels: (N, C, H, W), what the tower was given.
        projection: Block -> projection into the shared space.
    """
    levels = []
    for block in blocks:
        heard, way, sides = outputs[block], projection(block), pixels.shape[-2:]
        states, grid = found.places(heard.output, *sides)
        branches = {}
        for name, (said, joint) in heard.branches.items():
            of_places = found.places(said, *sides)[0].float()
            branches[name] = of_places if joint or way is None else way(of_places).float()
        whole = _first(heard.output)
        tokens = whole.ndim == 3
        first = whole[:, : whole.shape[1] - states.shape[1]].float() if tokens else None
        levels.append(PatchLevel(block, states.float(), grid, way, branches, tokens, first))
    return levels


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple | list) else output
    return first
