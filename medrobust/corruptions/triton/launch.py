"""How Triton kernels are compiled and launched: for a GPU, at first use, cached by Triton.

Products and sums are not contracted to fused multiply-adds, so that floats round as on the CPU. In
kernels, `a / b` of float32 is not exact: `tl.div_rn` is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from medrobust.keys import Draws

fused: Any = triton.jit(do_not_specialize=["number", "key0", "key1"])
"""Decorates kernels, and functions that kernels call."""

BLOCK = 1024
"""Places of a plane that a program makes."""


def launch(
    kernel: Any, grid: Sequence[int], out: Tensor, *arguments: Any, **constants: Any
) -> None:
    """Run `kernel(out, *arguments, **constants)` in `grid` programs on the device of `out`."""
    with torch.cuda.device(out.device if out.is_cuda else -1):
        kernel[tuple(grid)](out, *arguments, **constants, enable_fp_fusion=False)


def over_planes(
    kernel: Any,
    images: Tensor,
    *arguments: Any,
    dtype: torch.dtype = torch.uint8,
    **constants: Any,
) -> Tensor:
    """Run `kernel(out, images, *arguments)` in blocks of BLOCK places of each plane (N, C, H, W).

    Returns:
        `out`: contiguous, of the shape of `images`, which are made contiguous too.
    """
    count, channels, height, width = images.shape
    images = images.contiguous()
    out = torch.empty_like(images, dtype=dtype)
    grid = (count * channels, cover(height * width, BLOCK))
    launch(kernel, grid, out, images, *arguments, BLOCK=BLOCK, **constants)
    return out


def cover(length: int, step: int) -> int:
    """Count the programs that cover a length."""
    return -(-length // step)


def on_device(array: Any, device: torch.device) -> Tensor:
    """Copy a table of numpy to a device, without waiting for what runs there."""
    return torch.from_numpy(np.array(array, order="C")).to(device, non_blocking=True)


def keyed(draws: Draws, device: torch.device) -> tuple[Any, ...]:
    """Spread keyed draws into the arguments index, number, key0 and key1 of a kernel."""
    signed = (word - (word >> 31 << 32) for word in draws.key)
    return (draws.index.to(device, non_blocking=True), draws.number, *signed)
