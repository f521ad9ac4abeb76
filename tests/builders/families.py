"""Every family of models: a random checkpoint in its published layout, its source, and its truth.

The truth is the original library (open_clip, transformers, timm, torchvision), or a forward pass
written here from the published description; it starts from pictures of Pillow and from sentences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkpoints
import torch
from PIL import Image
from torch import Tensor

from medrobust import models

Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class Family:
    """What a test needs of one family.

    Attributes:
        source: Folder or None (the hub) -> what conf/model builds.
        weights: Name of the weights in the folder.
        keys: Keys of the checkpoint to take away, rename or reshape.
        image: Pictures -> embeddings, not normalised.
        text: Sentences -> embeddings, not normalised; None without a text side.
        entry: Where the checkpoint keeps its table of tensors.
    """

    source: Callable[[str | None], Any]
    weights: str
    keys: tuple[str, ...]
    image: Callable[[Pictures], Tensor]
    text: Callable[[Sequence[str]], Tensor] | None
    entry: str | None = None


def clip_transform(size: int) -> Callable[[Pictures], Tensor]:
    """Return open_clip's own preprocessing."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    mean, std = tuple(checkpoints.CLIP_MEAN), tuple(checkpoints.CLIP_STD)
    transform = image_transform_v2(PreprocessCfg(size=size, mean=mean, std=std), is_train=False)
    return lambda pictures: torch.stack([transform(picture) for picture in pictures])


def _open_clip(folder: Path, model_cfg: dict[str, Any], keys: tuple[str, ...]) -> Family:
    from open_clip.tokenizer import SimpleTokenizer

    original = checkpoints.write_random_open_clip(folder, model_cfg)
    pixels = clip_transform(model_cfg["vision_cfg"]["image_size"])
    return Family(
        source=lambda at: models.OpenClip("open_clip", "nobody/nothing", local_dir=at),
        weights="open_clip_model.safetensors",
        keys=keys,
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(SimpleTokenizer()(list(sentences))),
    )


def open_clip_vit(folder: Path) -> Family:
    said = checkpoints.tiny_open_clip(checkpoints.TINY_VIT)
    keys = ("visual.transformer.resblocks.1.attn.in_proj_weight", "text_projection", "visual.proj")
    return _open_clip(folder, said, keys)


def open_clip_rn50(folder: Path) -> Family:
    said = checkpoints.tiny_open_clip(checkpoints.TINY_RESNET)
    keys = ("visual.layer2.1.bn3.running_var", "visual.attnpool.c_proj.bias", "logit_scale")
    return _open_clip(folder, said, keys)


def open_clip_library(folder: Path) -> Family:
    """A vision transformer with average pooling, which only the library itself builds."""
    said = checkpoints.tiny_open_clip(checkpoints.TINY_VIT | {"pool_type": "avg"})
    said |= {"quick_gelu": False, "custom_text": True}
    keys = ("visual.ln_pre.weight", "text.transformer.resblocks.0.ln_1.bias", "text.ln_final.bias")
    return _open_clip(folder, said, keys)


def unimed(folder: Path) -> Family:
    from open_clip.tokenizer import HFTokenizer

    original = checkpoints.write_random_unimed(folder)
    pixels = clip_transform(64)
    tokenizer = HFTokenizer(str(folder), context_length=256)
    weights = "unimed_clip_vit_b16.pt"
    config = str(folder / "architecture.json")
    return Family(
        source=lambda at: models.OpenClip(
            "unimed",
            "nobody/nothing",
            local_dir=at,
            config=config,
            weights=f"checkpoints/unimedclip/{weights}",
            tokenizer_id="nobody/vocabulary",
        ),
        weights=weights,
        keys=("module.text_encoder.proj.2.weight", "module.visual.conv1.weight"),
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(tokenizer(list(sentences))),
        entry="state_dict",
    )


FAMILIES: dict[str, Callable[[Path], Family]] = {
    "open_clip_vit": open_clip_vit,
    "open_clip_rn50": open_clip_rn50,
    "open_clip_library": open_clip_library,
    "unimed": unimed,
}
