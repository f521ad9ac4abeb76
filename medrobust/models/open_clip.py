"""Dual encoders in the layout of open_clip: from the hub, from a folder, or with a known config.

Vision and text transformers are those of transformers, whose outputs equal those of open_clip and
timm, but whose query, key and value projections can be adapted one by one.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.exceptions import (
    ConfigurationError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from medrobust.types import PixelBatch

from .architectures import known, packaged, table
from .base import LoadReport, VisionLanguageModel
from .hub import HubSource, Wanted, either
from .loading import (
    POSITION_IDS,
    Rename,
    load_strict,
    quiet_libraries,
    read_checkpoint,
)
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .settings import read_settings
from .text_cleaning import open_clip_text
from .tokenizer import ClipTokenizer, OpenClipBertTokenizer, Tokenize, read_tokenizer

CONFIG = "open_clip_config.json"
CLIP_VOCABULARY = 49408
"""Rows of the embedding where a configuration does not say otherwise."""

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

VISION_KEYS = (
    Rename(r"^visual\.model\.embeddings\.class_embedding", "visual.class_embedding"),
    Rename(r"^(visual)\.model\.embeddings\.position_embedding\.weight", r"\1.positional_embedding"),
    Rename(r"^visual\.model\.embeddings\.patch_embedding", "visual.conv1"),
    Rename(r"^visual\.model\.pre_layrnorm", "visual.ln_pre"),
    Rename(r"^visual\.model\.post_layernorm", "visual.ln_post"),
    Rename(r"^visual\.model\.encoder\.layers\.", "visual.transformer.resblocks."),
)
"""From `transformers.CLIPVisionModel` to the vision transformer of open_clip."""

TEXT_KEYS = (
    Rename(r"^text\.model\.embeddings\.token_embedding", "text.token_embedding"),
    Rename(r"^text\.model\.embeddings\.position_embedding\.weight", "text.positional_embedding"),
    Rename(r"^text\.model\.final_layer_norm", "text.ln_final"),
    Rename(r"^text\.model\.encoder\.layers\.", "text.transformer.resblocks."),
)
"""From `transformers.CLIPTextModel` to the text transformer of open_clip."""

BLOCK_KEYS = (
    Rename(r"self_attn\.q_proj\.", "attn.in_proj_", part=0),
    Rename(r"self_attn\.k_proj\.", "attn.in_proj_", part=1),
    Rename(r"self_attn\.v_proj\.", "attn.in_proj_", part=2),
    Rename(r"self_attn\.out_proj", "attn.out_proj"),
    Rename(r"layer_norm([12])", r"ln_\1"),
    Rename(r"(resblocks\.\d+\.mlp)\.fc1", r"\1.c_fc"),
    Rename(r"(resblocks\.\d+\.mlp)\.fc2", r"\1.c_proj"),
)
"""Within a block of both."""

TIMM_KEYS = (
    Rename(r"trunk\.embeddings\.cls_token", "trunk.cls_token"),
    Rename(r"trunk\.embeddings\.position_embeddings", "trunk.pos_embed"),
    Rename(r"trunk\.embeddings\.patch_embeddings\.projection", "trunk.patch_embed.proj"),
    Rename(r"trunk\.layers\.", "trunk.blocks."),
    Rename(r"attention\.q_proj", "attn.qkv", part=0),
    Rename(r"attention\.k_proj", "attn.qkv", part=1),
    Rename(r"attention\.v_proj", "attn.qkv", part=2),
    Rename(r"attention\.o_proj", "attn.proj"),
    Rename(r"layernorm_before", "norm1"),
    Rename(r"layernorm_after", "norm2"),
    Rename(r"trunk\.layernorm", "trunk.norm"),
)
"""From `transformers.ViTModel` to a vision transformer of timm."""

KEYS = (*VISION_KEYS, *TIMM_KEYS, *TEXT_KEYS, *BLOCK_KEYS)

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


@dataclass
class OpenClip(HubSource):
    """A checkpoint of open_clip, from the hub or a folder with the same files.

    Attributes:
        config: None reads `open_clip_config.json` beside the weights; a name of
            `architectures.json`, or a path, for weights that are published without it.
        weights: File name of the weights in the repository; None: as open_clip names them.
        tokenizer_id: Repository of the vocabulary, if it is not beside the weights.
        quick_gelu: None as the configuration says; true for configurations that forget to say it
            (OpenAI's weights need it in both transformers).
    """

    config: str | None = None
    weights: str | None = None
    tokenizer_id: str = ""
    quick_gelu: bool | None = None

    INTERPOLATES: ClassVar[bool] = True

    def wanted(self) -> list[Wanted]:
        """Return configuration (unless it is known), vocabulary (of a BERT) and weights."""
        wanted = [Wanted((CONFIG,))] if self.config is None else []
        said = self._said()
        # open_clip reads CLIP's own vocabulary from its package; a BERT has one of its own.
        if said is None or "hf_model_name" in said["text_cfg"]:
            wanted.append(Wanted(("tokenizer.json", "vocab.txt"), self.tokenizer_id))
        return [*wanted, Wanted(either(self.weights) if self.weights else WEIGHTS)]

    def _not_found(self, missing: Sequence[Wanted], where: str) -> WeightsNotFoundError:
        """Say what a checkpoint of one's own needs in place of a repository's configuration."""
        error = super()._not_found(missing, where)
        if self.hub_id or not any(CONFIG in entry.names for entry in missing):
            return error
        return WeightsNotFoundError(
            f"{error} A checkpoint that comes without {CONFIG} takes a configuration by its name "
            f"in open_clip: model.config=ViT-B-32 model.weights=FILE."
        )

    def _said(self) -> dict[str, Any] | None:
        """Read the `model_cfg`, as far as it can be had."""
        if self.config is not None:
            return _model_config(packaged(self.config))
        path = self.peek(CONFIG)
        return None if path is None else _model_config(read_settings(path))

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        chosen: dict[str, Any] = {}
        if self.config is not None:
            chosen["config"] = packaged(self.config)
        if self.quick_gelu is not None:
            chosen["quick_gelu"] = self.quick_gelu
        return chosen

    def reworded(self, sentences: Sequence[str]) -> dict[str, str]:
        """Return sentence -> what is read, for those that open_clip cleans and 0.1 did not."""
        said = self._said()
        return {} if said is None else reworded_text(said, sentences, self.config or CONFIG)

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape, or the
                configuration describes what cannot be built.
        """
        files = self.files()
        said = packaged(self.config) if self.config else read_settings(files[CONFIG])
        architecture = _model_config(said)
        if self.quick_gelu is not None:
            architecture = architecture | {"quick_gelu": self.quick_gelu}
        weights = list(files.values())[-1]
        towers, renames = build_towers(architecture, self.config or CONFIG)
        loaded = load_strict(
            towers, read_checkpoint(weights), file=weights.name, renames=renames, drops=POSITION_IDS
        )
        preprocess = _preprocess(architecture, said.get("preprocess_cfg", {}))
        self.check_resolution(preprocess.size)
        if self.image_size is not None:
            preprocess = preprocess.at(self.image_size, _interpolated(towers))
        return OpenClipModel(
            towers,
            tokenize=_tokenizer(architecture["text_cfg"], files, self.config or CONFIG),
            preprocess=preprocess,
            report=self.report(files, loaded.used, loaded.renamed, loaded.dropped),
        ).eval()


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


class OpenClipModel(VisionLanguageModel):
    """A dual encoder of open_clip."""

    def __init__(
        self,
        towers: Towers | LibraryTowers,
        *,
        tokenize: Tokenize,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.visual
        self.text_encoder = towers.text
        self.tokenizer = tokenize
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = float(towers.logit_scale.detach().exp())

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        embedding: Tensor = self.text_encoder(ids, mask)
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


def _interpolated(towers: Towers | LibraryTowers) -> int:
    """Let a vision transformer take another size; return the side of its patches.

    Raises:
        ConfigurationError: If the image tower is none of ours.
    """
    visual = towers.visual
    if not isinstance(visual, ClipVision | TimmVision):
        raise ConfigurationError(
            "model.image_size: only the position embeddings of vision transformers can be "
            "interpolated, and this image tower is another. Leave it out."
        )
    visual.interpolated = True
    inner = visual.model if isinstance(visual, ClipVision) else visual.trunk
    side: int = inner.config.patch_size
    return side


def reworded_text(
    architecture: Mapping[str, Any], sentences: Sequence[str], source: str
) -> dict[str, str]:
    """Return the sentences that a configuration of open_clip alters: sentence -> as it is read."""
    text = open_clip_text(architecture["text_cfg"], source)
    return {sentence: text(sentence) for sentence in sentences if text.altered(sentence)}


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


def _model_config(said: dict[str, Any]) -> dict[str, Any]:
    inner: Any = said.get("model_cfg", said)
    kinds = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}
    if not isinstance(inner, dict):
        raise WeightsMismatchError("the model_cfg of open_clip_config.json is no table.")
    lacking = [key for key, kind in kinds.items() if not isinstance(inner.get(key), kind)]
    if lacking:
        raise WeightsMismatchError(
            f"the configuration of open_clip has no {', '.join(lacking)}: it is of another kind."
        )
    return inner


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


def _tokenizer(said: Mapping[str, Any], files: Mapping[str, Path], source: str) -> Tokenize:
    context, text = said.get("context_length", 77), open_clip_text(said, source)
    words = next((files[name] for name in ("tokenizer.json", "vocab.txt") if name in files), None)
    if words is None:
        return ClipTokenizer(context, said.get("vocab_size", CLIP_VOCABULARY), text.clean)
    return bert_tokenizer(words, said, source)


def bert_tokenizer(words: Path, said: Mapping[str, Any], source: str) -> Tokenize:
    """Read a BERT's vocabulary as a configuration of open_clip uses it.

    Args:
        words: `tokenizer.json` or `vocab.txt`.
        said: The `text_cfg`.
        source: Where that was read, for messages.

    Raises:
        WeightsMismatchError: If vocabulary and model do not belong together.
    """
    rows = known("bert", said["hf_model_name"], source)["vocab_size"]
    tokenize = read_tokenizer(words, said.get("context_length", 77), "[PAD]", rows)
    return OpenClipBertTokenizer(tokenize, open_clip_text(said, source))


def _preprocess(architecture: Mapping[str, Any], pictures: Mapping[str, Any]) -> Preprocess:
    size = pictures.get("size") or architecture["vision_cfg"].get("image_size", 224)
    if isinstance(size, list):
        size = size[0] if len(set(size)) == 1 else None
    if not isinstance(size, int):
        raise WeightsMismatchError(f"{CONFIG} asks for images that are not square, or of no size.")
    return Preprocess(
        size,
        tuple(pictures.get("mean", CLIP_MEAN)),
        tuple(pictures.get("std", CLIP_STD)),
        interpolation=pictures.get("interpolation", "bicubic"),
        fit=pictures.get("resize_mode", "shortest"),
    )
