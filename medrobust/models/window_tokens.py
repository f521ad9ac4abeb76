"""A vision transformer that sees a few of its places alone, as WinCLIP encodes windows.

References:
    Jeong et al., WinCLIP, arXiv:2303.14814.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError

from .blocks import Blocks

RELATIVE = ("relative_position", "rel_pos")
"""Parts of names of parameters that tie attention to one whole grid."""


def check_windows(found: Blocks, what: str) -> None:
    """Refuse a tower that cannot leave places out.

    Args:
        found: The blocks of the tower.
        what: Whose it is, for the message.

    Raises:
        ConfigurationError: Saying why.
    """
    if found.shrinks:
        _refuse(what, "its image tower is no plain vision transformer, but works on whole maps")
    names = (name for block in found.modules for name, _ in block.named_parameters())
    if any(part in name for name in names for part in RELATIVE):
        _refuse(what, "its attention adds a bias for each place of the whole grid")


def _refuse(what: str, reason: str) -> None:
    raise ConfigurationError(
        f"{what} cannot encode windows alone: {reason}. Take task.scorer=windows, which averages "
        f"places, or another model."
    )


@contextmanager
def seeing(found: Blocks, windows: Tensor, sides: tuple[int, int], what: str) -> Iterator[None]:
    """Give the first block the tokens of windows, one window after another in place of an image.

    Tokens of no place (class, registers) stay in every window, and places keep their positions.

    Args:
        found: The blocks of the tower.
        windows: int64 (W, k), the places of each window, row by row of the grid.
        sides: Height and width of the pixels.
        what: Whose tower it is, for messages.
    """
    patch = found.patch

    def choose(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        states, *others = given
        tokens = states.shape[1]
        count = tokens if patch is None else (sides[0] // patch) * (sides[1] // patch)
        if states.ndim != 3 or tokens < count:
            _refuse(what, f"its blocks take {tuple(states.shape)}, which are no tokens of places")
        if any(map(_holds_tensor, (*others, *named.values()))):
            _refuse(what, "its blocks are told of the places of the whole grid")
        first = tokens - count
        places = windows.to(states.device)
        free = torch.arange(first, device=states.device).expand(len(places), first)
        chosen = states[:, torch.cat([free, first + places], dim=1)]  # (N, W, first + k, D)
        return (chosen.flatten(0, 1), *others), named

    hook = found.modules[0].register_forward_pre_hook(choose, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, tuple | list) and any(map(_holds_tensor, value))
    )
