"""Rows of a memory-mapped array, or windows of them, that are read when they are asked for."""

from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array, UInt8Array


class PickedRows:
    """Stands for `source[rows]` and reads only what is indexed, so that a part needs no memory.

    Args:
        source: The array, usually a memory map.
        rows: int64 (n,), in any order.
    """

    def __init__(self, source: UInt8Array, rows: Int64Array) -> None:
        self.source = source
        self.rows = rows
        self.dtype = source.dtype
        self.shape = (len(rows), *source.shape[1:])
        self.ndim = source.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows: an integer, a slice, a list or an array, perhaps followed by other axes."""
        if isinstance(key, tuple):
            chosen = self[key[0]]
            rest = key[1:] if isinstance(key[0], int | np.integer) else (slice(None), *key[1:])
            return np.asarray(chosen[rest])
        return np.asarray(self.source[self.rows[key]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of them."""
        return np.asarray(self.source[self.rows], dtype=dtype)


class WindowRows:
    """Windows of images, each enlarged to the size of its image; what is not indexed is not read.

    A window that is the whole image gives its pixels as they are, any other one Pillow's bicubic
    resize.

    Args:
        whole: uint8 (N, H, W) or (N, H, W, 3), the image of each window; read when asked for.
        windows: int64 (N, 4): left, top, right, bottom.
    """

    def __init__(self, whole: UInt8Array, windows: Int64Array) -> None:
        self.whole, self.windows = whole, windows
        self.dtype, self.shape, self.ndim = whole.dtype, tuple(whole.shape), whole.ndim

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read windows: an integer, a slice, a list or an array, perhaps followed by other axes."""
        if isinstance(key, tuple):
            chosen = self[key[0]]
            rest = key[1:] if isinstance(key[0], int | np.integer) else (slice(None), *key[1:])
            return np.asarray(chosen[rest])
        images, windows = np.asarray(self.whole[key]), self.windows[key]
        if windows.ndim == 1:
            return _enlarged(images, windows)
        found = [_enlarged(*one) for one in zip(images, windows, strict=True)]
        return np.stack(found) if found else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of them."""
        return np.asarray(self[:], dtype=dtype)

    def take(self, rows: Int64Array) -> "WindowRows":
        """Return some windows, in this order."""
        return WindowRows(picked(self.whole, rows), self.windows[rows])


class UnreadRows:
    """Stands for the images of a split where nothing may depend on them: whoever reads is refused.

    Args:
        split: The set itself, with its images.
        why: What the error says.
    """

    def __init__(self, split: Any, why: str) -> None:
        self.split, self.why = split, why
        self.dtype, self.shape, self.ndim = (
            getattr(split.images, name) for name in ("dtype", "shape", "ndim")
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: Any) -> NoReturn:
        """Refuse.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(self.why)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        """Refuse, as `__getitem__` does."""
        raise ConfigurationError(self.why)

    def __getattr__(self, name: str) -> Any:
        """Refuse `mean`, `astype` and all that arrays have, as `__getitem__` does."""
        if name.startswith("_") or "why" not in vars(self):
            raise AttributeError(name)
        raise ConfigurationError(self.why)


def windows_of(images: UInt8Array | WindowRows) -> WindowRows | None:
    """Return images of a set as windows of others, or None where they are whole."""
    return images if isinstance(images, WindowRows) else None


def _enlarged(image: UInt8Array, window: Int64Array) -> UInt8Array:
    from PIL import Image

    left, top, right, bottom = window.tolist()
    height, width = image.shape[:2]
    part = Image.fromarray(image[top:bottom, left:right])
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))


def picked(images: UInt8Array | PickedRows | WindowRows, rows: Int64Array) -> UInt8Array:
    """Return `images[rows]`: a view where rows are neighbours, else read when asked for.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), or itself such a choice.
        rows: int64 (n,), positions in `images`.
    """
    if isinstance(images, WindowRows):
        return cast(UInt8Array, images.take(rows))
    if isinstance(images, PickedRows):
        return picked(images.source, images.rows[rows])
    first = int(rows[0]) if len(rows) else 0
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return images[first : first + len(rows)]
    return cast(UInt8Array, PickedRows(images, rows))
