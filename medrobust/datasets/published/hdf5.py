"""Rows of the image array of an HDF5 file, written to the cache."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.wording import counted
from medrobust.datasets.cache import (
    ArrayWriter,
    CachedArray,
    cached_array,
    ensure_space,
    source_key,
)
from medrobust.datasets.cache_checks import array_hash
from medrobust.datasets.npz import LARGEST_SIDE
from medrobust.exceptions import InvalidDataError, MedRobustError, MissingDependencyError
from medrobust.types import Int64Array

if TYPE_CHECKING:
    import h5py

BLOCK = 1 << 24
"""Bytes read at a time, but at least one image."""

SLAB = 1 << 28
"""Bytes read at a time where the chunks of a file hold several images."""


def hdf5_rows(
    file: Path,
    dataset: str,
    rows: Sequence[int],
    *,
    count: int,
    full_hash: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CachedArray:
    """Unpack the given rows of an image array, in the given order, once.

    Args:
        file: The HDF5 file.
        dataset: Name of the array in it: uint8, (N, H, W) or (N, H, W, 3), stored in this file.
        rows: Rows to take, not negative and below `count`.
        count: Images that the array must hold (N): it has one for each label of the set.
        full_hash: See `medrobust.datasets.cache.source_key`.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidDataError: If the file is damaged or the array is not such a one; names the file.
        MissingDependencyError: If h5py is not installed.
    """

    def write(target: Path) -> str:
        h5py = _library()
        try:
            with h5py.File(file, "r") as opened:
                images = _array(opened, dataset, file, h5py)
                if len(images) != count:
                    raise InvalidDataError(
                        f"{file} has {counted(len(images), 'image')}, but the set has "
                        f"{counted(count, 'label')}. "
                        f"Unpack its archive again."
                    )
                return _copy(images, rows, target)
        except MedRobustError:
            raise
        except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
            raise InvalidDataError(
                f"{file} is damaged or not an HDF5 file. Get it again."
            ) from error

    key = {
        "kind": "hdf5",
        **source_key(file, full_hash=full_hash),
        "dataset": dataset,
        "rows": fingerprint(list(rows)),
    }
    return cached_array(f"{file.parent.name}-{dataset}", key, write, cache_dir=cache_dir)


def _library() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "reading images.hdf5 needs h5py: pip install 'medrobust[medimeta]', or unpack the "
            "set's images/*.tiff and leave images.hdf5 away."
        ) from error
    return h5py


def _array(opened: "h5py.File", name: str, file: Path, h5py: Any) -> "h5py.Dataset":
    """Return the array if its bytes lie in this file and it holds images."""
    link = opened.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(opened[name], h5py.Dataset):
        raise InvalidDataError(f"{file} has no array {name!r} of its own; it has: {list(opened)}.")
    images = opened[name]
    shape = images.shape
    if images.is_virtual or images.external:
        raise InvalidDataError(f"{file}: {name!r} points to other files, which are not followed.")
    sized = len(shape) in (3, 4) and all(0 < side <= LARGEST_SIDE for side in shape[1:3])
    if images.dtype != np.uint8 or not sized or shape[3:] not in ((), (3,)):
        raise InvalidDataError(
            f"{file}: {name!r} is {images.dtype} of shape {shape}; images are uint8 (N, H, W) or "
            f"(N, H, W, 3)."
        )
    return images


def _copy(images: "h5py.Dataset", rows: Sequence[int], target: Path) -> str:
    if images.chunks is not None and images.chunks[0] > 1:
        return _scatter(images, np.asarray(rows, dtype=np.int64), target)
    shape = (len(rows), *images.shape[1:])
    with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
        for start, stop in runs(rows, max(1, BLOCK // math.prod(shape[1:]))):
            writer.write(images[start:stop].tobytes())
        return writer.close()


def _scatter(images: "h5py.Dataset", rows: Int64Array, target: Path) -> str:
    """Copy rows of an array whose chunks hold several images: each chunk is unpacked once."""
    shape, dtype = (len(rows), *images.shape[1:]), np.dtype(np.uint8)
    ensure_space(target.parent, math.prod(shape))
    written = np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=shape)
    slab = min(images.chunks[0], max(1, SLAB // math.prod(shape[1:])))
    order = np.argsort(rows, kind="stable")
    for start in np.unique(rows // slab) * slab:
        low, high = np.searchsorted(rows[order], [start, start + slab])
        places = order[low:high]
        written[places] = images[start : start + slab][rows[places] - start]
    written.flush()
    digest = array_hash(dtype, shape, fortran=False)
    step = max(1, BLOCK // math.prod(shape[1:]))
    for first in range(0, len(rows), step):
        digest.update(written[first : first + step].data)
    return digest.hexdigest()


def runs(rows: Sequence[int], longest: int) -> Iterator[tuple[int, int]]:
    """Split rows into stretches of neighbours, at most `longest` each.

    Example:
        >>> list(runs([3, 4, 5, 9, 1], longest=2))
        [(3, 5), (5, 6), (9, 10), (1, 2)]
    """
    start = stop = rows[0]
    for row in rows:
        if row != stop or stop - start == longest:
            yield start, stop
            start = stop = row
        stop += 1
    yield start, stop
