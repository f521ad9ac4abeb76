"""What every set of phantoms checks of what is asked, and how its pixels are written."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medrobust.datasets.cache import ArrayWriter
from medrobust.datasets.image_set import STANDARD_SIZE
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.types import UInt8Array

from .draw import single_threaded_cv2
from .render import SITES

THREADS = 2
BLOCK = 64
"""Images that are drawn ahead of writing."""


def check_asked(
    site: str, split: str, size: int, per_class: int | None, splits: Mapping[str, int]
) -> None:
    """Refuse names and sizes that do not exist.

    Raises:
        UnknownNameError: For site and split.
        ConfigurationError: For size and per_class.
    """
    if site not in SITES:
        raise unknown_name("site of the phantoms", site, SITES)
    known_split(split, splits)
    if size != STANDARD_SIZE:
        raise ConfigurationError(
            f"dataset.size={size}: phantoms are drawn at {STANDARD_SIZE} pixels only."
        )
    if per_class is not None and per_class < 1:
        raise ConfigurationError(
            f"dataset.per_class={per_class}: a class needs at least one image."
        )


def known_split(split: str, splits: Mapping[str, int]) -> str:
    """Return the name of a split.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    if split not in splits:
        raise unknown_name("split", split, splits)
    return split


def write_drawn(draw: Callable[[int], UInt8Array], shape: tuple[int, ...], file: Path) -> str:
    """Draw rows 0, 1, ... in threads, write them in order, and return the digest of the file.

    Args:
        draw: Row -> its pixels, uint8 of shape `shape[1:]`.
        shape: Of all, rows first.
        file: What is written.
    """
    with (
        single_threaded_cv2(),
        ThreadPoolExecutor(THREADS) as pool,
        ArrayWriter(file, np.dtype(np.uint8), shape) as writer,
    ):
        for first in range(0, shape[0], BLOCK):
            for image in pool.map(draw, range(first, min(first + BLOCK, shape[0]))):
                writer.write(image.tobytes())
        return writer.close()
