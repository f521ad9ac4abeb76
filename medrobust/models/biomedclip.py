"""BiomedCLIP: the published open_clip checkpoint, with separate q, k and v projections."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from medrobust.exceptions import WeightsMismatchError
from medrobust.models.base import LoadReport, VisionLanguageModel
from medrobust.models.hub import HubSource, Wanted
from medrobust.models.loading import POSITION_IDS, Rename, load_strict, read_checkpoint
from medrobust.models.preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from medrobust.models.tokenizer import TextTokenizer, read_tokenizer
from medrobust.types import PixelBatch

RENAMES = (
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
"""From the keys of `transformers.ViTModel` to those of a vision transformer of timm."""

EXPECTED = {
    "vision_cfg": {"timm_pool": "", "timm_proj": "linear"},
    "text_cfg": {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"},
}
"""What the forward pass below is written for."""


class Architecture(NamedTuple):
    """What an `open_clip_config.json` says, with the names of the towers looked up."""

    vision: dict[str, Any]
    text: dict[str, Any]
    width: int
    context: int
    preprocess: Preprocess


@dataclass
class BiomedClip(HubSource):
    """BiomedCLIP in the layout of its hub repository, which has no configuration of the BERT.

    The towers are those of transformers, whose outputs are the same to the last bit as those of
    open_clip and timm, but whose query, key and value projections can be adapted one by one.
    """

    FILES: ClassVar[tuple[Wanted, ...]] = (
        ("open_clip_config.json",),
        ("tokenizer.json", "vocab.txt"),
        ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    )

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode."""
        files = self.files()
        settings, words, weights = files.values()
        architecture = read_architecture(settings)
        with torch.device("meta"):
            towers = _Towers(architecture)
        loaded = load_strict(
            towers,
            read_checkpoint(weights),
            file=weights.name,
            renames=RENAMES,
            drops=POSITION_IDS,
        )
        return BiomedClipModel(
            towers,
            tokenizer=read_tokenizer(words, architecture.context, "[PAD]"),
            preprocess=architecture.preprocess,
            report=self.report(files, loaded.used, loaded.renamed, loaded.dropped),
        ).eval()


class _Towers(nn.Module):
    """Both towers under the names of open_clip."""

    def __init__(self, architecture: Architecture) -> None:
        from transformers import BertConfig, BertModel, ViTConfig, ViTModel

        super().__init__()
        # timm's LayerNorm adds 1e-6, the default of transformers is 1e-12.
        vision = ViTConfig(**architecture.vision, layer_norm_eps=1e-6)
        text = BertConfig(**architecture.text)
        self.visual = nn.ModuleDict(
            {
                "trunk": ViTModel(vision, add_pooling_layer=False),
                "head": nn.ModuleDict(
                    {"proj": nn.Linear(vision.hidden_size, architecture.width, bias=False)}
                ),
            }
        )
        middle = (text.hidden_size + architecture.width) // 2
        self.text = nn.ModuleDict(
            {
                "transformer": BertModel(text, add_pooling_layer=False),
                "proj": nn.Sequential(
                    nn.Linear(text.hidden_size, middle, bias=False),
                    nn.GELU(),
                    nn.Linear(middle, architecture.width, bias=False),
                ),
            }
        )
        self.logit_scale = nn.Parameter(torch.empty(()))


class BiomedClipModel(VisionLanguageModel):
    """The class token of each tower, through a linear map (image) or two (text)."""

    def __init__(
        self,
        towers: _Towers,
        *,
        tokenizer: TextTokenizer,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual: Any = towers.visual
        self.text: Any = towers.text
        self.log_logit_scale = towers.logit_scale
        self.logit_scale = float(self.log_logit_scale.detach().exp())
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        tokens = self.visual["trunk"](pixel_values=pixels).last_hidden_state
        embedding: Tensor = self.visual["head"]["proj"](tokens[:, 0])
        return embedding

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        tokens = self.text["transformer"](input_ids=ids, attention_mask=mask).last_hidden_state
        embedding: Tensor = self.text["proj"](tokens[:, 0])
        return embedding


def read_architecture(path: Path) -> Architecture:
    """Read an `open_clip_config.json`.

    Raises:
        WeightsMismatchError: If it describes a model that this file is not written for.
    """
    content = json.loads(path.read_text())
    model, pictures = content["model_cfg"], content.get("preprocess_cfg", {})
    vision, text = model["vision_cfg"], model["text_cfg"]
    for part, expected in EXPECTED.items():
        for key, value in expected.items():
            if model[part].get(key) != value:
                raise WeightsMismatchError(
                    f"{path.name}: {part}.{key} is {model[part].get(key)!r}, and BiomedCLIP has "
                    f"{value!r}."
                )
    trunk = _known("vit", vision.get("timm_model_name"), path)
    return Architecture(
        vision=trunk,
        text=_known("bert", text.get("hf_model_name"), path),
        width=model["embed_dim"],
        context=text.get("context_length", 77),
        preprocess=Preprocess(
            trunk["image_size"],
            tuple(pictures.get("mean", CLIP_MEAN)),
            tuple(pictures.get("std", CLIP_STD)),
            interpolation=pictures.get("interpolation", "bicubic"),
            fit=pictures.get("resize_mode", "shortest"),
        ),
    )


def _known(kind: str, name: str | None, path: Path) -> dict[str, Any]:
    table = json.loads((package_files(__package__) / "architectures.json").read_text())[kind]
    if name not in table:
        raise WeightsMismatchError(
            f"{path.name} names the {kind} {name!r}, whose dimensions are not known. "
            f"There are: {', '.join(table)}."
        )
    found: dict[str, Any] = table[name]
    return found
