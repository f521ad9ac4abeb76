"""Planes of grey values, corrupted one by one in float64 on the CPU.

What a scanner does to a picture is done to its grey values, whatever the device that asks: images
that lie elsewhere are copied here and back, so that every device has the same pixels. Channels that
are equal, as those of a grey picture stored in color, are computed once and stay equal.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from torch import Tensor, float64

from medrobust.base.numba_threads import empty, run_native, run_native_into
from medrobust.corruptions.numba.philox import make_words
from medrobust.corruptions.numba.places import round_greys
from medrobust.keys import NORMAL_SCALE, Draws, normal_table
from medrobust.types import Float64Array, Int64Array, UInt8Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch

Planes: TypeAlias = UInt8Batch
"""A batch of images; or float64 (N, 1, H, W) of greys, which `by_plane` does not round nor clip."""

OnPlane: TypeAlias = Callable[[Float64Array, int], Float64Array]
"""Takes float64 (H, W) of 0 to 255 and the place of its image in the batch; returns the same."""

OnImage: TypeAlias = Callable[[Float64Array, int], Float64Array]
"""Takes float64 (C, H, W) of 0 to 255 and the place of the image in the batch; returns the same."""


def check_planes(images: Planes) -> None:
    """Refuse what is neither a batch of images nor float64 planes.

    Raises:
        InvalidImageError: As `check_batch` raises it.
    """
    if not is_exact(images):
        check_batch(images)


def is_exact(images: Planes) -> bool:
    """Say whether greys come as they are, float64 (N, 1, H, W): before any window, see `stored`."""
    return isinstance(images, Tensor) and images.dtype == float64 and images.shape[1:2] == (1,)


def by_plane(images: Planes, change: OnPlane) -> Planes:
    """Change every plane of a batch by itself, in torch's threads.

    Args:
        images: uint8 (N, C, H, W) on any device; not modified. Or float64 planes.
        change: What is done to one plane.

    Returns:
        uint8 of the same shape on the same device: rounded to the nearest, half to even, clipped.
        Of float64 planes the same, as they come.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 28, 28), 5, dtype=torch.uint8)
        >>> by_plane(grey, lambda plane, _: plane * 1.4 - 0.9).unique().tolist()
        [6]
    """

    def exact(source: Float64Array, target: Float64Array, start: int, stop: int) -> None:
        for n in range(start, stop):
            target[n, 0] = change(source[n, 0], n)

    if is_exact(images):
        return run_native_into(exact, images, empty(images.shape, np.float64))

    def some(source: UInt8Array, target: UInt8Array, start: int, stop: int) -> None:
        greys = np.empty(source.shape[2:])  # one for all planes: fresh memory costs page faults
        for n in range(start, stop):
            for c, plane in enumerate(source[n]):
                if c and np.array_equal(plane, source[n, c - 1]):
                    target[n, c] = target[n, c - 1]
                else:
                    greys[:] = plane
                    round_greys(np.ascontiguousarray(change(greys, n)), target[n, c])

    return run_native(some, images.cpu()).to(images.device)


def by_image(images: UInt8Batch, change: OnImage) -> UInt8Batch:
    """Change every image of a batch by itself, all channels at once, in torch's threads.

    Args:
        images: uint8 (N, C, H, W) on any device; not modified.
        change: What is done to one image.

    Returns:
        uint8 of the same shape on the same device: rounded to the nearest, half to even, clipped.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 28, 28), 5, dtype=torch.uint8)
        >>> by_image(grey, lambda image, _: image - image.max()).unique().tolist()
        [0]
    """

    def some(source: UInt8Array, target: UInt8Array, start: int, stop: int) -> None:
        for n in range(start, stop):
            values = np.rint(change(source[n].astype(np.float64), n))
            target[n] = values.clip(0, 255).astype(np.uint8)

    return run_native(some, images.cpu().contiguous()).to(images.device)


def normal_plane(draw: Choice, n: int, shape: tuple[int, int]) -> Float64Array:
    """Make a standard normal for every pixel of image n, or take the given ones: (H, W).

    Example:
        >>> import torch
        >>> draws = Draws((1, 2), torch.tensor([5, 9]))
        >>> made = normal_plane(draws, 1, (2, 3))
        >>> bool((made.ravel() == draws.normal(6)[1].numpy()).all())
        True
    """
    if isinstance(draw, Tensor):
        given: Float64Array = draw[n].cpu().double().numpy()
        return given.reshape(shape)
    normals: Float64Array = normal_table()[half_words(draw, n, shape)] / NORMAL_SCALE
    return normals


def half_words(draw: Choice, n: int, shape: tuple[int, int]) -> Int64Array:
    """Make a 16-bit number for every pixel of image n, or take the given ones: int64 (H, W).

    Example:
        >>> import torch
        >>> half_words(Draws((1, 2), torch.tensor([5])), 0, (1, 3)).shape
        (1, 3)
    """
    if isinstance(draw, Tensor):
        given: Int64Array = draw[n].cpu().long().numpy()
        return given.reshape(shape)
    pixels = shape[0] * shape[1]
    words = np.empty((1, -(-pixels // 2)), np.int64)
    make_words(words, draw.index.numpy()[n : n + 1], draw.number, *draw.key)
    return np.stack([words[0] & 0xFFFF, words[0] >> 16], axis=1).ravel()[:pixels].reshape(shape)


def fractions(draw: Choice, count: int) -> Float64Array:
    """Make `count` uniforms in [0, 1) an image, or take the given ones: (N, count).

    Example:
        >>> import torch
        >>> fractions(torch.tensor([[0.25, 0.5]]), 2).tolist()
        [[0.25, 0.5]]
    """
    if count == 0:
        return np.zeros((len(draw.index if isinstance(draw, Draws) else draw), 0))
    values = draw.uniform(count) if isinstance(draw, Draws) else draw.cpu().double()
    out: Float64Array = values.reshape(-1, count).numpy()
    return out
