"""Facts of the twelve two-dimensional MedMNIST sets.

Source: `medmnist/info.py` of the medmnist package 3.0.2 (order and spelling of `class_names`,
tasks, counts, licences) and its data card; `prompt_names` are ours where they differ. MD5 sums are
read from the installed medmnist package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medrobust.exceptions import unknown_name
from medrobust.types import LabelKind

SIZES = (28, 64, 128, 224)
RECORD = "10519652"
"""Number of the Zenodo record that holds all files."""


@dataclass(frozen=True, slots=True)
class MedMNISTFacts:
    """What is published about one set.

    Attributes:
        label_kind: One of MedMNIST's four words for kinds of labels.
        channels: 1 or 3.
        counts: Images in train, val and test.
        class_names: In label order, as published.
        modality: A few words for prompts.
        prompt_names: Readable names in label order; empty where the published ones read well.
        positive: Index of the positive class of a binary set.
        license: Of the data.
    """

    label_kind: LabelKind
    channels: int
    counts: tuple[int, int, int]
    class_names: tuple[str, ...]
    modality: str
    prompt_names: tuple[str, ...] = ()
    positive: int | None = None
    license: str = "CC BY 4.0"


_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
_READABLE_ORGANS = tuple(
    f"{side} {organ}" if side else organ
    for organ, _, side in (name.partition("-") for name in _ORGANS)
)

FACTS: Mapping[str, MedMNISTFacts] = MappingProxyType(
    {
        "pathmnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=3,
            counts=(89996, 10004, 7180),
            class_names=(
                "adipose",
                "background",
                "debris",
                "lymphocytes",
                "mucus",
                "smooth muscle",
                "normal colon mucosa",
                "cancer-associated stroma",
                "colorectal adenocarcinoma epithelium",
            ),
            modality="colon histopathology",
            prompt_names=(
                "adipose tissue",
                "background without tissue",
                "debris",
                "lymphocytes",
                "mucus",
                "smooth muscle",
                "normal colon mucosa",
                "cancer-associated stroma",
                "colorectal adenocarcinoma epithelium",
            ),
        ),
        "chestmnist": MedMNISTFacts(
            label_kind="multi-label, binary-class",
            channels=1,
            counts=(78468, 11219, 22433),
            class_names=(
                "atelectasis",
                "cardiomegaly",
                "effusion",
                "infiltration",
                "mass",
                "nodule",
                "pneumonia",
                "pneumothorax",
                "consolidation",
                "edema",
                "emphysema",
                "fibrosis",
                "pleural",
                "hernia",
            ),
            modality="chest x-ray",
            prompt_names=(
                "atelectasis",
                "cardiomegaly",
                "pleural effusion",
                "pulmonary infiltration",
                "lung mass",
                "lung nodule",
                "pneumonia",
                "pneumothorax",
                "pulmonary consolidation",
                "pulmonary edema",
                "pulmonary emphysema",
                "pulmonary fibrosis",
                "pleural thickening",
                "hiatal hernia",
            ),
        ),
        "dermamnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=3,
            counts=(7007, 1003, 2005),
            class_names=(
                "actinic keratoses and intraepithelial carcinoma",
                "basal cell carcinoma",
                "benign keratosis-like lesions",
                "dermatofibroma",
                "melanoma",
                "melanocytic nevi",
                "vascular lesions",
            ),
            modality="dermatoscopy",
            license="CC BY-NC 4.0",
        ),
        "octmnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=1,
            counts=(97477, 10832, 1000),
            class_names=(
                "choroidal neovascularization",
                "diabetic macular edema",
                "drusen",
                "normal",
            ),
            modality="retinal OCT",
            prompt_names=(
                "choroidal neovascularization",
                "diabetic macular edema",
                "drusen",
                "normal retina",
            ),
        ),
        "pneumoniamnist": MedMNISTFacts(
            label_kind="binary-class",
            channels=1,
            counts=(4708, 524, 624),
            class_names=("normal", "pneumonia"),
            modality="pediatric chest x-ray",
            prompt_names=("normal lungs", "pneumonia"),
            positive=1,
        ),
        "retinamnist": MedMNISTFacts(
            label_kind="ordinal-regression",
            channels=3,
            counts=(1080, 120, 400),
            class_names=("0", "1", "2", "3", "4"),
            modality="fundus photography",
            prompt_names=(
                "no diabetic retinopathy",
                "mild diabetic retinopathy",
                "moderate diabetic retinopathy",
                "severe diabetic retinopathy",
                "proliferative diabetic retinopathy",
            ),
        ),
        "breastmnist": MedMNISTFacts(
            label_kind="binary-class",
            channels=1,
            counts=(546, 78, 156),
            class_names=("malignant", "normal, benign"),
            modality="breast ultrasound",
            prompt_names=("malignant breast tumor", "normal or benign breast tissue"),
            positive=0,
        ),
        "bloodmnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=3,
            counts=(11959, 1712, 3421),
            class_names=(
                "basophil",
                "eosinophil",
                "erythroblast",
                "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
                "lymphocyte",
                "monocyte",
                "neutrophil",
                "platelet",
            ),
            modality="blood cell microscopy",
            prompt_names=(
                "basophil",
                "eosinophil",
                "erythroblast",
                "immature granulocyte",
                "lymphocyte",
                "monocyte",
                "neutrophil",
                "platelet",
            ),
        ),
        "tissuemnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=1,
            counts=(165466, 23640, 47280),
            class_names=(
                "Collecting Duct, Connecting Tubule",
                "Distal Convoluted Tubule",
                "Glomerular endothelial cells",
                "Interstitial endothelial cells",
                "Leukocytes",
                "Podocytes",
                "Proximal Tubule Segments",
                "Thick Ascending Limb",
            ),
            modality="kidney cortex microscopy",
            prompt_names=(
                "collecting duct or connecting tubule cells",
                "distal convoluted tubule cells",
                "glomerular endothelial cells",
                "interstitial endothelial cells",
                "leukocytes",
                "podocytes",
                "proximal tubule segment cells",
                "thick ascending limb cells",
            ),
        ),
        "organamnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=1,
            counts=(34561, 6491, 17778),
            class_names=_ORGANS,
            modality="axial abdominal CT",
            prompt_names=_READABLE_ORGANS,
        ),
        "organcmnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=1,
            counts=(12975, 2392, 8216),
            class_names=_ORGANS,
            modality="coronal abdominal CT",
            prompt_names=_READABLE_ORGANS,
        ),
        "organsmnist": MedMNISTFacts(
            label_kind="multi-class",
            channels=1,
            counts=(13932, 2452, 8827),
            class_names=_ORGANS,
            modality="sagittal abdominal CT",
            prompt_names=_READABLE_ORGANS,
        ),
    }
)


def medmnist_facts(flag: str) -> MedMNISTFacts:
    """Look up a set by its flag.

    Raises:
        UnknownNameError: If there is no such set; names the nearest.
    """
    if flag not in FACTS:
        raise unknown_name("MedMNIST set", flag, FACTS)
    return FACTS[flag]
