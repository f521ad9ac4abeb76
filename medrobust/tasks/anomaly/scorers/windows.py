"""Windows over the grid of places, and harmonic means of their scores.

References:
    Jeong et al., WinCLIP, arXiv:2303.14814.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError

SMALLEST = 1e-30
"""Score whose inverse is finite."""


def window_members(grid: tuple[int, int], side: int) -> Tensor:
    """Return which places each window of side x side covers: bool (W, P), row by row.

    Raises:
        ConfigurationError: If no window fits.

    Example:
        >>> window_members((2, 3), 2).int().tolist()
        [[1, 1, 0, 1, 1, 0], [0, 1, 1, 0, 1, 1]]
    """
    height, width = grid
    if not 1 <= side <= min(grid):
        raise ConfigurationError(f"no window of {side} x {side} places fits {height} x {width}.")
    places = torch.arange(height * width).view(grid)
    covered = places.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side * side)
    members = torch.zeros(len(covered), height * width, dtype=torch.bool)
    return members.scatter(1, covered, value=True)


def window_means(joint: Tensor, members: Tensor) -> Tensor:
    """Average the places of each window: (n, P, E) -> (n, W, E).

    WinCLIP encodes the places of each window alone instead: `ImageModel.encode_windows`.
    """
    weights = members.to(joint.device, joint.dtype)
    return (weights / weights.sum(dim=1, keepdim=True)) @ joint


def harmonic_map(scores: Tensor, members: Tensor) -> Tensor:
    """Give each place the harmonic mean of the windows over it: (n, W) -> (n, P).

    n / Σ 1/s: one window that finds a place normal suffices. Scores of 0 count as 1e-30.

    Raises:
        ConfigurationError: If scores are negative.
    """
    if (scores < 0).any():
        raise ConfigurationError("harmonic means are those of scores that are not negative.")
    covers = members.to(scores.device, scores.dtype)
    return covers.sum(dim=0) / ((1 / scores.clamp(min=SMALLEST)) @ covers)


def harmonic_scales(maps: Sequence[Tensor], image: Tensor) -> Tensor:
    """Join maps of several sides of windows, (n, P), and the score of the image, (n,): (n, P).

    (n + 1) / Σ 1/s over n maps and the image.
    """
    inverse = sum((1 / one for one in maps), start=1 / image[:, None])
    return (len(maps) + 1) / inverse
