"""Maps of several blocks on one grid. Imports torch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def on_one_grid(maps: Sequence[Tensor]) -> list[Tensor]:
    """Bring maps (n, ., h, w) to the finest grid of them, bilinearly.

    Example:
        >>> coarse, fine = torch.ones(1, 3, 2, 2), torch.ones(1, 5, 4, 4)
        >>> [list(one.shape) for one in on_one_grid([coarse, fine])]
        [[1, 3, 4, 4], [1, 5, 4, 4]]
    """
    finest = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
    return [one if one.shape[-2:] == finest else _enlarged(one, finest) for one in maps]


def _enlarged(maps: Tensor, shape: torch.Size) -> Tensor:
    return functional.interpolate(maps, tuple(shape), mode="bilinear", align_corners=False)
