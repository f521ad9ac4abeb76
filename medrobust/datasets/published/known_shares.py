"""Known shares of classes, and the orders in which releases of a set number them.

Orders: "medmnist" and "medimeta" are those of the publishers, "robustmedclip" that of the list of
class names in RobustMedCLIP, which may or may not be that of the label files beside it.

Counts, and how far they are confirmed:

- blood cells: Acevedo et al. 2020, 17,092 images, the number that both releases have;
- breast ultrasound: Al-Dhabyani et al. 2020, 437 benign, 210 malignant, 133 normal of 780, as
  public copies of the set list them; breastmnist joins benign and normal (`medmnist/info.py`);
- OCT: Kermany et al. 2018, 108,312 training images as the paper counts classes; the releases hold
  108,309 valid ones, which moves no share by 1e-4;
- chest x-rays: Kermany et al. 2018, 5,232 training images, the sum of train and val of
  pneumoniamnist; its test split has other shares, which favour the same order;
- mammography: CBIS-DDSM's test cases, whose sums (326, 378) are those of MedIMeta's test splits;
- fundus: RFMiD in percent, approximate: it warns and never stops.

The counts by class of OCT, chest x-rays and mammography stand as in those publications and could
not be compared with the files.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .label_order import KnownShares
from .medimeta_facts import CLASS_NAMES
from .medmnist_facts import FACTS

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
_OCT_BY_ROBUSTMEDCLIP = (
    "choroidal neovascularization",
    "normal",
    "diabetic macular edema",
    "drusen",
)
_ALL = ("train", "val", "test")
_TRAINING = ("train", "val")
"""Where the test split is balanced, or the training cases are, only the others tell."""


def _long(names: tuple[str, ...]) -> tuple[str, ...]:
    """Write blood cells as MedMNIST publishes them."""
    published = FACTS["bloodmnist"].class_names
    return tuple(next(p for p in published if p.startswith(name)) for name in names)


def _two(own: str, names: tuple[str, ...], other: str) -> dict[str, tuple[str, ...]]:
    return {own: names, other: names[::-1]}


KNOWN_SHARES: Mapping[str, KnownShares] = MappingProxyType(
    {
        "pbc": KnownShares(
            _BLOOD,
            {"medimeta": CLASS_NAMES["pbc"], "robustmedclip": tuple(sorted(_BLOOD))},
            exact=True,
            splits=_ALL,
        ),
        "bloodmnist": KnownShares(
            dict(zip(_long(tuple(_BLOOD)), _BLOOD.values(), strict=True)),
            {"medmnist": FACTS["bloodmnist"].class_names, "medimeta": _long(CLASS_NAMES["pbc"])},
            exact=True,
            splits=_ALL,
        ),
        "oct": KnownShares(
            _KERMANY,
            {"medimeta": CLASS_NAMES["oct"], "robustmedclip": _OCT_BY_ROBUSTMEDCLIP},
            exact=True,
            splits=_TRAINING,
        ),
        "octmnist": KnownShares(
            _KERMANY,
            {"medmnist": FACTS["octmnist"].class_names, "robustmedclip": _OCT_BY_ROBUSTMEDCLIP},
            exact=True,
            splits=_TRAINING,
        ),
        "pneumoniamnist": KnownShares(
            {"normal": 1349, "pneumonia": 3883},
            _two("medmnist", FACTS["pneumoniamnist"].class_names, "reversed"),
            exact=True,
            splits=_ALL,
        ),
        "breastmnist": KnownShares(
            {"malignant": 210, "normal, benign": 570},
            _two("medmnist", FACTS["breastmnist"].class_names, "reversed"),
            exact=True,
            splits=_ALL,
        ),
        "fundus": KnownShares(
            {"normal": 21, "abnormal": 79},
            _two("medimeta", CLASS_NAMES["fundus"], "robustmedclip"),
            exact=False,
            splits=_ALL,
        ),
        "mammo_calc": KnownShares(
            {"benign": 197, "malignant": 129},
            _two("medimeta", CLASS_NAMES["mammo_calc"], "robustmedclip"),
            exact=True,
            splits=("test",),
        ),
        "mammo_mass": KnownShares(
            {"benign": 231, "malignant": 147},
            _two("medimeta", CLASS_NAMES["mammo_mass"], "robustmedclip"),
            exact=True,
            splits=("test",),
        ),
    }
)

SHARED_SOURCES: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"bloodmnist", "pbc"}), "the same 17,092 blood cells, split differently"),
    (frozenset({"octmnist", "oct"}), "the same OCT images, the test images among them"),
    (frozenset({"pneumoniamnist", "pneumonia"}), "the same chest x-rays, the test images included"),
    (frozenset({"breastmnist", "bus"}), "the same 780 breast ultrasounds"),
    (frozenset({"chestmnist", "cxr"}), "the same chest x-rays, split differently"),
    (frozenset({"dermamnist", "derm"}), "the same skin images"),
    (frozenset({"pathmnist", "crc"}), "the same pieces of colon"),
    (frozenset({"retinamnist", "dr_regular"}), "the same fundus photographs"),
    (frozenset({"organamnist", "organs_axial"}), "slices of the same CT scans"),
    (frozenset({"organcmnist", "organs_coronal"}), "slices of the same CT scans"),
    (frozenset({"organsmnist", "organs_sagittal"}), "slices of the same CT scans"),
)
"""Sets that were made from the same pictures, and what is the same.

Sources: the descriptions in `medmnist/info.py` of MedMNIST (NCT-CRC-HE-100K, NIH ChestX-ray14,
HAM10000, Kermany's OCT and chest x-rays, DeepDRiD, the breast ultrasounds, LiTS, 17,092 blood
cells) and the files in StefanoWoerner/medimeta-dataset-scripts:dataset_info, which name the same.
"""
