"""Models: pixels and sentences in, unit-norm features out."""

from importlib import import_module
from typing import Any

_HOME = {
    "BioVil": "biovil",
    "Classifier": "own",
    "Conch": "conch",
    "CxrClip": "cxr_clip",
    "Gloria": "gloria",
    "Guidance": "prompts",
    "GuidedHead": "zero_shot",
    "IdentityHead": "zero_shot",
    "ImageModel": "base",
    "Keep": "keep",
    "LoadReport": "base",
    "MedClip": "medclip",
    "MicroBatcher": "encoding",
    "ModelSource": "base",
    "OpenClip": "open_clip",
    "OwnModel": "own",
    "OwnSegmenter": "segmenter",
    "PatchFeatures": "patches",
    "PatchLevel": "patches",
    "PhantomClip": "phantomclip",
    "PhantomUnet": "phantomunet",
    "PmcClip": "pmc_clip",
    "Preprocess": "preprocess",
    "PromptSet": "prompts",
    "RobustMedClip": "robustmedclip",
    "SamCheckpoint": "sam",
    "SegmentationModel": "segmenter",
    "Speed": "speed",
    "TimmCheckpoint": "timm_checkpoint",
    "TimmEncoder": "vision",
    "TransformersClip": "clip",
    "TransformersClipseg": "clipseg",
    "TransformersSam2": "sam2",
    "TransformersSam3": "sam3",
    "TransformersSiglip": "siglip",
    "UniversegCheckpoint": "universeg",
    "VisionEncoder": "vision",
    "VisionLanguageModel": "base",
    "ZeroShotHead": "zero_shot",
    "class_features": "zero_shot",
    "encode_patches_of": "encoding",
}
"""Public name -> module; imported at first use, because most of them import torch."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
