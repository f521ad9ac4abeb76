"""Weather for the CPU: snow and fog, drawn and laid over an image at a time."""

from typing import Any

import numpy as np
from numba import int32

from medrobust.base.numba_jit import native, native_helper

from .displacement import fill_all
from .filter import smooth_plane
from .philox import BLOCKS

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
_KEYED = "int64[::1], int64, int64, int64"
HALF_WORD, HALF, BYTE = np.uint32(0xFFFF), np.uint32(16), np.uint32(8)
FULL = 8 * BLOCKS
"""16-bit draws made at once."""


@native_helper
def _look_up_draws(
    words: Any, table: Any, number: int, index: int, key0: int, key1: int, out: Any
) -> None:
    """Fill flat `out` with table[16-bit draw]."""
    fill_all(words, number, index, key0, key1)
    for j in range(len(out) // 2):
        out[2 * j] = table[words[j] & HALF_WORD]
        out[2 * j + 1] = table[words[j] >> HALF]
    if len(out) % 2:
        out[len(out) - 1] = table[words[len(out) // 2] & HALF_WORD]


@native_helper
def _whiten(value: Any, grey: Any, mix: Any, snow: Any) -> Any:
    """Mix a value with max(value, 1.5 grey + 127.5), grey in 2^-16, and add snow in 2^-7."""
    white = max(value << 16, ((3 * grey) >> 1) + int32(8355840)) >> 9
    mixed = (mix * (value << 7) + (int32(1 << 14) - mix) * white) >> 14
    return np.uint8(min((mixed + snow) >> 7, int32(255)))


@native(
    f"void({_BATCH}, int64, int64, int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], "
    f"int32, int32[::1], int32[:,::1], int32[:,::1], int64[::1], int32, {_KEYED})"
)
def snowfall(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    row: Any,
    row_share: Any,
    column: Any,
    column_share: Any,
    threshold: int,
    weights: Any,
    dx: Any,
    dy: Any,
    taps: Any,
    mix: int,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Whiten images and lay a layer of streaks over them, twice: as it is and upside down.

    A small field of table values (units of 2^-14) is enlarged: row y of the layer lies between
    rows row[y] and row[y] + 1, row_share[y] / 2^14 of the latter; columns likewise. It is cut at
    `threshold`, smeared by weights (units of 2^-16) and rounded to 255ths. `mix` is in 2^-14.
    """
    _, channels, height, width = images.shape
    layer_height, layer_width = len(row), len(column)
    small_height, small_width = row[-1] + 2, column[-1] + 2
    values = np.empty(small_height * small_width, np.int32)
    field = values.reshape(small_height, small_width)
    words = np.empty(-(-len(values) // FULL) * 4 * BLOCKS, np.uint32)
    across = np.empty(small_width, np.int32)
    layer = np.empty((height, width), np.int32)
    total = np.empty(width, np.int32)
    for n in range(start, stop):
        _look_up_draws(words, table, number, index[n], key0, key1, values)
        margin = 0
        for i in range(taps[n]):
            margin = max(margin, abs(dx[n, i]))
        padded = np.empty((layer_height, layer_width + 2 * margin), np.int32)
        for y in range(layer_height):
            above, below, share = field[row[y]], field[row[y] + 1], row_share[y]
            for x in range(small_width):
                across[x] = above[x] + (((below[x] - above[x]) * share) >> 14)
            target = padded[y]
            for x in range(layer_width):
                left, right = across[column[x]], across[column[x] + 1]
                value = left + (((right - left) * column_share[x]) >> 14)
                value = min(value, int32(1 << 14)) if value >= threshold else int32(0)
                target[margin + x] = max(value, int32(0))
            target[:margin] = target[margin]
            target[margin + layer_width :] = target[margin + layer_width - 1]
        for y in range(height):
            total[:] = 0
            for i in range(taps[n]):
                part = padded[min(max(y + dy[n, i], 0), layer_height - 1)][margin + dx[n, i] :]
                weight = weights[i]
                for x in range(width):
                    total[x] += weight * part[x]
            for x in range(width):
                layer[y, x] = ((total[x] >> 8) * int32(255) + int32(1 << 21)) >> 22
        for y in range(height):
            snow, turned = layer[y], layer[height - 1 - y]
            for x in range(width):
                total[x] = (snow[x] + turned[width - 1 - x]) << 7
            if channels == 1:
                source, target = images[n, 0, y], out[n, 0, y]
                for x in range(width):
                    target[x] = _whiten(int32(source[x]), int32(source[x]) << 16, mix, total[x])
                continue
            red, green, blue = images[n, 0, y], images[n, 1, y], images[n, 2, y]
            reds, greens, blues = out[n, 0, y], out[n, 1, y], out[n, 2, y]
            for x in range(width):
                r, g, b = int32(red[x]), int32(green[x]), int32(blue[x])
                grey = 19595 * r + 38470 * g + 7471 * b
                reds[x] = _whiten(r, grey, mix, total[x])
                greens[x] = _whiten(g, grey, mix, total[x])
                blues[x] = _whiten(b, grey, mix, total[x])


@native_helper
def plasma(words: Any, decay: float, grid: Any, squares: Any, finer: Any) -> Any:
    """Build a wrapped diamond-square map of side n in `grid` or `finer`, flat float32 (n * n,).

    Level with m x m points takes words m^2 - 1 to 4 m^2 - 2: centres of squares, then points
    between columns, then between rows. The amplitude is the square of a wibble of 100 that
    `decay` divides from level to level. `squares` is scratch of n * n / 4.
    """
    side = int32(np.sqrt(len(grid)))
    grid[0] = 0
    m, wibble = 1, 100.0
    while m < side:
        count, base = m * m, m * m - 1
        reach = np.float32(wibble * wibble)
        unit = np.float32(2.0 * wibble * wibble * 2.0**-24)
        quarter = np.float32(0.25)
        for y in range(m):
            here, under = grid[y * m : (y + 1) * m], grid[(y + 1) % m * m : ((y + 1) % m + 1) * m]
            target, noise = squares[y * m : (y + 1) * m], words[base + y * m :]
            for x in range(m - 1):
                corners = (here[x] + under[x]) + (here[x + 1] + under[x + 1])
                wave = np.float32(int32(noise[x] >> BYTE)) * unit - reach
                target[x] = corners * quarter + wave
            corners = (here[m - 1] + under[m - 1]) + (here[0] + under[0])
            wave = np.float32(int32(noise[m - 1] >> BYTE)) * unit - reach
            target[m - 1] = corners * quarter + wave
        for y in range(m):
            here, under = grid[y * m : (y + 1) * m], grid[(y + 1) % m * m : ((y + 1) % m + 1) * m]
            middle = squares[y * m : (y + 1) * m]
            over = squares[(y - 1) % m * m : ((y - 1) % m + 1) * m]
            even, odd = finer[4 * y * m : (4 * y + 2) * m], finer[(4 * y + 2) * m : (4 * y + 4) * m]
            beside, below = words[base + count + y * m :], words[base + 2 * count + y * m :]
            for x in range(m):
                after, before = here[x + 1 if x + 1 < m else 0], middle[x - 1 if x else m - 1]
                even[2 * x] = here[x]
                wave = np.float32(int32(beside[x] >> BYTE)) * unit - reach
                even[2 * x + 1] = ((middle[x] + over[x]) + (here[x] + after)) * quarter + wave
                wave = np.float32(int32(below[x] >> BYTE)) * unit - reach
                odd[2 * x] = ((middle[x] + before) + (here[x] + under[x])) * quarter + wave
                odd[2 * x + 1] = middle[x]
        grid, finer = finer, grid
        m *= 2
        wibble /= decay
    return grid


@native(f"void({_BATCH}, int64, int64, int64, float32, float64, {_KEYED})")
def fog_over(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    side: int,
    amount: float,
    decay: float,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Add `amount` grey levels of a plasma map of `side`, then scale back to the old maximum."""
    _, channels, height, width = images.shape
    words = np.empty(side * side, np.uint32)
    grid, finer = np.empty(side * side, np.float32), np.empty(side * side, np.float32)
    squares = np.empty(side * side // 4, np.float32)
    for n in range(start, stop):
        fill_all(words, number, index[n], key0, key1)
        flat = plasma(words, decay, grid, squares, finer)
        lowest, highest = flat[0], flat[0]
        for value in flat:
            lowest, highest = min(lowest, value), max(highest, value)
        top = np.uint8(0)
        for value in images[n].reshape(channels * height * width):
            top = max(top, value)
        scale = amount / (highest - lowest)
        keep = np.float32(top) / (np.float32(top) + amount)
        for y in range(height):
            row = flat[y * side : y * side + width]
            for c in range(channels):
                source, target = images[n, c, y], out[n, c, y]
                for x in range(width):
                    value = (np.float32(source[x]) + (row[x] - lowest) * scale) * keep
                    target[x] = np.uint8(min(value, np.float32(255)))


@native(
    "void(float32[:,:,::1], float32[:,:,::1], int64, int64, float32[::1], float32[::1], "
    f"int64[::1], int64[::1], {_KEYED})"
)
def liquid_layers(
    layers: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    weights: Any,
    row_map: Any,
    column_map: Any,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Fill `out` (N, H, W) with smoothed table values; `layers` is scratch of the same shape."""
    _, height, width = out.shape
    words = np.empty(-(-height * width // FULL) * 4 * BLOCKS, np.uint32)
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    for n in range(start, stop):
        flat = layers[n].reshape(height * width)
        _look_up_draws(words, table, number, index[n], key0, key1, flat)
        smooth_plane(layers[n], weights, weights, row_map, column_map, line, padded, out[n])


@native(
    "void(float32[:,:,::1], float32[:,:,::1], int64, int64, float32[::1], int64[::1], int64[::1])"
)
def smooth_layers(
    layers: Any, out: Any, start: int, stop: int, weights: Any, row_map: Any, column_map: Any
) -> None:
    """Smooth every layer of (N, H, W)."""
    _, _, width = out.shape
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    for n in range(start, stop):
        smooth_plane(layers[n], weights, weights, row_map, column_map, line, padded, out[n])


@native(f"void({_BATCH}, int64, int64, float32[:,:,::1], float32[::1], boolean)")
def spill(
    images: Any, out: Any, start: int, stop: int, masks: Any, color: Any, opaque: bool
) -> None:
    """Add `color` (3,) times masks (N, H, W); where `opaque`, the image fades under it."""
    _, _, height, width = images.shape
    full = np.float32(255)
    for n in range(start, stop):
        mask = masks[n].reshape(height * width)
        for c in range(3):
            source, target = images[n, c].reshape(height * width), out[n, c].reshape(height * width)
            hue = color[c]
            for p in range(height * width):
                old = np.float32(source[p])
                kept = old - old * mask[p] if opaque else old
                target[p] = np.uint8(min(kept + mask[p] * hue, full))


@native(f"void({_BATCH}, int64, int64, uint8[:,:,:,::1], float64[::1], float64[::1])")
def blend_crops(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    crops: Any,
    image_share: Any,
    frost_share: Any,
) -> None:
    """Add image_share[value] and frost_share[value of the crop]; tables of 256."""
    _, _, height, width = images.shape
    for n in range(start, stop):
        source = images[n].reshape(3 * height * width)
        frost = crops[n].reshape(3 * height * width)
        target = out[n].reshape(3 * height * width)
        for p in range(3 * height * width):
            value = image_share[source[p]] + frost_share[frost[p]]
            target[p] = np.uint8(min(value, 255.0))
