"""Facts of the nineteen MedIMeta sets, and of the classes of the seven in MediMeta-C.

Sources: Woerner et al., MedIMeta, Zenodo record 7884735, and its `info.yaml` files (tasks, counts,
licences); RobustMedCLIP's list of class names for the order called "robustmedclip". Class shares
are counts of the source data: PBC (Acevedo et al. 2020), Kermany et al. 2018, CBIS-DDSM, RFMiD.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medrobust.datasets.label_order import KnownShares
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

PROMPT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fundus": ("a healthy retina", "a diseased retina"),
        "mammo_calc": ("benign calcification", "malignant calcification"),
        "mammo_mass": ("benign mass", "malignant mass"),
    }
)
"""Readable names where those of `CLASS_NAMES` say too little; by the same order."""

_BLOOD = {
    "neutrophil": 3329,
    "eosinophil": 3117,
    "basophil": 1218,
    "lymphocyte": 1214,
    "monocyte": 1420,
    "immature granulocyte": 2895,
    "erythroblast": 1551,
    "platelet": 2348,
}
_KERMANY = {
    "choroidal neovascularization": 37206,
    "diabetic macular edema": 11349,
    "drusen": 8617,
    "normal": 51140,
}
_ALL = ("train", "val", "test")


def _two(first: str, second: str) -> dict[str, tuple[str, ...]]:
    return {"medimeta": (first, second), "robustmedclip": (second, first)}


KNOWN_SHARES: Mapping[str, KnownShares] = MappingProxyType(
    {
        "pbc": KnownShares(
            _BLOOD,
            {"medimeta": CLASS_NAMES["pbc"], "robustmedclip": tuple(sorted(_BLOOD))},
            exact=True,
            splits=_ALL,
            source="Acevedo et al. 2020, 17,092 images",
        ),
        "oct": KnownShares(
            _KERMANY,
            {
                "medimeta": CLASS_NAMES["oct"],
                "robustmedclip": (
                    "choroidal neovascularization",
                    "normal",
                    "diabetic macular edema",
                    "drusen",
                ),
            },
            exact=True,
            splits=("train", "val"),  # the test split is balanced and says nothing
            source="Kermany et al. 2018, 108,312 training images",
        ),
        "fundus": KnownShares(
            {"normal": 21, "abnormal": 79},
            _two("normal", "abnormal"),
            exact=False,
            splits=_ALL,
            source="RFMiD, percent, approximate",
        ),
        "mammo_calc": KnownShares(
            {"benign": 197, "malignant": 129},
            _two("benign", "malignant"),
            exact=True,
            splits=("test",),  # training cases are close to balanced
            source="CBIS-DDSM test cases, 326",
        ),
        "mammo_mass": KnownShares(
            {"benign": 231, "malignant": 147},
            _two("benign", "malignant"),
            exact=True,
            splits=("test",),
            source="CBIS-DDSM test cases, 378",
        ),
    }
)


def medimeta_facts(name: str) -> MedIMetaFacts:
    """Look up a set by its id.

    Raises:
        UnknownNameError: If there is no such set; names the nearest.
    """
    if name not in FACTS:
        raise unknown_name("MedIMeta set", name, FACTS)
    return FACTS[name]
