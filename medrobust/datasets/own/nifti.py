"""Slices of masks in NIfTI files, header and numbers alone: nothing of a file is executed.

References:
    NIfTI-1 and NIfTI-2 (https://nifti.nimh.nih.gov), the fields of `nifti1.h` and `nifti2.h`.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError

from .pictures import check_area

SUFFIXES = (".nii", ".nii.gz")

LARGEST_VOLUME = 1 << 28
"""Bytes that a packed file may unpack to; one that is not packed is read slice by slice."""

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8"}
"""`datatype` of numbers that masks are made of."""

MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Units of space in `xyzt_units`: metres, millimetres and micrometres."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the header says of the voxels.

    Attributes:
        shape: Columns, rows and slices: the first three axes.
        dtype: Of a voxel.
        offset: Bytes before the first one.
        spacing: Millimetres from row to row and from column to column; None where the header names
            no unit, or no length above 0.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    spacing: tuple[float, float] | None


class Volumes:
    """Reads slices, and keeps the packed volume that was unpacked last."""

    def __init__(self) -> None:
        self._last: tuple[Path, bytes] | None = None
        self._lock = Lock()

    def read(self, file: Path, number: int | None) -> NDArray[np.int64]:
        """Return slice `number` of a mask, int64 (rows, columns): `data[:, :, number].T`.

        That is the picture that ITK's readers make of the slice; rows run along the second axis.

        Args:
            file: `.nii` or `.nii.gz`.
            number: From 0, along the third axis; None where there is one slice.

        Raises:
            InvalidImageError: If the file is none or is cut off, has no such slice, more than one
                and none is named, or numbers that are not whole.
        """
        with self._lock:
            layout = read_layout(file)
            columns, rows, slices = layout.shape
            if number is None and slices > 1:
                raise InvalidImageError(
                    f"the mask {file.name} has {slices} slices: name one of 0 to {slices - 1} in "
                    f"the column of dataset.mask_slice_column."
                )
            if not 0 <= (number or 0) < slices:
                raise InvalidImageError(
                    f"the mask {file.name} has no slice {number}; there are 0 to {slices - 1}."
                )
            size = columns * rows * layout.dtype.itemsize
            stored = self._bytes(file, layout, size, number or 0)
        if len(stored) < size:
            raise InvalidImageError(f"the mask {file.name} is cut off: fetch it again.")
        values = np.frombuffer(stored, layout.dtype).reshape(rows, columns)
        whole = values.astype(np.int64) if _in_range(values) else None
        if whole is None or (whole != values).any():
            raise InvalidImageError(
                f"the mask {file.name} holds numbers that are not whole, as of probabilities: save "
                f"classes, 0 where no lesion is."
            )
        return whole

    def _bytes(self, file: Path, layout: Layout, size: int, number: int) -> bytes:
        start = layout.offset + number * size
        if not _packed(file):
            with file.open("rb") as stored:
                stored.seek(start)
                return stored.read(size)
        whole = layout.offset + layout.shape[2] * size
        if whole > LARGEST_VOLUME:
            raise InvalidImageError(
                f"the mask {file.name} unpacks to {whole / 2**20:.0f} MB, and up to "
                f"{LARGEST_VOLUME / 2**20:.0f} are: unpack it to .nii, which is read by slices."
            )
        if self._last is None or self._last[0] != file:
            self._last = file, _unpacked(file, whole)
        return self._last[1][start : start + size]


def read_layout(file: Path) -> Layout:
    """Read the header of a NIfTI-1 or NIfTI-2 file.

    Raises:
        InvalidImageError: If it is none that masks are read from; says why.
    """
    head = _unpacked(file, 540) if _packed(file) else _first(file, 540)
    for order in "<>":
        said = struct.unpack_from(f"{order}i", head.ljust(4, b"\0"))[0]
        if said == 348 and head[344:348] == b"n+1\0":
            dim = struct.unpack_from(f"{order}8h", head, 40)
            pixdim = struct.unpack_from(f"{order}8f", head, 76)
            offset, slope, inter = struct.unpack_from(f"{order}3f", head, 108)
            return _layout(file, order, dim, head[70:72], pixdim, (offset, slope, inter), head[123])
        if said == 540 and head[4:8] == b"n+2\0" and len(head) == 540:
            dim = struct.unpack_from(f"{order}8q", head, 16)
            pixdim = struct.unpack_from(f"{order}8d", head, 104)
            (offset,) = struct.unpack_from(f"{order}q", head, 168)
            slope, inter = struct.unpack_from(f"{order}2d", head, 176)
            (units,) = struct.unpack_from(f"{order}i", head, 500)
            scaling = offset, slope, inter
            return _layout(file, order, dim, head[12:14], pixdim, scaling, units)
    raise InvalidImageError(
        f"the mask {file.name} is no NIfTI file of one piece (n+1 or n+2): save it again as .nii "
        f"or .nii.gz."
    )


def _layout(
    file: Path,
    order: str,
    dim: tuple[int, ...],
    datatype: bytes,
    pixdim: tuple[float, ...],
    scaling: tuple[float, float, float],
    units: int,
) -> Layout:
    count = dim[0]
    axes = (*dim[1 : count + 1], 1, 1)[: max(count, 3)] if 2 <= count <= 7 else ()
    if not axes or min(axes) < 1 or any(axis != 1 for axis in axes[3:]):
        raise InvalidImageError(
            f"the mask {file.name} has axes {list(dim[1 : count + 1])}: up to three are read."
        )
    check_area(file.name, axes[0], axes[1])
    check_area(file.name, axes[2], 1)
    code = struct.unpack(f"{order}h", datatype)[0]
    if code not in TYPES:
        raise InvalidImageError(
            f"the mask {file.name} is of datatype {code}: save whole numbers, as of 8 bits."
        )
    offset, slope, inter = scaling
    scaled = np.isfinite(slope) and slope not in (0, 1)
    if scaled or (np.isfinite(slope) and slope and np.isfinite(inter) and inter):
        raise InvalidImageError(
            f"the mask {file.name} is scaled by its header (scl_slope, scl_inter): save classes as "
            f"whole numbers, without a scale."
        )
    if not (352 <= offset <= 1 << 24) or offset != int(offset):
        raise InvalidImageError(
            f"the mask {file.name} names byte {offset} as its first voxel, which cannot be: save "
            f"it again."
        )
    unit, across, down = MILLIMETRES.get(units & 7), abs(pixdim[1]), abs(pixdim[2])
    known = unit is not None and 0 < across < np.inf and 0 < down < np.inf
    spacing = (down * unit, across * unit) if known and unit is not None else None
    dtype = np.dtype(order + TYPES[code])
    return Layout((axes[0], axes[1], axes[2]), dtype, int(offset), spacing)


def _in_range(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all() and (np.abs(values.astype(np.float64)) < 2**31).all())


def _packed(file: Path) -> bool:
    return _first(file, 2) == b"\x1f\x8b"


def _first(file: Path, count: int) -> bytes:
    with file.open("rb") as stored:
        return stored.read(count)


def _unpacked(file: Path, count: int) -> bytes:
    """Return so many bytes of what a file unpacks to, and no more.

    Raises:
        InvalidImageError: If it cannot be unpacked.
    """
    try:
        with gzip.open(file, "rb") as stored:
            return stored.read(count)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidImageError(
            f"the mask {file.name} cannot be unpacked ({error}): fetch it again."
        ) from error
