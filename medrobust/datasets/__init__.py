"""Data sets: files become an `ImageSet`, memory-mapped, with labels that have been checked."""

from importlib import import_module
from typing import Any

_HOME = {
    "BMAD": "published.bmad",
    "CheXpert5x200": "reports.source",
    "Collection": "collection",
    "CorruptedFiles": "image_set",
    "DatasetSource": "image_set",
    "Dicom": "own.dicom",
    "FewShots": "sampling",
    "Folder": "own.folder",
    "ImageSet": "image_set",
    "Lesions": "own.lesions",
    "MedIMeta": "published.medimeta",
    "MedMNIST": "published.medmnist",
    "MedMNISTC": "published.medmnist_c",
    "MedSegBench": "published.medsegbench",
    "MovedWindows": "moved_windows",
    "MimicCxr": "reports.source",
    "Npz": "own.npz",
    "OpenI": "reports.source",
    "OutlinedLesions": "published.outlined",
    "PadChest": "reports.source",
    "PhantomDomains": "phantoms.domains",
    "PhantomLesions": "phantoms.lesions",
    "PhantomSites": "phantoms.source",
    "PhantomWidefield": "phantoms.widefield",
    "Phantoms": "phantoms.source",
    "RobustMedCLIPFiles": "published.robustmedclip",
    "Roco": "reports.source",
    "SkinLesions": "published.skin",
    "audit": "audits.of_sets",
    "few_shots": "sampling",
}
"""Public name -> module; imported at first use, because image_set imports torch for its types."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
