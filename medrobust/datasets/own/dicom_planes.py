"""Stored values of one DICOM frame and how they are shown, for corruptions before the window."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from medrobust.base.stored_planes import FACTS, StoredPlane, StoredPlanes
from medrobust.datasets.cache import ArrayWriter, cached_array
from medrobust.exceptions import InvalidImageError
from medrobust.types import Float32Array

from .dicom_grey import Window, shown_between
from .dicom_headers import opened, quiet_pydicom
from .dicom_packing import unpacked
from .dicom_pixels import GREY, check_header, frame_index, squared
from .dicom_stored import Stored, stored_values
from .dicom_values import frame_value, is_signed, rescale
from .pictures import Framing, fitted
from .pseudonyms import sample_index
from .samples import Sample, each_sample

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

PLANES: Final = 1
"""Version of the way planes are read: to be raised where the cache may hold wrong ones."""

LEAST_BITS: Final = 9
"""Of a stored value, so that a window shows less than there is."""

SIDES: Final = {"pad": max, "crop": min}
"""Fit -> which side of an image becomes the side of its frame."""


def read_plane(
    file: Path, framing: Framing, *, frame: int | None = None, window: Window = "header"
) -> StoredPlane:
    """Read one frame as it is stored, brought to its size; what pads it is shown black.

    Args:
        file: The file.
        framing: Size and fit, as of the picture.
        frame: As for `read_dicom`.
        window: As for `read_dicom`.

    Raises:
        InvalidImageError: As `read_dicom` raises it, and where it has colours, up to 8 bits, more
            than 16 or none, or a table in place of slope and window.
        MissingDependencyError: As `read_dicom` raises it.
    """
    with opened(file) as (header, stream):
        check_header(header, file.name)
        index = frame_index(header, frame, file.name)
        packed = unpacked(header, stream, index, file)
        if header.PhotometricInterpretation not in GREY:
            raise _refused(file.name, "it has colours")
        stored = stored_values(header, packed)
        if stored.values.dtype.kind == "f" or not LEAST_BITS <= stored.bits <= 16:
            raise _refused(file.name, f"its stored values have {stored.bits} bits")
        facts = _facts(header, stored, index, window, file.name)
        whole = stored.back(stored.values.astype(np.float32))
        plane = squared(header, index, whole, file.name)
        height, width = plane.shape
        across = SIDES[framing.fit](height, width) if framing.fit in SIDES else width
        facts["pixel"] = _centimetres(header, index) * across / framing.size
        least = float(facts.pop("least"))
        codes = np.rint(_fitted(plane - np.float32(least), framing, _black(facts)))
        record = np.zeros((), FACTS)
        for name, value in facts.items():
            record[name] = value
        return StoredPlane(codes.clip(0, facts["codes"] - 1).astype(np.uint16), record[()])


def _refused(name: str, why: str) -> InvalidImageError:
    return InvalidImageError(
        f"{name} has no stored values beyond its picture: {why}. corruption.domain=stored takes "
        f"grey DICOM images of 9 to 16 bits with slope and window; leave it out."
    )


def _facts(
    header: "FileDataset", stored: Stored, index: int, window: Window, name: str
) -> dict[str, Any]:
    """Return `FACTS` but the side of a pixel, and the least stored value that the bits hold."""
    if header.get("ModalityLUTSequence"):
        raise _refused(name, "its modality transformation is a table")
    slope, intercept = rescale(header, index) or (1.0, 0.0)
    signed = is_signed(header) or bool(stored.values.min() < 0)
    least = -(1 << (stored.bits - 1)) if signed else 0
    ends = shown_between(header, stored, index, window)
    if ends is None:
        raise _refused(name, "no window shows its values, but a table or a falling slope")
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    relation = str(header.get("PixelIntensityRelationship", "")).upper()
    sign = header.get("PixelIntensityRelationshipSign")
    return {
        "least": least,
        "first": slope * least + intercept,
        "step": slope,
        "codes": 1 << stored.bits,
        "low": ends[0],
        "high": ends[1],
        "sigmoid": ends[2],
        "inverted": inverted,
        "linear": relation == "LIN",
        "falling": not inverted if sign is None else (int(sign) < 0) != (slope < 0),
    }


def _black(facts: dict[str, Any]) -> float:
    """Return the code that is shown darkest."""
    return facts["codes"] - 1.0 if facts["inverted"] != (facts["step"] < 0) else 0.0


def _centimetres(header: "FileDataset", index: int) -> float:
    """Return the side of a pixel once it is square, 0 where the header does not say."""
    sizes = frame_value(header, index, "PixelMeasuresSequence", "PixelSpacing")
    known = isinstance(sizes, Sequence) and len(sizes) == 2 and min(map(float, sizes)) > 0
    return min(map(float, sizes)) / 10 if known else 0.0


def _fitted(plane: Float32Array, framing: Framing, black: float) -> Float32Array:
    """Bring float32 (H, W) to its size as a picture is, on a border of `black`."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(plane - np.float32(black)))
    return np.asarray(fitted(image, framing)) + np.float32(black)


def planes_of(
    name: str,
    samples: Sequence[Sample],
    framing: Framing,
    frames: Sequence[int | None],
    window: Window,
    *,
    key: Mapping[str, Any],
    cache_dir: str | None = None,
) -> StoredPlanes:
    """Return the planes of a split, unpacked to the cache once.

    Args:
        name: Of the data set.
        samples: Its images.
        framing: Size and fit, as of the pictures.
        frames: Frame of each, as for `read_dicom`.
        window: As for `read_dicom`.
        key: What decides the pictures.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        MedRobustError: As `read_plane` raises it.
    """
    dtype = np.dtype([("facts", FACTS), ("codes", "<u2", (framing.size, framing.size))])
    frame_of = dict(zip((sample.name for sample in samples), frames, strict=True))

    def read(sample: Sample) -> StoredPlane:
        return read_plane(sample.file, framing, frame=frame_of[sample.name], window=window)

    def write(target: Path) -> str:
        with quiet_pydicom(), ArrayWriter(target, dtype, (len(samples),)) as writer:
            for plane in each_sample(read, samples):
                row = np.zeros((), dtype)
                row["facts"], row["codes"] = plane.facts, plane.codes
                writer.write(row.tobytes())
            return writer.close()

    asked = {**key, "kind": "dicom-planes", "planes": PLANES}
    found = cached_array(f"{name}-stored", asked, write, cache_dir=cache_dir)
    array = found.open()
    index = sample_index([sample.name for sample in samples])
    return StoredPlanes(array["codes"], np.array(array["facts"]), index, found.digest)
