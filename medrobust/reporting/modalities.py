"""Modality of each published data set: facts, for averages per modality.

Source: the papers of MedMNIST v2 (arXiv:2110.14795) and MedIMeta (arXiv:2404.16000).
"""

from collections.abc import Mapping
from types import MappingProxyType

MODALITIES: Mapping[str, str] = MappingProxyType(
    {
        "bloodmnist": "cell microscopy",
        "breastmnist": "ultrasound",
        "chestmnist": "x-ray",
        "dermamnist": "dermatoscopy",
        "octmnist": "OCT",
        "organamnist": "CT",
        "organcmnist": "CT",
        "organsmnist": "CT",
        "pathmnist": "histopathology",
        "pneumoniamnist": "x-ray",
        "retinamnist": "fundus photography",
        "tissuemnist": "cell microscopy",
        "aml": "cell microscopy",
        "bus": "ultrasound",
        "crc": "histopathology",
        "cxr": "x-ray",
        "derm": "dermatoscopy",
        "dr_regular": "fundus photography",
        "dr_uwf": "fundus photography",
        "fundus": "fundus photography",
        "glaucoma": "fundus photography",
        "mammo_calc": "mammography",
        "mammo_mass": "mammography",
        "oct": "OCT",
        "organs_axial": "CT",
        "organs_coronal": "CT",
        "organs_sagittal": "CT",
        "pbc": "cell microscopy",
        "pneumonia": "x-ray",
        "skinl_clinic": "dermatoscopy",
        "skinl_derm": "dermatoscopy",
    }
)
"""Data set -> modality; sets that are not listed form a group of their own, "not stated"."""

UNKNOWN = "not stated"


def modality(dataset: str) -> str:
    """Return the modality of a data set."""
    return MODALITIES.get(dataset, UNKNOWN)
