"""Rows of the image array of an HDF5 file, written to the cache."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array, source_key
from medrobust.exceptions import InvalidDataError, MedRobustError, MissingDependencyError
from medrobust.fingerprints import fingerprint

if TYPE_CHECKING:
    import h5py

BLOCK = 64
"""Images read at a time."""


def hdf5_rows(
    file: Path,
    dataset: str,
    rows: Sequence[int],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> CachedArray:
    """Unpack the given rows of an image array, in the given order, once.

    Args:
        file: The HDF5 file.
        dataset: Name of the array in it: uint8, (N, H, W) or (N, H, W, 3), stored in this file.
        rows: Rows to take.
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
                if max(rows) >= len(images):
                    raise InvalidDataError(
                        f"{file} has {len(images)} images, but row {max(rows)} is asked for."
                    )
                return _copy(images, rows, target)
        except MedRobustError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise InvalidDataError(
                f"{file} is damaged or not an HDF5 file. Get it again."
            ) from error

    key = {"kind": "hdf5", **source_key(file), "dataset": dataset, "rows": fingerprint(list(rows))}
    return cached_array(f"{file.parent.name}-{dataset}", key, write, cache_dir=cache_dir)


def _library() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "reading images.hdf5 needs h5py: pip install 'medrobust[medimeta]'."
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
    if images.dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
        raise InvalidDataError(
            f"{file}: {name!r} is {images.dtype} of shape {shape}; images are uint8 (N, H, W) or "
            f"(N, H, W, 3)."
        )
    return images


def _copy(images: "h5py.Dataset", rows: Sequence[int], target: Path) -> str:
    shape = (len(rows), *images.shape[1:])
    with ArrayWriter(target, np.dtype(np.uint8), shape) as writer:
        for start, stop in runs(rows):
            writer.write(images[start:stop].tobytes())
        return writer.close()


def runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Split rows into stretches of neighbours, at most `BLOCK` long.

    Example:
        >>> list(runs([3, 4, 5, 9, 1]))
        [(3, 6), (9, 10), (1, 2)]
    """
    start = stop = rows[0]
    for row in rows:
        if row != stop or stop - start == BLOCK:
            yield start, stop
            start = stop = row
        stop += 1
    yield start, stop
