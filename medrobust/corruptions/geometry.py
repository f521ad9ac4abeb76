"""The whole picture turned, moved, and shrunk: black where it comes from beyond the border."""

import numpy as np

from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .numba.places import read_linearly
from .planes import by_plane, fractions


def affine(
    images: UInt8Batch,
    degrees: float = 0.0,
    shift: float = 0.0,
    scale: float = 1.0,
    fixed: bool = False,
    *,
    place: Choice,
) -> UInt8Batch:
    """Turn a picture about its middle, move it along both axes, and scale it.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        degrees: Of the turn at most, either way.
        shift: Along each axis at most, either way, as a fraction of its side.
        scale: Below 1 is smaller.
        fixed: Whether turn and shift are as large as they may be, and only their signs are drawn.
        place: (N, 3) in [0, 1), or keyed draws: turn, shift down and to the right; 0.5 is none.

    Returns:
        uint8 batch of the same shape: linear between pixels, black outside, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 40, 40), 90, dtype=torch.uint8)
        >>> out = affine(grey, shift=0.5, place=torch.tensor([[0.5, 0.75, 0.5]]))
        >>> out[0, 0, [9, 10, 39], 0].tolist()
        [0, 90, 90]
    """
    check_batch(images)
    moves = 2 * fractions(place, 3) - 1
    if fixed:
        moves = np.where(moves < 0, -1.0, 1.0)

    def moving(plane: Float64Array, n: int) -> Float64Array:
        turn, down, right = moves[n]
        return placed(plane, np.deg2rad(degrees * turn), (shift * down, shift * right), scale)

    return by_plane(images, moving)


def placed(
    plane: Float64Array,
    angle: float,
    shift: tuple[float, float],
    scale: float = 1.0,
    out: Float64Array | None = None,
) -> Float64Array:
    """Turn a plane about its middle, scale and shift it, linearly between pixels, black outside.

    The sums are those of `scipy.ndimage.affine_transform` in their order.

    Args:
        plane: float64 (H, W).
        angle: In radians.
        shift: Down and to the right, as fractions of the sides.
        scale: Below 1 is smaller.
        out: Memory of the same shape for the result; by default new.

    Example:
        >>> placed(np.array([[1.0, 2], [3, 4]]), 0, (0.5, 0)).tolist()
        [[0.0, 0.0], [1.0, 2.0]]
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (np.array(plane.shape) - 1) / 2
    start = middle - turn @ (middle + np.array(shift) * plane.shape)
    out = np.empty_like(plane) if out is None else out
    read_linearly(np.ascontiguousarray(plane), turn, start, out)
    return out
