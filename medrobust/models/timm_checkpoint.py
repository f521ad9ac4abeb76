"""Image towers whose weights come without a `config.json`: RETFound, LVM-Med, SAM, UNI, Virchow.

What their repositories say in code (architecture, pooling, preprocessing, which keys are read)
stands in `architectures.json` under "tower", and the forward pass is that of timm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.exceptions import WeightsMismatchError
from medrobust.types import PixelBatch

from .architectures import tower
from .base import ImagePreprocess
from .hub import HubSource, Wanted, either
from .loading import Rename, load_strict, read_checkpoint
from .pickles import tensors
from .preprocess import Preprocess
from .range_preprocess import RangePreprocess
from .vision import VisionModel

FEATURES = ("pooled", "cls_and_mean", "map_mean")
"""What is the feature: timm's own pooling, the class token beside the mean of the patches (twice as
wide), or the mean over the places of a map."""

OWN_NORM = {
    r"norm\.(weight|bias)": "norm of the class token; the published pooling has a plain norm of "
    "its own, which is not in the file"
}


@dataclass
class TimmCheckpoint(HubSource):
    """A checkpoint of an image tower in timm's layout, without a text side, for probes.

    A pickle may hold settings beside the tensors: they are read without running anything.

    Attributes:
        config: A name of `architectures.json`, or a JSON file with the same keys.
        weights: File name of the weights.
    """

    config: str = ""
    weights: str = "pytorch_model.bin"

    def wanted(self) -> list[Wanted]:
        """Return the weights."""
        return [Wanted(either(self.weights))]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {"config": tower(self.config)}

    def load(self) -> VisionModel:
        """Build the tower and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files = self.files()
        (weights,) = files.values()
        architecture = tower(self.config)
        state = _tensors(weights, architecture.get("entry"))
        backbone = build(architecture)
        drops = dict(architecture.get("drops", {}))
        if architecture.get("plain_pool_norm") and "fc_norm.weight" not in state:
            width: int = backbone.num_features  # type: ignore[assignment]
            backbone.fc_norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
            drops |= OWN_NORM
        renames = [Rename(*pair) for pair in architecture.get("renames", ())]
        loaded = load_strict(backbone, state, file=weights.name, renames=renames, drops=drops)
        preprocess = preprocess_of(architecture["preprocess"])
        self.check_resolution(architecture["preprocess"]["size"])
        report = self.report(files, loaded)
        visual = pooled(backbone, architecture.get("feature", "pooled"), self.config)
        return self._completed(VisionModel(visual, preprocess, report), state, weights.name).eval()

    def _completed(self, tower: VisionModel, state: Mapping[str, Tensor], file: str) -> VisionModel:
        """Add what the checkpoint holds beside the tower: here nothing."""
        return tower


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Build a tower on the meta device.

    Args:
        architecture: `timm` names it, `arguments` are its own; `without` names the parts that the
            published forward pass leaves out.
    """
    import timm

    own: dict[str, Callable[..., nn.Module]] = {"preti": preti}
    arguments = {key: _layer(value) for key, value in architecture.get("arguments", {}).items()}
    name = architecture["timm"]
    with torch.device("meta"):
        if name in own:
            backbone = own[name](**arguments)
        else:
            backbone = timm.create_model(name, num_classes=0, **arguments)
    for part in architecture.get("without", ()):
        setattr(backbone, part, nn.Identity())
    return backbone


def pooled(backbone: nn.Module, feature: str, source: str) -> nn.Module:
    """Return the tower whose output is the feature.

    Args:
        backbone: Of timm.
        feature: One of `FEATURES`.
        source: Where it was read, for the message.

    Raises:
        WeightsMismatchError: If it is another.
    """
    if feature not in FEATURES:
        raise WeightsMismatchError(f"{source} names the feature {feature!r}, none of {FEATURES}.")
    return backbone if feature == "pooled" else _Pooled(backbone, feature)


def preprocess_of(stated: Mapping[str, Any]) -> ImagePreprocess:
    """Return the preprocessing that an architecture states; "range" is that of MedSAM."""
    values = dict(stated)
    if values.pop("scale", "statistics") == "range":
        return RangePreprocess(**values)
    return Preprocess(**values)


def _tensors(path: Path, entry: str | None) -> dict[str, Tensor]:
    """Read a checkpoint that keeps its tensors under `entry`, beside the trainer's settings."""
    if path.suffix == ".safetensors":
        return read_checkpoint(path)
    return tensors(path, entry)


def _layer(value: Any) -> Any:
    """Return the class that a name of `architectures.json` stands for."""
    from timm.layers import SwiGLUPacked

    named = {"swiglu_packed": SwiGLUPacked, "layer_norm_1e-6": partial(nn.LayerNorm, eps=1e-6)}
    return named.get(value, value) if isinstance(value, str) else value


class _Pooled(nn.Module):
    """A backbone of timm and how its tokens, or its map, become one feature."""

    def __init__(self, backbone: nn.Module, feature: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature = feature

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, D)."""
        states: Tensor = self.backbone.forward_features(pixels)  # type: ignore[operator]
        if self.feature == "map_mean":
            last = (2, 3) if states.ndim == 4 else (1,)
            return states.mean(dim=last)
        prefix: int = self.backbone.num_prefix_tokens  # type: ignore[assignment]
        return torch.cat([states[:, 0], states[:, prefix:].mean(dim=1)], dim=-1)


def preti(**arguments: Any) -> nn.Module:
    """Build PRETI's encoder: two learned tokens, of age and of sex, stand behind the class token.

    They are constants, the same for every patient, so an image alone is all that the encoder takes.
    Only patches and class token have positions. Source: `models/PRETI_model.py` of
    MICV-yonsei/PRETI.
    """
    from timm.models.vision_transformer import VisionTransformer

    class Preti(VisionTransformer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(num_classes=0, **arguments)
            self.age_embedding = nn.Parameter(torch.empty(1, 1, self.embed_dim))
            self.gender_embedding = nn.Parameter(torch.empty(1, 1, self.embed_dim))
            self.num_prefix_tokens = 3

        def _pos_embed(self, patches: Tensor) -> Tensor:
            count = len(patches)
            first = [
                self.cls_token + self.pos_embed[:, :1],
                self.age_embedding,
                self.gender_embedding,
            ]
            placed = patches + self.pos_embed[:, 1:]
            return torch.cat([*(token.expand(count, -1, -1) for token in first), placed], dim=1)

    return Preti()
