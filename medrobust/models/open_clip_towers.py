"""Towers of dual encoders in the layout of open_clip, built from a configuration, without values.

Vision and text transformers are those of transformers, whose outputs equal those of open_clip and
timm, but whose query, key and value projections can be adapted one by one.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.exceptions import WeightsMismatchError
from medrobust.types import PixelBatch

from .architectures import known, table
from .loading import Rename, quiet_libraries
from .open_clip_keys import KEYS

CONFIG = "open_clip_config.json"
CLIP_VOCABULARY = 49408
"""Rows of the embedding where a configuration does not say otherwise."""

LIBRARYS_OWN = {"timm_model_pretrained", "hf_model_pretrained", "hf_tokenizer_name"}
LIBRARYS_OWN |= {"tokenizer_kwargs", "tokenizer_mode"}
"""Keys of a configuration that say nothing of the towers: how open_clip starts, and reads words."""

COVERED = {
    "vit": {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"},
    "timm": {"image_size", "timm_model_name", "timm_pool", "timm_proj"},
    "clip": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"},
    "bert": {"context_length", "hf_model_name", "hf_proj_type", "hf_pooler_type"},
}
"""Keys that the towers below have an answer to; a model with others is built by the library."""


class ClipVision(nn.Module):
    """Class token, layer norm, projection."""

    interpolated = False

    def __init__(self, said: Mapping[str, Any], width: int, activation: str) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        hidden = said.get("width", 768)
        self.model = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=hidden,
                intermediate_size=int(hidden * said.get("mlp_ratio", 4.0)),
                num_hidden_layers=said.get("layers", 12),
                num_attention_heads=hidden // said.get("head_width", 64),
                image_size=said.get("image_size", 224),
                patch_size=said.get("patch_size", 16),
                hidden_act=activation,
            )
        )
        self.proj = nn.Parameter(torch.empty(hidden, width))

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        output = self.model(pixel_values=pixels, interpolate_pos_encoding=self.interpolated)
        embedding: Tensor = output.pooler_output @ self.proj
        return embedding


class TimmVision(nn.Module):
    """A vision transformer of timm: class token through a linear map."""

    interpolated = False

    def __init__(self, sizes: Mapping[str, Any], width: int) -> None:
        from transformers import ViTConfig, ViTModel

        super().__init__()
        # timm's LayerNorm adds 1e-6, the default of transformers is 1e-12.
        config = ViTConfig(**sizes, layer_norm_eps=1e-6)
        self.trunk = ViTModel(config, add_pooling_layer=False)
        self.head = nn.ModuleDict({"proj": nn.Linear(config.hidden_size, width, bias=False)})

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        output = self.trunk(pixel_values=pixels, interpolate_pos_encoding=self.interpolated)
        tokens = output.last_hidden_state
        embedding: Tensor = self.head["proj"](tokens[:, 0])
        return embedding


class ClipText(nn.Module):
    """Causal transformer: the end token through a linear map."""

    def __init__(self, said: Mapping[str, Any], width: int, activation: str) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        hidden = said.get("width", 512)
        self.model = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=hidden,
                intermediate_size=int(hidden * said.get("mlp_ratio", 4.0)),
                num_hidden_layers=said.get("layers", 12),
                num_attention_heads=said.get("heads", 8),
                max_position_embeddings=said.get("context_length", 77),
                vocab_size=said.get("vocab_size", CLIP_VOCABULARY),
                hidden_act=activation,
                eos_token_id=2,  # asks for the largest id, as open_clip does
            )
        )
        self.text_projection = nn.Parameter(torch.empty(hidden, width))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width). Attention is causal: what fills up behind the end has no effect."""
        embedding: Tensor = self.model(input_ids=ids).pooler_output @ self.text_projection
        return embedding


class BertText(nn.Module):
    """A BERT without its pooler: the class token of the last layer through two linear maps."""

    def __init__(self, sizes: Mapping[str, Any], width: int) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**sizes)
        middle = (config.hidden_size + width) // 2
        self.transformer = BertModel(config, add_pooling_layer=False)
        self.proj = nn.Sequential(
            nn.Linear(config.hidden_size, middle, bias=False),
            nn.GELU(),
            nn.Linear(middle, width, bias=False),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width)."""
        tokens = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        embedding: Tensor = self.proj(tokens[:, 0])
        return embedding


class Towers(nn.Module):
    """Both towers and the logarithm of the logit scale."""

    def __init__(self, visual: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.empty(()))


class LibraryTowers(nn.Module):
    """A model of open_clip as that package builds it, for what the towers above do not cover."""

    def __init__(self, architecture: Mapping[str, Any], source: str) -> None:
        super().__init__()
        self.model = _library_model(architecture, source)

    @property
    def visual(self) -> nn.Module:
        """Image tower."""
        return _Called(self.model, "encode_image")

    @property
    def text(self) -> nn.Module:
        """Text tower; it makes its own mask."""
        return _Called(self.model, "encode_text")

    @property
    def logit_scale(self) -> Tensor:
        """Logarithm of the logit scale."""
        logarithm: Tensor = self.model.logit_scale
        return logarithm


class _Called(nn.Module):
    """One method of a model as a module."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, first: Tensor, *_: Tensor) -> Tensor:
        embedding: Tensor = getattr(self.model, self.method)(first)
        return embedding


def build_towers(
    architecture: Mapping[str, Any], source: str
) -> tuple[Towers | LibraryTowers, tuple[Rename, ...]]:
    """Build what a configuration of open_clip describes, and the rules for its keys.

    Args:
        architecture: The `model_cfg` of the configuration.
        source: Where it was read, for messages.

    Returns:
        The towers, without values, and from their keys to those of the checkpoint.

    Raises:
        WeightsMismatchError: If the configuration names a tower or a tokenizer that is not known.
    """
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    kind_of_vision, kind_of_text = _kind_of_vision(vision), _kind_of_text(text)
    if "hf_model_name" not in text and "hf_tokenizer_name" in text:
        raise WeightsMismatchError(
            f"{source} asks for the tokenizer {text['hf_tokenizer_name']!r}, and only that of CLIP "
            f"and those of a BERT can be read."
        )
    if "library" in (kind_of_vision, kind_of_text):
        return LibraryTowers(architecture, source), (Rename(r"^model\.", ""),)
    activation = "quick_gelu" if architecture.get("quick_gelu") else "gelu"
    width = architecture["embed_dim"]
    with torch.device("meta"):
        visual: nn.Module
        if kind_of_vision == "timm":
            visual = TimmVision(known("vit", vision["timm_model_name"], source), width)
        elif kind_of_vision == "resnet":
            visual = modified_resnet(vision, width)
        else:
            visual = ClipVision(vision, width, activation)
        tower: nn.Module
        if kind_of_text == "bert":
            tower = BertText(known("bert", text["hf_model_name"], source), width)
        else:
            tower = ClipText(text, width, activation)
        towers = Towers(visual, tower)
    alone = kind_of_text == "bert" or architecture.get("custom_text")
    prefix = architecture.get("text_prefix", "text." if alone else "")
    return towers, (*KEYS, Rename(r"^text\.", prefix))


def modified_resnet(said: Mapping[str, Any], width: int, *, heads: int | None = None) -> nn.Module:
    """Build the ResNet of CLIP (three-layer stem, attention pool) from open_clip.

    Args:
        said: `layers`, `width`, `image_size` and `head_width`, as in a configuration of open_clip.
        width: Of the shared space.
        heads: Of the attention pool; None: as open_clip counts them.
    """
    from open_clip.modified_resnet import ModifiedResNet

    channels = said.get("width", 64)
    built: nn.Module = ModifiedResNet(
        layers=said["layers"],
        output_dim=width,
        heads=heads or channels * 32 // said.get("head_width", 64),
        image_size=said.get("image_size", 224),
        width=channels,
    )
    return built


def _kind_of_vision(said: Mapping[str, Any]) -> str:
    keys = said.keys() - LIBRARYS_OWN
    if "timm_model_name" in said:
        is_known = said["timm_model_name"] in table("vit")
        plain = (said.get("timm_pool"), said.get("timm_proj")) == ("", "linear")
        return "timm" if is_known and plain and keys <= COVERED["timm"] else "library"
    if not keys <= COVERED["vit"]:
        return "library"
    return "resnet" if isinstance(said.get("layers"), list) else "vit"


def _kind_of_text(said: Mapping[str, Any]) -> str:
    keys = said.keys() - LIBRARYS_OWN
    if "hf_model_name" in said:
        pooled = said.get("hf_pooler_type") == "cls_last_hidden_state_pooler"
        plain = pooled and said.get("hf_proj_type") == "mlp"
        return "bert" if plain and keys <= COVERED["bert"] else "library"
    return "clip" if said.keys() - LIBRARYS_OWN <= COVERED["clip"] else "library"


def _library_model(architecture: Mapping[str, Any], source: str) -> Any:
    """Build by open_clip, which reads a BERT's configuration from the folder that it is named."""
    import open_clip

    said = {key: value for key, value in architecture.items() if key != "text_prefix"}
    with tempfile.TemporaryDirectory(prefix="medrobust-") as scratch:
        name = said["text_cfg"].get("hf_model_name")
        if name is not None:
            sizes = known("bert", name, source) | {"model_type": "bert"}
            Path(scratch, "config.json").write_text(json.dumps(sizes))
            said["text_cfg"] = said["text_cfg"] | {"hf_model_name": scratch}
        Path(scratch, CONFIG).write_text(json.dumps({"model_cfg": said, "preprocess_cfg": {}}))
        with quiet_libraries():
            return open_clip.create_model(
                f"local-dir:{scratch}", load_weights=False, pretrained_text=False
            )
