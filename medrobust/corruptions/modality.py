"""Which device makes which artifact, and whether a data set comes from such a device."""

import logging
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from medrobust.base.devices import CODES
from medrobust.base.once import say_once
from medrobust.exceptions import ConfigurationError

_LOG = logging.getLogger(__name__)

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "MRI": r"mri?|magnetic resonance|t1w?|t2w?|flair",
        "CT": r"(?:cb)?ct|hrct|ldct|computed tomograph\w*",
        "ultrasound": r"ultraso\w+|sonogra\w+|echocardiogra\w+",
        "x-ray": r"x[- ]?rays?|radiogra\w+|mammogra\w+|cxr",
        "fundus photography": r"fundus|fundoscop\w+|retinal photogra\w+",
        "OCT": r"oct|optical coherence tomograph\w*",
        "histopathology": r"histopatholog\w+|histolog\w+|h ?& ?e|whole[- ]slide",
        "dermatoscopy": r"derm\w*scop\w+|dermatolog\w+|skin",
        "endoscopy": r"\w*endoscop\w+|colonoscop\w+|gastroscop\w+|laparoscop\w+",
        "microscopy": r"microscop\w+",
    }
)
"""Device -> expression of the words by which data sets name it; the first that fits counts."""

PHYSICS: Mapping[str, str] = MappingProxyType(
    {"MRI": "mri_physics", "CT": "ct_physics", "x-ray": "xray_physics"}
    | {"ultrasound": "ultrasound_physics", "fundus photography": "fundus_physics"}
    | {"dermatoscopy": "dermatoscopy_physics", "endoscopy": "endoscopy_physics"}
    | {"histopathology": "histopathology_physics"}
)
"""Device -> suite of its artifacts: what `corruption=physics` takes."""


MEDFM: Mapping[str, str] = MappingProxyType(
    {"MRI": "medfm_robust_mri", "CT": "medfm_robust_ct", "x-ray": "medfm_robust_xray"}
    | {"ultrasound": "medfm_robust_ultrasound", "OCT": "medfm_robust_oct"}
    | {"endoscopy": "medfm_robust_endoscopy", "dermatoscopy": "medfm_robust_dermatoscopy"}
    | {"histopathology": "medfm_robust_pathology"}
)
"""Device -> second block of `corruption=medfm_robust`."""


def device_of(modality: str) -> str:
    """Find the device behind the words of a data set; "" where they name none that is known.

    Example:
        >>> [device_of(words) for words in ("pediatric chest x-ray", "brain MR", "medical image")]
        ['x-ray', 'MRI', '']
        >>> [device_of(words) for words in ("DX", "US", "US patients")]
        ['x-ray', 'ultrasound', '']
    """
    if code := CODES.get(modality.strip().upper()):
        return code
    for device, words in WORDS.items():
        if re.search(rf"\b(?:{words})\b", modality.lower()):
            return device
    return ""


def modality_of(source: object) -> str:
    """Return the words of a source of data for how its images were made; "" where it has none.

    Example:
        >>> modality_of("no source")
        ''
    """
    return str(getattr(source, "modality", ""))


def check_device(name: str, device: str, modality: str | None, *, suite: str, force: bool) -> None:
    """Refuse an artifact of one device on images of another; where none is declared it may be.

    Args:
        name: Corruption.
        device: That makes it; "" for corruptions of any image.
        modality: Words of the data set, "" where it declares none; None if nobody asks.
        suite: That it is of.
        force: Whether it is computed all the same.

    Raises:
        ConfigurationError: If the data set comes from another device.

    Example:
        >>> check_device("spike", "MRI", "brain MRI", suite="mri_physics", force=False)
    """
    if not device or modality is None or force:
        return
    found = device_of(modality)
    if found and found != device:
        raise ConfigurationError(
            f"corruption {name!r} of suite {suite!r} is an artifact of {device}, and the images "
            f"are {modality}: choose another corruption, or corruption.force=true to compute it "
            f"all the same."
        )


def say_unchecked(devices: Iterable[str], modality: str) -> None:
    """Say once a job that nobody knows whether artifacts of a device suit a data set.

    Args:
        devices: Of the corruptions, "" for those of any image.
        modality: Words of the data set.

    Example:
        >>> say_unchecked(["", "MRI"], "brain MRI")  # known: nothing is said
    """
    if device_of(modality):
        return
    declared = f"says {modality!r}, which names no device" if modality else "does not say"
    for device in dict.fromkeys(filter(None, devices)):
        say_once(
            _LOG,
            logging.INFO,
            f"{device} artifacts on a data set that {declared}: whether they suit its images was "
            f"not checked. dataset.modality of your own data says what they are.",
        )


def physics_suite(modality: str | None) -> str:
    """Choose the suite of the device that made a data set.

    Raises:
        ConfigurationError: If the data set names no device, or one without a suite.

    Example:
        >>> physics_suite("axial T2w MRI of the brain")
        'mri_physics'
    """
    device = device_of(modality or "")
    if device in PHYSICS:
        return PHYSICS[device]
    said = f"is {modality}" if modality else "declares no modality"
    raise ConfigurationError(
        f"corruption=physics takes the suite of the data set's device, and this one {said}. Name "
        f"one of {', '.join(PHYSICS.values())} by corruption=NAME; your own data say what they "
        f"are by dataset.modality=WORDS."
    )
