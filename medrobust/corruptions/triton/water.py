"""Water on the lens for a GPU: the relief of its drops, as the kernel for the CPU makes it.

Edges are bits of words, 32 places of a row each; every row has an empty word on both sides, every
image an empty row above and below.
"""

from functools import lru_cache

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.corruptions.numba import water as water_numba
from medrobust.corruptions.numba.water import DIAGONAL, KNIGHT, STEP
from medrobust.types import Float32Array

from .launch import BLOCK, cover, fused, launch, on_device

WEAK, STRONG, TANGENT, FAR, NINTH = (
    tl.constexpr(getattr(water_numba, name))
    for name in ("WEAK", "STRONG", "TANGENT", "FAR", "NINTH")
)
"""The constants of `water_numba`, as kernels read them."""

CODES = tl.constexpr(64)
"""Ways to say where in a row the nearest edge is: see `_nearest`."""

WORDS, LEVELS = 2048, 32
"""Words that one step of joining edges takes; a power of two above FAR."""


def relief_of(layers: Tensor, threshold: float, strength: float) -> Tensor:
    """Turn smoothed fields (N, H, W) into how much water lightens."""
    count, height, width = layers.shape
    device, pixels = layers.device, height * width
    layers = layers.contiguous()
    drops, codes, flat, relief = torch.empty(4, *layers.shape, dtype=torch.uint8, device=device)
    out, far = torch.empty_like(layers), torch.empty_like(layers)
    words = cover(width, 32) + 2
    area = (height + 2) * words
    edges, crests = torch.zeros(2, count, area, dtype=torch.int32, device=device)
    counts = torch.zeros(count, LEVELS, dtype=torch.int32, device=device)
    highest = torch.ones(count, dtype=torch.int32, device=device)
    shades = torch.empty(count, LEVELS, dtype=torch.uint8, device=device)
    ways = on_device(_ways(), device)
    most = on_device(np.array([strength]), device)

    sizes, grid = (height, width), (count, cover(pixels, BLOCK))
    launch(_drop, grid, drops, layers, threshold, pixels, BLOCK=BLOCK)
    packed = (count, cover(height * (words - 2), BLOCK // 32))
    launch(_crest, packed, edges, crests, drops, *sizes, words, BLOCK=BLOCK // 32)
    launch(_join, (count,), edges, crests, area, words, BLOCK=WORDS, num_warps=8)
    launch(_nearest, grid, codes, edges, *sizes, words, area, BLOCK=BLOCK)
    launch(_measure, grid, far, codes, ways, *sizes, BLOCK=BLOCK)
    launch(_soften, grid, flat, counts, far, *sizes, LEVELS=LEVELS, BLOCK=BLOCK)
    launch(_equalize, (count,), shades, counts, pixels, LEVELS=LEVELS)
    launch(_emboss, grid, relief, flat, shades, *sizes, LEVELS=LEVELS, BLOCK=BLOCK)
    launch(_raise, grid, out, highest, drops, relief, *sizes, BLOCK=BLOCK)
    launch(_scale, grid, out, highest, most, pixels, BLOCK=BLOCK)
    return out


@lru_cache(maxsize=1)
def _ways() -> Float32Array:
    """Tabulate distances: rows down from the edge, -20 to 20, by code of `_nearest`.

    They are those of two passes over an empty plane around one edge, in float32, whose rounding
    depends on the direction.
    """
    moves = ((0, -1, STEP), (-1, 0, STEP), (-1, -1, DIAGONAL), (-1, 1, DIAGONAL))
    moves += ((-2, -1, KNIGHT), (-2, 1, KNIGHT), (-1, -2, KNIGHT), (-1, 2, KNIGHT))
    cut, codes = FAR.value, CODES.value
    middle, side = cut + 2, 2 * cut + 5
    plane = np.full((side, side), cut, np.float32)
    plane[middle, middle] = 0
    for part in (plane, plane[::-1, ::-1]):
        for y in range(2, side - 2):
            for x in range(2, side - 2):
                reached = (part[y + dy, x + dx] + way for dy, dx, way in moves)
                part[y, x] = min(part[y, x], *reached)
    beside = plane[2:-2, 2:-2]
    before, after = beside[:, cut:], beside[:, cut::-1]
    table = np.full((2 * cut + 1, codes), cut, np.float32)
    table[:, : cut + 1] = before
    table[:, cut + 1 : 2 * cut + 1] = after[:, 1:]
    return table


@fused
def _drop(out, layers, threshold, pixels, BLOCK: tl.constexpr):
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = tl.program_id(0).to(tl.int64) * pixels + places
    value = tl.load(layers + at, places < pixels, 0.0)
    value = tl.where(value < threshold, 0.0, value * 255.0).to(tl.int32)
    tl.store(out + at, (value & 255).to(tl.uint8), places < pixels)


@fused
def _gradient(drops, y, x, height, width):
    """Take Sobel's gradient at places, edges replicated."""
    above, here = tl.maximum(y - 1, 0) * width, y * width
    below = tl.minimum(y + 1, height - 1) * width
    before, after = tl.maximum(x - 1, 0), tl.minimum(x + 1, width - 1)
    a, c = tl.load(drops + above + before).to(tl.int32), tl.load(drops + above + after).to(tl.int32)
    g, i = tl.load(drops + below + before).to(tl.int32), tl.load(drops + below + after).to(tl.int32)
    b, h = tl.load(drops + above + x).to(tl.int32), tl.load(drops + below + x).to(tl.int32)
    d, f = tl.load(drops + here + before).to(tl.int32), tl.load(drops + here + after).to(tl.int32)
    return (c + 2 * f + i) - (a + 2 * d + g), (g + 2 * h + i) - (a + 2 * b + c)


@fused
def _length(drops, y, x, height, width):
    """Measure the gradient at places; 0 outside."""
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    row = tl.minimum(tl.maximum(y, 0), height - 1)
    column = tl.minimum(tl.maximum(x, 0), width - 1)
    dx, dy = _gradient(drops, row, column, height, width)
    return tl.where(inside, tl.abs(dx) + tl.abs(dy), 0)


@fused
def _crest(edges, crests, drops, height, width, words, BLOCK: tl.constexpr):
    """Find where the gradient is largest along itself: words of all such places and strong ones."""
    image = tl.program_id(0).to(tl.int64)
    word = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = word < height * (words - 2)
    row, column = word // (words - 2), word % (words - 2)
    lane = tl.arange(0, 32)
    drops += image * height * width
    x = column[:, None] * 32 + lane[None, :]
    counted = inside[:, None] & (x < width)
    y = tl.minimum(row, height - 1)[:, None] + tl.zeros_like(x)
    x = tl.minimum(x, width - 1)
    dx, dy = _gradient(drops, y, x, height, width)
    most = tl.abs(dx) + tl.abs(dy)
    flat, rise = tl.abs(dx) * TANGENT, tl.abs(dy) << 15
    level, upright = rise < flat, rise > flat + (tl.abs(dx) << 16)
    step_y = tl.where(level, 0, 1)
    step_x = tl.where(level, 1, tl.where(upright, 0, tl.where((dx ^ dy) < 0, -1, 1)))
    before = _length(drops, y - step_y, x - step_x, height, width)
    after = _length(drops, y + step_y, x + step_x, height, width)
    after += tl.where(level | upright, 0, 1)
    crest = counted & (most > WEAK) & (most > before) & (most >= after)
    bit = (tl.zeros_like(x) + 1) << lane[None, :]
    at = (row + 1) * words + column + 1
    area = image * (height + 2) * words
    tl.store(crests + area + at, tl.sum(tl.where(crest, bit, 0), 1), inside)
    strong = crest & (most > STRONG)
    tl.store(edges + area + at, tl.sum(tl.where(strong, bit, 0), 1), inside)


@fused
def _column(edges, at, words, inside):
    """Join the words above, here and below."""
    joined = tl.load(edges + at - words, inside, 0)
    joined |= tl.load(edges + at, inside, 0)
    joined |= tl.load(edges + at + words, inside, 0)
    return joined.to(tl.uint32, bitcast=True)


@fused
def _join(edges, crests, area, words, BLOCK: tl.constexpr):
    """Let edges grow along crests of one image until nothing changes."""
    image = tl.program_id(0).to(tl.int64)
    edges += image * area
    crests += image * area
    changed = tl.full((), 1, tl.int32)
    while changed > 0:
        changed = tl.full((), 0, tl.int32)
        for first in range(words + 1, area - words - 1, BLOCK):
            at = first + tl.arange(0, BLOCK)
            inside = at < area - words - 1
            ridge = tl.load(crests + at, inside, 0).to(tl.uint32, bitcast=True)
            old = tl.load(edges + at, inside, 0).to(tl.uint32, bitcast=True)
            near = _column(edges, at, words, inside)
            near |= (near << 1) | (near >> 1)
            near |= _column(edges, at - 1, words, inside) >> 31
            near |= _column(edges, at + 1, words, inside) << 31
            grown = old | (near & ridge)
            up, down = ridge, ridge
            for k in tl.static_range(5):
                grown |= (up & (grown << (1 << k))) | (down & (grown >> (1 << k)))
                up &= up << (1 << k)
                down &= down >> (1 << k)
            tl.store(edges + at, grown.to(tl.int32, bitcast=True), inside)
            changed = tl.maximum(changed, tl.max((grown != old).to(tl.int32), 0))
        tl.debug_barrier()


@fused
def _zeros_above(word):
    """Count the zeros above the highest one: 31 where there is none but the lowest place."""
    zeros = tl.zeros_like(word).to(tl.int32)
    for k in tl.static_range(5):
        empty = (word >> (32 - (16 >> k))) == 0
        zeros += tl.where(empty, 16 >> k, 0)
        word = tl.where(empty, word << (16 >> k), word)
    return zeros


@fused
def _zeros_below(word):
    """Count the zeros below the lowest one."""
    zeros = tl.zeros_like(word).to(tl.int32)
    for k in tl.static_range(5):
        empty = (word << (32 - (16 >> k))) == 0
        zeros += tl.where(empty, 16 >> k, 0)
        word = tl.where(empty, word >> (16 >> k), word)
    return zeros


@fused
def _nearest(out, edges, height, width, words, area, BLOCK: tl.constexpr):
    """Say how far the nearest edge of the row is, up to 20, and where.

    0 to 20: so far to the left, or to both sides, for ways from the left are never longer; 21 to
    40: 20 less, to the right; 63: nowhere.
    """
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    at = edges + image * area + (y + 1) * words + (x // 32 + 1)
    bit = (x % 32).to(tl.uint32)
    before = tl.load(at - 1, inside, 0).to(tl.uint32, bitcast=True)
    here = tl.load(at, inside, 0).to(tl.uint32, bitcast=True)
    after = tl.load(at + 1, inside, 0).to(tl.uint32, bitcast=True)
    left = _zeros_above((here << (31 - bit)) | ((before >> 1) >> bit))
    right = _zeros_below((here >> bit) | ((after << 1) << (31 - bit)))
    code = tl.where(left <= right, left, FAR + right)
    code = tl.where((left > FAR) & (right > FAR), CODES - 1, code)
    tl.store(out + image * height * width + places, code.to(tl.uint8), inside)


@fused
def _measure(out, codes, ways, height, width, BLOCK: tl.constexpr):
    """Take the shortest way to the nearest edges of all rows around."""
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y = places // width
    base = codes + image * height * width + places
    near = tl.full((BLOCK,), FAR, tl.float32)
    for k in range(2 * FAR + 1):
        row = y + FAR - k
        there = inside & (row >= 0) & (row < height)
        code = tl.load(base + (FAR - k) * width, there, CODES - 1)
        near = tl.minimum(near, tl.load(ways + k * CODES + code))
    tl.store(out + image * height * width + places, near, inside)


@fused
def _around(at, length):
    """Give the places before and after, mirrored at the borders: 101."""
    return tl.where(at > 0, at - 1, 1), tl.where(at < length - 1, at + 1, length - 2)


@fused
def _add_around(total, base, places, height, width, inside):
    """Add the 3 x 3 values around places of a plane, row by row, in the type of `total`."""
    y, x = places // width, places % width
    above, below = _around(y, height)
    before, after = _around(x, width)
    for k in tl.static_range(3):
        row = (above if k == 0 else (y if k == 1 else below)) * width
        total += tl.load(base + row + before, inside, 0).to(total.dtype)
        total += tl.load(base + row + x, inside, 0).to(total.dtype)
        total += tl.load(base + row + after, inside, 0).to(total.dtype)
    return total


@fused
def _soften(out, counts, far, height, width, LEVELS: tl.constexpr, BLOCK: tl.constexpr):
    """Average 3 x 3 distances into whole pixels; count how often each comes."""
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    total = tl.zeros((BLOCK,), tl.float64)
    total = _add_around(total, far + image * height * width, places, height, width, inside)
    mean = (total * NINTH).to(tl.float32).to(tl.int32)
    tl.store(out + image * height * width + places, mean.to(tl.uint8), inside)
    found = tl.histogram(tl.where(inside, mean, LEVELS - 1), LEVELS)
    level = tl.arange(0, LEVELS)
    tl.atomic_add(counts + image * LEVELS + level, found, level < LEVELS - 1)


@fused
def _equalize(out, counts, pixels, LEVELS: tl.constexpr):
    """Make OpenCV's table of an equalized histogram."""
    image = tl.program_id(0)
    level = tl.arange(0, LEVELS)
    found = tl.load(counts + image * LEVELS + level)
    lowest = tl.min(tl.where(found > 0, level, LEVELS), 0)
    least = tl.sum(tl.where(level == lowest, found, 0), 0)
    below = (tl.cumsum(found, 0) - least).to(tl.float32)
    rest = tl.maximum(pixels - least, 1).to(tl.float32)
    scale = tl.div_rn(tl.full((LEVELS,), 255.0, tl.float32), rest + tl.zeros_like(below))
    shade = (below * scale + 8388608.0) - 8388608.0  # the nearest whole number, even at halves
    shade = tl.where(level > lowest, shade.to(tl.int32), 0)
    shade = tl.where(least == pixels, lowest, shade)
    tl.store(out + image * LEVELS + level, shade.to(tl.uint8))


@fused
def _shade(flat, shades, at, inside):
    return tl.load(shades + tl.load(flat + at, inside, 0)).to(tl.int32)


@fused
def _emboss(out, flat, shades, height, width, LEVELS: tl.constexpr, BLOCK: tl.constexpr):
    """Filter equalized values by -2 -1 0, -1 1 1, 0 1 2 into 0 to 255."""
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    above, below = _around(y, height)
    before, after = _around(x, width)
    flat += image * height * width
    shades += image * LEVELS
    value = _shade(flat, shades, places, inside)
    value -= 2 * _shade(flat, shades, above * width + before, inside)
    value -= _shade(flat, shades, above * width + x, inside)
    value -= _shade(flat, shades, y * width + before, inside)
    value += _shade(flat, shades, y * width + after, inside)
    value += _shade(flat, shades, below * width + x, inside)
    value += 2 * _shade(flat, shades, below * width + after, inside)
    value = tl.minimum(tl.maximum(value, 0), 255)
    tl.store(out + image * height * width + places, value.to(tl.uint8), inside)


@fused
def _raise(out, highest, drops, relief, height, width, BLOCK: tl.constexpr):
    """Multiply drops by the 3 x 3 means of the relief; find the highest."""
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    start = image * height * width
    total = tl.zeros((BLOCK,), tl.int32)
    total = _add_around(total, relief + start, places, height, width, inside)
    value = tl.load(drops + start + places, inside, 0).to(tl.int32) * ((total + 4) // 9)
    tl.store(out + start + places, value.to(tl.float32), inside)
    tl.atomic_max(highest + image, tl.max(value, 0))


@fused
def _scale(out, highest, strength, pixels, BLOCK: tl.constexpr):
    image = tl.program_id(0)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = out + image.to(tl.int64) * pixels + places
    scale = tl.load(strength) / tl.load(highest + image).to(tl.float64)
    value = tl.load(at, places < pixels, 0.0) * scale.to(tl.float32)
    tl.store(at, value, places < pixels)
