"""What MedSegBench publishes of its 35 sets: files, sums, counts, classes, licences.

Source: `medsegbench/info.py` of zekikus/MedSegBench (Apache-2.0). Of sets of one class the
published word is "foreground"; what it is, and the modality, are words of ours, for prompts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

SIZES = (128, 256, 512)

RECORD = "13358372"
"""Of Zenodo, for most sets."""


@dataclass(frozen=True, slots=True)
class MedSegFacts:
    """What is published of a set.

    Attributes:
        classes: What the values of masks stand for, from 0.
        modality: A few words for prompts.
        channels: Of images.
        counts: Images in train, val and test.
        license: As published.
        md5: Of the files of 128, 256 and 512 pixels.
        parts: What a suffix of the arrays stands for ("C1").
        record: Of Zenodo.
        one_class: Whether every value of masks but 0 is the foreground, as published.
    """

    classes: tuple[str, ...]
    modality: str
    channels: int
    counts: tuple[int, int, int]
    license: str
    md5: tuple[str, str, str]
    parts: Mapping[str, str] = field(default_factory=dict)
    record: str = RECORD
    one_class: bool = False


def _read() -> dict[str, MedSegFacts]:
    text = Path(__file__).with_name("medsegbench.json").read_text("utf-8")
    stated: dict[str, dict[str, Any]] = json.loads(text)
    return {flag: MedSegFacts(**_tuples(told)) for flag, told in stated.items()}


def _tuples(told: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}


FACTS: Mapping[str, MedSegFacts] = MappingProxyType(_read())
"""Flag -> what is published."""
