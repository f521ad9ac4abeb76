"""A kernel for the CPU: grey levels to a model's pixels."""

from typing import Any

from medrobust.base.numba_jit import native


@native("void(uint8[:,:,:,::1], float32[:,:,:,::1], int64, int64, float32[:,::1])")
def look_up(images: Any, out: Any, start: int, stop: int, table: Any) -> None:
    """Look up each value in its channel's row of `table`; grey images serve all three."""
    _, channels, height, width = images.shape
    for n in range(start, stop):
        for c in range(3):
            row, source, target = table[c], images[n, c % channels], out[n, c]
            for y in range(height):
                for x in range(width):
                    target[y, x] = row[source[y, x]]
