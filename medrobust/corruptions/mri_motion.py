"""Motion of the patient while k-space is filled."""

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, UInt8Batch

from .artifacts import Choice
from .geometry import placed
from .mri import along
from .numba import mri as native
from .planes import by_plane, check_planes, fractions


def mr_motion(
    images: UInt8Batch, degrees: float, shift: float, moves: int = 2, *, axis: Choice, path: Choice
) -> UInt8Batch:
    """Move the patient while k-space is filled: each segment of it shows another position.

    Segments are equally wide but for a jitter; the one with the central plane shows the picture
    where it was, so that the picture itself does not move.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        degrees: Largest rotation about the middle, either way.
        shift: Largest translation along each axis, as a fraction of its side, either way.
        moves: Positions besides the first.
        axis: In which segments follow each other, rows (0) or columns (1), (N, 1), or keyed draws.
        path: (N, 4 moves) in [0, 1), or keyed draws; of each move rotation, translation down and
            to the right (0.5 is none) and jitter.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If there is no move.

    References:
        Shaw et al., MIDL 2019, as TorchIO 1.2.1, `RandomMotion`, on a slice; there shifts are in
        millimetres and the jitter is normal.

    Example:
        >>> import torch
        >>> grey, still = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8), torch.tensor([[0]])
        >>> mr_motion(grey, 0, 0, axis=still, path=torch.full((1, 8), 0.5)).unique().tolist()
        [90]
    """
    check_planes(images)
    if moves < 1:
        raise ConfigurationError(f"moves={moves} is no motion. Give 1 or more.")
    axes, paths = along(axis), fractions(path, 4 * moves).reshape(len(images), moves, 4)

    def moving(plane: Float64Array, n: int) -> Float64Array:
        return moved(plane, degrees, shift, axes[n], paths[n])

    return by_plane(images, moving)


def moved(
    plane: Float64Array, degrees: float, shift: float, axis: int, path: Float64Array
) -> Float64Array:
    """Fill the segments of k-space from one plane at the positions of `path` (moves, 4).

    Segments follow each other along one axis alone, and the real part is shown, so that to the
    plane is added how each position differs, filtered along that axis by the even part of its
    segment.
    """
    side = plane.shape[axis]
    edges = segment_edges(side, path[:, 3])
    centre = int(np.searchsorted(edges, side // 2, side="right")) - 1
    others = [segment for segment in range(len(path) + 1) if segment != centre]
    weights = even_parts(edges)
    shape = (weights.shape[1], plane.shape[1]) if axis == 0 else (len(plane), weights.shape[1])
    differs, space = np.empty_like(plane), np.empty(shape, np.complex128)
    total = np.zeros_like(space)
    for segment, (turn, down, right, _) in zip(others, 2 * path - 1, strict=True):
        move = (np.deg2rad(degrees * turn), (shift * down, shift * right))
        placed(plane, *move, out=differs)
        differs -= plane
        np.fft.rfft(differs, axis=axis, out=space)
        parts, sums = space.view(np.float64), total.view(np.float64)
        native.add_weighted(parts, sums, weights[segment], axis)
    out: Float64Array = np.fft.irfft(total, side, axis=axis, out=differs)
    out += plane
    return out


def even_parts(edges: NDArray[np.int64]) -> Float64Array:
    """Give the even parts of segments of centred k-space at frequencies 0 to N // 2.

    Args:
        edges: From `segment_edges`.

    Returns:
        float64 (segments, N // 2 + 1): of frequencies f and -f none, one or both are in a segment.

    Example:
        >>> even_parts(np.array([0, 2, 4])).tolist()
        [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]
    """
    side = int(edges[-1])
    frequencies = np.arange(side // 2 + 1)
    first, last = edges[:-1, None], edges[1:, None]
    both = [(side // 2 + f) % side for f in (frequencies, -frequencies)]
    held = [(first <= place) & (place < last) for place in both]
    parts: Float64Array = np.add(*held, dtype=np.float64) / 2
    return parts


def segment_edges(side: int, jitter: Float64Array) -> NDArray[np.int64]:
    """Give where segments of k-space begin and the last one ends: int64 (moves + 2,).

    Example:
        >>> segment_edges(30, np.array([0.5, 0.5])).tolist()
        [0, 10, 20, 30]
    """
    steps = np.arange(1, len(jitter) + 1) + 0.5 * (jitter - 0.5)
    inner = np.rint(side * steps / (len(jitter) + 1)).astype(np.int64)
    return np.concatenate([[0], inner, [side]])
