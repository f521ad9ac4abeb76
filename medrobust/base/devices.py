"""Devices by the codes of DICOM headers, and what the headers of a split say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {"MR": "MRI", "CT": "CT", "PT": "PET", "NM": "scintigraphy"}
    | dict.fromkeys(("CR", "DX", "MG", "IO", "PX", "RF", "RG", "XA", "RTIMAGE"), "x-ray")
    | dict.fromkeys(("US", "IVUS", "BDUS"), "ultrasound")
    | dict.fromkeys(("OPT", "OPTENF", "OPTBSV", "IVOCT"), "OCT")
    | {"OP": "fundus photography", "ES": "endoscopy", "DMS": "dermatoscopy"}
    | {"SM": "histopathology", "GM": "microscopy"}
)
"""Modality (0008,0060; PS3.3, C.7.3.1.1.1) -> device; what is left out (OT, SR, XC) names none."""

_MICROSCOPES: Final = {"histopathology", "microscopy"}


def alike(one: str, other: str) -> bool:
    """Say whether two names of devices may stand for one: slides are looked at by microscopes.

    Example:
        >>> alike("CT", "MRI"), alike("microscopy", "histopathology")
        (False, True)
    """
    return one == other or {one, other} == _MICROSCOPES


@dataclass(frozen=True, slots=True)
class HeaderModalities:
    """What the header of each image of a split says of its device, as one of `CODES` or "".

    Attributes:
        codes: One an image.
        files: Names of the files, which records may not hold.
        places: "labels.csv, line 4" of each.
    """

    codes: Sequence[str]
    files: Sequence[str]
    places: Sequence[str]

    def take(self, rows: Sequence[int]) -> "HeaderModalities":
        """Return those of some images."""
        parts = ([part[row] for row in rows] for part in (self.codes, self.files, self.places))
        return HeaderModalities(*parts)


ReadsHeaders: TypeAlias = Callable[[], HeaderModalities]
"""Reads the headers of a split, once; the cache holds their codes."""
