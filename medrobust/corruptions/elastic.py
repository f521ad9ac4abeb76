"""Smooth deformation by a grid of control points, with cubic B-splines between them."""

import numpy as np

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .planes import by_plane, check_planes, fractions

BEYOND = 0.125
"""Pixels by which ITK lets the grid reach beyond the picture."""


def bspline_deformation(
    images: UInt8Batch, displacement: float, points: int = 7, locked: int = 2, *, grid: Choice
) -> UInt8Batch:
    """Read each pixel from where a smooth random field puts it.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        displacement: Of a control point along each axis at most, as a fraction of that side.
        points: Of the grid along each axis, 4 or more; the outermost lie outside the picture.
        locked: Layers of them from the border that stay where they are.
        grid: (N, 2 points^2) in [0, 1), or keyed draws: rows, then columns; 0.5 is none.

    Returns:
        uint8 batch of the same shape: linear between pixels, the least value outside, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        TorchIO 1.2.1, `RandomElasticDeformation`, on a slice; Rueckert et al., IEEE TMI 18, 1999.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 40, 40), 90, dtype=torch.uint8)
        >>> bspline_deformation(grey, 0.1, grid=torch.full((1, 98), 0.5)).unique().tolist()
        [90]
    """
    check_planes(images)
    drawn = 2 * fractions(grid, 2 * points * points).reshape(-1, 2, points, points) - 1
    height, width = images.shape[2:]
    free = np.zeros((points, points))
    free[locked : points - locked, locked : points - locked] = displacement
    down, across = spline_weights(height, points), spline_weights(width, points)

    def deformed(plane: Float64Array, n: int) -> Float64Array:
        moves = (down @ (drawn[n, k] * free) @ across.T * (height, width)[k] for k in (0, 1))
        return read_from(plane, *moves)

    return by_plane(images, deformed)


def spline_weights(side: int, points: int) -> Float64Array:
    """Weigh control points at each pixel: cubic B-splines, `points` - 3 spans over the side.

    Returns:
        float64 (side, points); rows sum to 1.

    Example:
        >>> spline_weights(8, 4).sum(axis=1).round(9).tolist() == [1.0] * 8
        True
    """
    places = (np.arange(side) + 0.5 + BEYOND) / (side + 2 * BEYOND) * (points - 3)
    far = np.abs(places[:, None] - (np.arange(points) - 1))
    near, beyond = 2 / 3 - far**2 + far**3 / 2, (2 - far) ** 3 / 6
    weights: Float64Array = np.where(far < 1, near, np.where(far < 2, beyond, 0))
    return weights


def read_from(plane: Float64Array, down: Float64Array, right: Float64Array) -> Float64Array:
    """Read each pixel so far below and to the right of itself; the least value is outside.

    Example:
        >>> still, one = np.zeros((1, 3)), np.ones((1, 3))
        >>> read_from(np.array([[5.0, 6.0, 7.0]]), still, one).tolist()
        [[6.0, 7.0, 5.0]]
    """
    from scipy.ndimage import map_coordinates

    rows, columns = np.indices(plane.shape)
    out: Float64Array = map_coordinates(
        plane, [rows + down, columns + right], order=1, mode="constant", cval=plane.min()
    )
    return out
