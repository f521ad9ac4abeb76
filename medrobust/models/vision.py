"""Vision-only encoders: any backbone of transformers (DINOv2, ViT, Swin ...) or timm."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.types import PixelBatch

from .base import ImageModel, ImagePreprocess, LoadReport
from .hub import HubSource, Names
from .loading import (
    Loaded,
    check_finite,
    check_kinds,
    load_strict,
    quiet_libraries,
    read_checkpoint,
    some,
)
from .preprocess import Preprocess
from .preprocessor import read_preprocess
from .settings import built, read_settings

Pool: TypeAlias = Literal["cls", "mean", "pooler"]

HEAD = {
    r"(head|fc|classifier|head\.fc)\.(weight|bias)": "the classifier, which features stop before"
}

CONVERTED = {"*": "key names of older versions, by transformers' own rules"}


@dataclass
class VisionEncoder(HubSource):
    """A backbone of transformers without a text side, for probes.

    Attributes:
        pool: What of the last hidden state is the feature: "cls" (its first token), "mean" (over
            all tokens or places), or "pooler" (the backbone's own pooling).
    """

    pool: Pool = "cls"

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("model.safetensors", "pytorch_model.bin"),
    )

    def __post_init__(self) -> None:
        """Refuse a pooling that does not exist."""
        if self.pool not in get_args(Pool):
            raise ConfigurationError(f"model.pool={self.pool!r} is none of {get_args(Pool)}.")

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {"pool": self.pool}

    def load(self) -> "VisionModel":
        """Build the backbone and load its weights strictly, on the CPU, in eval mode.

        transformers converts the key names of its older versions by its own rules; whatever is
        then missing, left over or of another shape is refused, under its newer name.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        from transformers import AutoConfig, AutoModel

        files = self.files()
        settings, pictures, weights = files.values()
        values = read_settings(settings)
        config = built(lambda: AutoConfig.for_model(**values), settings.name)
        state = read_checkpoint(weights)
        floating = {key for key in state if key.endswith((".weight", ".bias"))}
        check_kinds(state, floating, weights.name)
        check_finite(state, weights.name)
        with torch.device("meta"):
            kind: Any = type(built(lambda: AutoModel.from_config(config), settings.name))
        with quiet_libraries():
            backbone, told = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, with the others
                dtype=torch.float32,
            )
        missing, unexpected = (set(told[f"{name}_keys"]) for name in ("missing", "unexpected"))
        if self.pool != "pooler" and missing and all(key.startswith("pooler.") for key in missing):
            backbone.pooler = None
            missing = set()
        dropped = {key: HEAD[p] for key in unexpected for p in HEAD if re.fullmatch(p, key)}
        _refuse(weights, missing, unexpected - dropped.keys(), told["mismatched_keys"])
        preprocess = read_preprocess(pictures, None)
        self.check_resolution(preprocess.size)
        loaded = Loaded(len(state) - len(dropped), dict(CONVERTED), dropped)
        report = self.report(files, loaded)
        return VisionModel(_Pooling(backbone, self.pool), preprocess, report).eval()


@dataclass
class TimmEncoder(HubSource):
    """A backbone of timm without a text side, for probes; its classifier is left out."""

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("model.safetensors", "pytorch_model.bin"),
    )

    def load(self) -> "VisionModel":
        """Build the backbone and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        import timm

        files = self.files()
        settings, weights = files.values()
        said = read_settings(settings)
        absent = [key for key in ("architecture", "pretrained_cfg") if key not in said]
        if absent:
            raise WeightsMismatchError(
                f"{settings.name} is not one of timm: it has no {' and no '.join(absent)}. Models "
                f"of transformers load by model=transformers_vision."
            )
        pictures = said["pretrained_cfg"]
        size = _side(pictures["input_size"][1:], settings)
        arguments = {**said.get("model_args", {}), "num_classes": 0}
        if arguments.get("in_chans", 3) != 3:
            raise WeightsMismatchError(
                f"{settings.name} describes a model of {arguments['in_chans']} channels; images "
                f"have 3 here."
            )
        if said.get("global_pool") is not None:
            arguments.setdefault("global_pool", said["global_pool"])
        backbone = timm.create_model(said["architecture"], **arguments)
        loaded = load_strict(backbone, read_checkpoint(weights), file=weights.name, drops=HEAD)
        preprocess = Preprocess(
            size,
            tuple(pictures["mean"]),
            tuple(pictures["std"]),
            interpolation=pictures["interpolation"],
            resize=_resized(size, pictures, settings),
        )
        self.check_resolution(size)
        report = self.report(files, loaded)
        return VisionModel(backbone, preprocess, report).eval()


class VisionModel(ImageModel):
    """An image tower alone."""

    def __init__(
        self, backbone: nn.Module, preprocess: ImagePreprocess, report: LoadReport
    ) -> None:
        super().__init__()
        self.visual_encoder = backbone
        self.preprocess = preprocess
        self.report = report

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding


class _Pooling(nn.Module):
    """A backbone of transformers and how its tokens become one feature."""

    def __init__(self, backbone: nn.Module, pool: Pool) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = pool

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, D)."""
        output = self.backbone(pixel_values=pixels)
        if self.pool == "pooler":
            pooled: Tensor = output.pooler_output.flatten(1)
            return pooled
        states: Tensor = output.last_hidden_state
        if states.ndim == 4:  # a map (N, D, h, w)
            states = states.flatten(2).transpose(1, 2)
        return states[:, 0] if self.pool == "cls" else states.mean(dim=1)


def _refuse(weights: Path, missing: set[str], left_over: set[str], shapes: Iterable[Any]) -> None:
    """Raise if transformers left a weight at its initial value or a tensor unused."""
    odd = [str(entry) for entry in shapes]
    if missing or left_over or odd:
        raise WeightsMismatchError(
            f"{weights.name} does not fit the model it was named for. Missing: {some(missing)}. "
            f"Left over: {some(left_over)}. Of another shape: {some(odd)}. Nothing was loaded."
        )


def _side(size: Any, path: Path) -> int:
    sides = set(size) if isinstance(size, list | tuple) else {size}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int):
        raise WeightsMismatchError(f"{path.name} asks for images of {size}, which are not square.")
    return side


def _resized(size: int, pictures: dict[str, Any], path: Path) -> int:
    """Return the side that timm resizes to before it crops the centre."""
    if pictures.get("crop_mode", "center") != "center":
        raise WeightsMismatchError(
            f"{path.name} asks for crop mode {pictures['crop_mode']!r}; only 'center' is known."
        )
    return int(size / pictures.get("crop_pct", 0.875))
