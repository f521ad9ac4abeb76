"""What lies in front of a picture: how much of each pixel disks, strands and patches cover.

Coverage is float64, 0 to 1, on the pixels of one picture; places are fractions of its sides.
"""

import numpy as np

from medrobust.types import Float64Array

Window = tuple[slice, slice]
Size = tuple[int, int]


def distances(size: Size, middle: tuple[float, float]) -> Float64Array:
    """Measure pixels from a point, in shorter sides: (H, W).

    Example:
        >>> distances((2, 2), (0.5, 0.5)).round(3).tolist()
        [[0.354, 0.354], [0.354, 0.354]]
    """
    y, x = (
        ((np.arange(side) + 0.5) - at * side) / min(size)
        for side, at in zip(size, middle, strict=True)
    )
    return np.hypot(y[:, None], x)


def around(
    size: Size, middle: tuple[float, float], reach: float
) -> tuple[Window, Float64Array, Float64Array]:
    """Cut out the pixels within `reach` pixels of a point, with their rows and columns from it.

    Example:
        >>> window, down, right = around((10, 10), (0.5, 0.5), 1)
        >>> window, down.ravel().tolist()
        ((slice(4, 6, None), slice(4, 6, None)), [-0.5, 0.5])
    """
    parts: list[slice] = []
    places: list[Float64Array] = []
    for side, at in zip(size, middle, strict=True):
        first = int(np.clip(np.floor(at * side - reach), 0, side))
        last = int(np.clip(np.ceil(at * side + reach), 0, side))
        parts.append(slice(first, last))
        places.append(np.arange(first, last, dtype=np.float64) + 0.5 - at * side)
    return (parts[0], parts[1]), places[0][:, None], places[1][None]


def strands(size: Size, points: Float64Array, width: float) -> Float64Array:
    """Cover curves through three points each: quadratic Bézier curves of a soft pen.

    Args:
        size: Height and width.
        points: (K, 3, 2), rows and columns, as fractions of the sides.
        width: Of the pen, in pixels.

    Returns:
        float64 (H, W); 1 along the middle of a strand, 1/2 at its rims.

    Example:
        >>> line = np.array([[[0.5, 0.0], [0.5, 0.5], [0.5, 1.0]]])
        >>> strands((9, 9), line, 2)[:, 4].round(1).tolist()
        [0.0, 0.0, 0.0, 0.3, 1.0, 0.3, 0.0, 0.0, 0.0]
    """
    from scipy.ndimage import gaussian_filter

    count = 3 * max(size)
    t = np.linspace(0, 1, count)[:, None]
    start, middle, end = (points[:, k, None] * size - 0.5 for k in range(3))
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end  # (K, count, 2)
    steps = np.linalg.norm(np.diff(path, axis=1), axis=2)
    at = (path[:, 1:] + path[:, :-1]).reshape(-1, 2) / 2
    sigma = max(width / 2.6, 0.5)
    ink = gaussian_filter(_dropped(size, at, steps.ravel()), sigma, mode="constant")
    cover: Float64Array = (2.5 * (ink * sigma * np.sqrt(2 * np.pi) - 0.3)).clip(0, 1)
    return cover


def _dropped(size: Size, places: Float64Array, amounts: Float64Array) -> Float64Array:
    """Drop amounts at places (rows, columns), shared by the four pixels around each."""
    low = np.floor(places).astype(np.int64)
    share = places - low
    total = np.zeros((size[0] + 2, size[1] + 2))
    for down in (0, 1):
        for right in (0, 1):
            row = (low[:, 0] + down + 1).clip(0, size[0] + 1)
            column = (low[:, 1] + right + 1).clip(0, size[1] + 1)
            part = np.where(down, share[:, 0], 1 - share[:, 0])
            part = part * np.where(right, share[:, 1], 1 - share[:, 1])
            flat = np.bincount(row * (size[1] + 2) + column, amounts * part, total.size)
            total += flat.reshape(total.shape)
    return total[1:-1, 1:-1]


def patches(size: Size, seeds: Float64Array, share: float) -> Float64Array:
    """Cover a share of the picture with smooth patches about seeds.

    Args:
        size: Height and width.
        seeds: (K, 3) in [0, 1): row, column and size of each.
        share: Of the pixels that are covered by half or more.

    Returns:
        float64 (H, W), with a soft rim.

    Example:
        >>> seeds = np.array([[0.2, 0.3, 0.5], [0.7, 0.6, 0.1]])
        >>> float((patches((50, 50), seeds, 0.2) >= 0.5).mean())
        0.2
    """
    field = np.zeros(size)
    for row, column, amount in seeds:
        spread = 0.06 + 0.14 * amount
        field += np.exp(-((distances(size, (row, column)) / spread) ** 2) / 2)
    height = np.log(field + 1e-12)
    count = round(share * height.size)
    edge = np.sort(height, axis=None)[-count] if count else np.inf
    covered: Float64Array = ((height - edge) * 2 + 0.5).clip(0, 1)
    return covered


def blended(image: Float64Array, cover: Float64Array, color: tuple[int, int, int]) -> Float64Array:
    """Paint a color where it covers: (3, H, W).

    Example:
        >>> blended(np.zeros((3, 1, 1)), np.array([[0.5]]), (200, 100, 0)).ravel().tolist()
        [100.0, 50.0, 0.0]
    """
    ink = np.array(color, np.float64)[:, None, None]
    return image + (ink - image) * cover


def bubbles(
    image: Float64Array, places: Float64Array, radius: float, rim: float = 90.0
) -> Float64Array:
    """Lay bubbles over a picture: a bright rim, a little less light within, a highlight.

    Args:
        image: float64 (C, H, W).
        places: (K, 3) in [0, 1): row, column and radius, from a quarter of the largest on.
        radius: Largest, as a fraction of the shorter side.
        rim: Grey values that the rim adds.

    Example:
        >>> out = bubbles(np.full((1, 40, 40), 100.0), np.array([[0.5, 0.5, 0.5]]), 0.2)
        >>> bool(out[0, 20, 20] < 100 < out[0, 20, 24])
        True
    """
    size = image.shape[1:]
    out = image.copy()
    for row, column, amount in places:
        reach = radius * min(size) * (0.25 + 0.75 * amount)
        (rows, columns), down, right = around((size[0], size[1]), (row, column), 1.4 * reach + 2)
        thick = max(0.12 * reach, 0.7)
        far = np.hypot(down, right)
        edge = rim * np.exp(-(((far - reach) / thick) ** 2))
        spot = np.hypot(down + 0.4 * reach, right + 0.4 * reach)
        light = 2 * rim * np.exp(-((spot / (0.15 * reach + 0.5)) ** 2))
        within = 1 - 0.12 * ((reach - far) / thick).clip(0, 1)
        out[:, rows, columns] = out[:, rows, columns] * within + edge + light
    return out
