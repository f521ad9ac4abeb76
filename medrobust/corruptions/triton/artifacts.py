"""Artifacts for a GPU: a program goes through all marks of its image that meet its strip."""

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .launch import cover, fused, launch, on_device

PIXELS = 1024
"""Pixels of a program, row after row: its strip."""

FAR = 1 << 20
"""A row well below any image."""


def stamp_ink(
    images: UInt8Batch, masks: Any, count: Tensor, which: Tensor, left: Tensor, top: Tensor
) -> UInt8Batch:
    """Set to 0 what lies under the first count[n] marks of image n; cut at the border."""
    marks = _on(images, torch.stack([top, left, which], 2))
    shape = masks.shape[1:]
    given = (on_device(masks, images.device), _on(images, count), marks, marks.shape[1], *shape)
    return _in_strips(_ink, images, *given)


def lay_bubbles(
    images: UInt8Batch,
    table: Any,
    halves: Any,
    rim: int,
    count: Tensor,
    radius: Tensor,
    column: Tensor,
    row: Tensor,
) -> UInt8Batch:
    """Lay the disks of image n, later ones over earlier ones, by the table of `bubble_table`."""
    disks = _on(images, torch.stack([row, column, radius], 2))
    tables = (on_device(halves, images.device), on_device(table, images.device))
    given = (*tables, _on(images, count), disks, disks.shape[1], halves.shape[1], rim)
    return _in_strips(_bubbles, images, *given)


def keep_rows(images: UInt8Batch, first: Int64Array, last: Int64Array) -> UInt8Batch:
    """Blacken each row before column first[y] and from last[y] on."""
    return _in_strips(_rows, images, *(on_device(t, images.device) for t in (first, last)))


def write_words(
    images: UInt8Batch,
    stamps: UInt8Array,
    count: Tensor,
    lengths: Tensor,
    text: Tensor,
    size: Tensor,
    left: Tensor,
    phase: Tensor,
    top: Tensor,
    colors: Tensor,
) -> UInt8Batch:
    """Blend letter after letter of the first count[n] words over image n: as on the CPU."""
    words = lengths.shape[1]
    longest = text.shape[1] // words
    word = torch.arange(words).repeat_interleave(longest)
    shown = (word < count[:, None]) & (torch.arange(longest).repeat(words) < lengths[:, word])
    picture = (size[:, word] * stamps.shape[1] + text) * stamps.shape[2] + phase
    ink = (colors.reshape(-1, words, 3) << torch.tensor([0, 8, 16])).sum(2)
    rows = torch.where(shown, top[:, word], FAR)
    marks = _on(images, torch.stack([rows, left, picture, ink[:, word]], 2))
    given = (on_device(stamps, images.device), marks, marks.shape[1], *stamps.shape[3:])
    return _in_strips(_words, images, *given)


def _on(images: Tensor, choices: Tensor) -> Tensor:
    """Copy whole numbers to the device of the images, as int32."""
    return choices.clamp(-FAR, 1 << 24).int().to(images.device, non_blocking=True)


def _in_strips(kernel: Any, images: UInt8Batch, *given: Any) -> UInt8Batch:
    count, channels, height, width = images.shape
    images = images.contiguous()
    out = torch.empty_like(images)
    grid = (count, cover(height * width, PIXELS))
    launch(kernel, grid, out, images, *given, channels, height, width, PIXELS=PIXELS)
    return out


@fused
def _ink(
    out, images, masks, count, marks, most, tall, wide, channels, height, width,
    PIXELS: tl.constexpr,
):  # fmt: skip
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    y, x = places // width, places % width
    first, last = tl.program_id(1) * PIXELS // width, (tl.program_id(1) * PIXELS + PIXELS) // width
    ink = tl.zeros_like(places)
    marks += tl.program_id(0) * most * 3
    for k in range(tl.load(count + tl.program_id(0))):
        top = tl.load(marks + 3 * k)
        if (top <= last) & (top + tall > first):
            i, j = y - top, x - tl.load(marks + 3 * k + 1)
            under = (i >= 0) & (i < tall) & (j >= 0) & (j < wide)
            at = (tl.load(marks + 3 * k + 2) * tall + i) * wide + j
            ink |= tl.load(masks + at, under, 0).to(tl.int32)
    plane = tl.program_id(0).to(tl.int64) * channels * height * width
    for _ in range(channels):
        old = tl.load(images + plane + places, places < height * width, 0)
        tl.store(out + plane + places, tl.where(ink > 0, 0, old), places < height * width)
        plane += height * width


@fused
def _bubbles(
    out, images, halves, table, count, disks, most, longest, rim, channels, height, width,
    PIXELS: tl.constexpr,
):  # fmt: skip
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    y, x = places // width, places % width
    first, last = tl.program_id(1) * PIXELS // width, (tl.program_id(1) * PIXELS + PIXELS) // width
    layer = tl.zeros_like(places)
    disks += tl.program_id(0) * most * 3
    for k in range(tl.load(count + tl.program_id(0))):
        middle, radius = tl.load(disks + 3 * k), tl.load(disks + 3 * k + 2)
        grown = radius + rim
        if (middle - grown <= last) & (middle + grown >= first):
            dy = tl.minimum(tl.abs(y - middle), longest - 1)
            dx = tl.abs(x - tl.load(disks + 3 * k + 1))
            layer = tl.where(dx <= tl.load(halves + grown * longest + dy), 1, layer)
            layer = tl.where(dx <= tl.load(halves + radius * longest + dy), 2, layer)
    plane = tl.program_id(0).to(tl.int64) * channels * height * width
    for _ in range(channels):
        old = tl.load(images + plane + places, places < height * width, 0).to(tl.int32)
        new = tl.load(table + layer * 256 + old)
        tl.store(out + plane + places, new, places < height * width)
        plane += height * width


@fused
def _rows(out, images, first, last, channels, height, width, PIXELS: tl.constexpr):
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < height * width
    y, x = places // width, places % width
    lit = (x >= tl.load(first + y, inside, 0)) & (x < tl.load(last + y, inside, 0))
    plane = tl.program_id(0).to(tl.int64) * channels * height * width
    for _ in range(channels):
        tl.store(out + plane + places, tl.load(images + plane + places, inside & lit, 0), inside)
        plane += height * width


@fused
def _words(
    out, images, stamps, marks, count, tall, wide, channels, height, width, PIXELS: tl.constexpr
):  # fmt: skip
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < height * width
    y, x = places // width, places % width
    first, last = tl.program_id(1) * PIXELS // width, (tl.program_id(1) * PIXELS + PIXELS) // width
    plane = tl.program_id(0).to(tl.int64) * channels * height * width + places
    # the second and third channel, where there are any, else the first once more
    second = plane + channels // 2 * height * width
    third = plane + (channels - 1) * height * width
    red = tl.load(images + plane, inside, 0).to(tl.int32)
    green = tl.load(images + second, inside, 0).to(tl.int32)
    blue = tl.load(images + third, inside, 0).to(tl.int32)
    marks += tl.program_id(0) * count * 4
    for k in range(count):
        top = tl.load(marks + 4 * k)
        if (top <= last) & (top + tall > first):
            i, j = y - top, x - tl.load(marks + 4 * k + 1)
            under = (i >= 0) & (i < tall) & (j >= 0) & (j < wide)
            at = (tl.load(marks + 4 * k + 2) * tall + i) * wide + j
            alpha, ink = tl.load(stamps + at, under, 0).to(tl.int32), tl.load(marks + 4 * k + 3)
            red = (red * (255 - alpha) + (ink & 255) * alpha + 127) // 255
            green = (green * (255 - alpha) + ((ink >> 8) & 255) * alpha + 127) // 255
            blue = (blue * (255 - alpha) + (ink >> 16) * alpha + 127) // 255
    tl.store(out + plane, red.to(tl.uint8), inside)
    if channels > 1:
        tl.store(out + second, green.to(tl.uint8), inside)
        tl.store(out + third, blue.to(tl.uint8), inside)
