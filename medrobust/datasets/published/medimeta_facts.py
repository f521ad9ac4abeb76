"""Facts of the nineteen MedIMeta sets, and of the classes of the seven in MediMeta-C.

Source: Woerner et al., MedIMeta, Zenodo record 7884735, and its `info.yaml` files (tasks, counts,
licences, order of classes). The spelling of `CLASS_NAMES` is ours.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from medrobust.exceptions import unknown_name

RECORD = "7884735"
"""Number of the Zenodo record of MedIMeta."""

MEDIMETA_C_HUB = "razaimam45/MediMeta-C"
"""Data set of MediMeta-C on the Hugging Face hub."""


@dataclass(frozen=True, slots=True)
class MedIMetaFacts:
    """What is published about one set.

    Attributes:
        task_name: Its main task.
        channels: 1 or 3.
        counts: Images in train, val and test.
        modality: A few words for prompts.
        license: Of the data.
    """

    task_name: str
    channels: int
    counts: tuple[int, int, int]
    modality: str
    license: str = "CC BY-SA 4.0"


_ORGANS = MedIMetaFacts(
    "organ label", 1, (871, 156, 618), "abdominal CT", license="CC BY-NC-SA 4.0"
)
_DERM7 = (413, 203, 395)

FACTS: Mapping[str, MedIMetaFacts] = MappingProxyType(
    {
        "aml": MedIMetaFacts(
            "morphological class", 3, (12855, 1836, 3674), "blood cell microscopy"
        ),
        "bus": MedIMetaFacts("case category", 1, (546, 78, 156), "breast ultrasound"),
        "crc": MedIMetaFacts("tissue class", 3, (85000, 15000, 7180), "colon histopathology"),
        "cxr": MedIMetaFacts("disease labels", 1, (73421, 13103, 25596), "chest x-ray"),
        "derm": MedIMetaFacts("disease category", 3, (10015, 193, 1512), "dermatoscopy"),
        "dr_regular": MedIMetaFacts("DR level", 3, (1200, 400, 400), "fundus photography"),
        "dr_uwf": MedIMetaFacts("DR level", 3, (150, 50, 50), "ultra-widefield fundus photography"),
        "fundus": MedIMetaFacts("disease presence", 3, (1920, 640, 640), "fundus photography"),
        "glaucoma": MedIMetaFacts("glaucoma suspect", 3, (857, 152, 336), "fundus photography"),
        "mammo_calc": MedIMetaFacts("pathology", 1, (1332, 214, 326), "mammography"),
        "mammo_mass": MedIMetaFacts("pathology", 1, (1126, 192, 378), "mammography"),
        "oct": MedIMetaFacts("disease class", 1, (91615, 16694, 1000), "retinal OCT"),
        "organs_axial": _ORGANS,
        "organs_coronal": _ORGANS,
        "organs_sagittal": _ORGANS,
        "pbc": MedIMetaFacts("cell class", 3, (11964, 1709, 3419), "blood cell microscopy"),
        "pneumonia": MedIMetaFacts("disease class", 1, (4415, 817, 624), "pediatric chest x-ray"),
        "skinl_derm": MedIMetaFacts("diagnosis", 3, _DERM7, "dermoscopy"),
        "skinl_photo": MedIMetaFacts("diagnosis", 3, _DERM7, "clinical skin photography"),
    }
)

CLASS_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aml": (
            "basophil",
            "erythroblast",
            "eosinophil",
            "smudge cell",
            "lymphocyte (atypical)",
            "lymphocyte (typical)",
            "metamyelocyte",
            "monoblast",
            "monocyte",
            "myelocyte",
            "myeloblast",
            "neutrophil (band)",
            "neutrophil (segmented)",
            "promyelocyte (bilobed)",
            "promyelocyte",
        ),
        "fundus": ("normal", "abnormal"),
        "mammo_calc": ("benign", "malignant"),
        "mammo_mass": ("benign", "malignant"),
        "oct": (
            "choroidal neovascularization",
            "diabetic macular edema",
            "drusen",
            "normal",
        ),
        "pbc": (
            "neutrophil",
            "eosinophil",
            "basophil",
            "lymphocyte",
            "monocyte",
            "immature granulocyte",
            "erythroblast",
            "platelet",
        ),
        "pneumonia": ("normal", "bacterial pneumonia", "viral pneumonia"),
    }
)
"""Classes of the main task in MedIMeta's order, for files that do not say them themselves."""

MEDIMETA_C = ("aml", "fundus", "mammo_calc", "mammo_mass", "oct", "pbc", "pneumonia")
"""The sets of MediMeta-C, all of which `CLASS_NAMES` knows."""

_OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "bacteria": "bacterial pneumonia",
        "virus": "viral pneumonia",
        "cnv": "choroidal neovascularization",
        "dme": "diabetic macular edema",
        "promyelocyte (bilobled)": "promyelocyte (bilobed)",
    }
)
"""What `info.yaml` writes -> how `CLASS_NAMES` spells it."""

PROMPT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fundus": ("a healthy retina", "a diseased retina"),
        "mammo_calc": ("benign calcification", "malignant calcification"),
        "mammo_mass": ("benign mass", "malignant mass"),
    }
)
"""Readable names where those of `CLASS_NAMES` say too little; by the same order."""


def medimeta_facts(name: str) -> MedIMetaFacts:
    """Look up a set by its id.

    Raises:
        UnknownNameError: If there is no such set; names the nearest.
    """
    if name not in FACTS:
        raise unknown_name("MedIMeta set", name, FACTS)
    return FACTS[name]


def our_spelling(name: str, published: Sequence[str]) -> tuple[str, ...]:
    """Spell the classes of a set as `CLASS_NAMES` does, in the order of its file.

    Args:
        name: Id of the set.
        published: Classes as `info.yaml` has them: in capitals, abbreviated, or after a code.

    Returns:
        Our names, or the published ones if they are not exactly the classes that we know.

    Example:
        >>> our_spelling("oct", ["CNV", "DME", "DRUSEN", "NORMAL"])[1:3]
        ('diabetic macular edema', 'drusen')
        >>> our_spelling("aml", ["BAS Basophil", "something new"])
        ('BAS Basophil', 'something new')
    """
    words = [re.sub(r"^[A-Z]{3} (?=\S)", "", text.strip()).lower() for text in published]
    ours = tuple(_OTHER_WORDS.get(word, word) for word in words)
    if sorted(ours) == sorted(CLASS_NAMES.get(name, ())):
        return ours
    return tuple(published)
