"""Published images brought to the set's size once, in the cache: from arrays and from files."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medrobust.datasets.own.picture_files import is_grey, read_picture
from medrobust.datasets.own.pictures import Framing, fitted
from medrobust.types import UInt8Array

from .cache import ArrayWriter, CachedArray, cached_array

THREADS = 4
CHUNK = 64
"""Files that are read ahead of writing."""


def framed(
    array: CachedArray,
    framing: Framing,
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CachedArray:
    """Bring images to `framing.size`, or return them as they are where they have it.

    Args:
        array: uint8 (N, H, W) or (N, H, W, 3) in the cache.
        framing: Size and the way to it.
        name: For people who look into the cache.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        StoreError: If the cache cannot be written.
    """
    images: UInt8Array = array.open()
    if images.shape[1:3] == (framing.size, framing.size):
        return array

    def write(target: Path) -> str:
        from PIL import Image

        shape = (len(images), framing.size, framing.size, *images.shape[3:])
        with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
            for image in images:
                writer.write(np.asarray(fitted(Image.fromarray(image), framing)).tobytes())
            return writer.close()

    key = {"kind": "framed", "source": array.digest, "framing": [framing.size, framing.fit]}
    return cached_array(f"{name}-{framing.size}", key, write, cache_dir=cache_dir)


def framed_files(
    files: Sequence[Path],
    framing: Framing,
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CachedArray:
    """Read image files of one set: (N, H, W) if all are grey, else (N, H, W, 3).

    Args:
        files: All of which exist.
        framing: Size and the way to it.
        name: For people who look into the cache.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidImageError: For the first file that cannot be read.
        StoreError: If the cache cannot be written.
    """

    def write(target: Path) -> str:
        with ThreadPoolExecutor(THREADS) as threads:
            grey = all(threads.map(is_grey, files))
            shape = (len(files), framing.size, framing.size, *(() if grey else (3,)))
            with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
                for start in range(0, len(files), CHUNK):
                    part = files[start : start + CHUNK]
                    for image in threads.map(lambda f: read_picture(f, framing, grey=grey), part):
                        writer.write(image.tobytes())
                return writer.close()

    states = [(file, file.stat()) for file in files]
    key = {
        "kind": "files",
        "files": [[str(file.resolve()), s.st_size, s.st_mtime_ns] for file, s in states],
        "framing": [framing.size, framing.fit],
    }
    return cached_array(name, key, write, cache_dir=cache_dir)
