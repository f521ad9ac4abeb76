"""Cached images of another size, brought to the set's size once, in the cache."""

import os
from pathlib import Path

import numpy as np

from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array
from medrobust.datasets.pictures import Framing, fitted
from medrobust.types import UInt8Array


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
