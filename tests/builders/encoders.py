"""Families of image towers: random checkpoints in their published layouts, and their truths.

As `families.py`, which names them; sizes are small, names of keys are whole.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import torch
from family import Family, Pictures, clip_transform, shortest_side
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from medrobust import models
from medrobust.models.architectures import table

MEAN, STD = checkpoints.IMAGENET_MEAN, checkpoints.IMAGENET_STD
SMALL_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64, "patch_size": 16}


def small(folder: Path, name: str, **arguments: Any) -> str:
    """Write a published architecture with fewer and smaller layers; return the file's name."""
    stated = json.loads(json.dumps(table("tower")[name]))
    stated["arguments"] = stated.get("arguments", {}) | arguments
    size = arguments.get("img_size", 64)
    stated["preprocess"]["size"] = size
    if "resize" in stated["preprocess"]:
        stated["preprocess"]["resize"] = size + 8
    checkpoints.write_json(folder / "architecture.json", stated)
    return str(folder / "architecture.json")


def squashed(size: int, method: int = Image.Resampling.BILINEAR) -> Callable[[Pictures], Tensor]:
    """Resize both sides along rows, then columns, and normalise by the statistics of ImageNet."""

    def one(picture: Image.Image) -> Tensor:
        sized = picture.resize((size, picture.height), method).resize((size, size), method)
        pixels = torch.from_numpy(np.array(sized)).permute(2, 0, 1) / 255
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    return lambda pictures: torch.stack([one(picture) for picture in pictures])


def longest_side(size: int) -> Callable[[Pictures], Tensor]:
    """Resize the longest side, normalise, and fill with zeros on the right and below."""

    def one(picture: Image.Image) -> Tensor:
        scale = size / max(picture.size)
        width, height = (int(side * scale + 0.5) for side in picture.size)
        wide = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
        sized = wide.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(sized)).permute(2, 0, 1) / 255
        pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return functional.pad(pixels, (0, size - width, 0, size - height))

    return lambda pictures: torch.stack([one(picture) for picture in pictures])


def cropped(size: int, margin: int, method: int) -> Callable[[Pictures], Tensor]:
    """Resize the shortest side to size + margin, and keep the middle."""
    whole, half = shortest_side(size + margin, method, MEAN, STD), margin // 2
    return lambda pictures: whole(pictures)[..., half : half + size, half : half + size]


def _tower(
    folder: Path,
    config: str,
    weights: str,
    content: Any,
    image: Callable[[Pictures], Tensor],
    keys: tuple[str, ...],
    **rest: Any,
) -> Family:
    """Write the weights, and name what a test needs."""
    checkpoints.save(content, folder / weights)
    return Family(
        source=lambda at: models.TimmCheckpoint(
            "tower", "nobody/nothing", local_dir=at, config=config, weights=weights
        ),
        weights=weights,
        keys=keys,
        image=image,
        text=None,
        **rest,
    )


def vision_transformer(**changed: Any) -> nn.Module:
    """Build a small vision transformer of timm with random weights."""
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(**SMALL_VIT | {"num_classes": 0} | changed)
    checkpoints.randomise(model, 0)
    return model.eval()


def tokens_of(model: Any, pixels: Tensor) -> Tensor:
    """Run the blocks over class token and patches, before any norm, as the MAE's code does."""
    patches = model.patch_embed(pixels)
    tokens = torch.cat([model.cls_token.expand(len(patches), -1, -1), patches], dim=1)
    tokens = tokens + model.pos_embed
    for block in model.blocks:
        tokens = block(tokens)
    return tokens


def retfound_mae(folder: Path) -> Family:
    """The pre-trained checkpoint: encoder, decoder, and the trainer's settings beside them."""
    model = vision_transformer()
    state = dict(model.state_dict()) | {
        "mask_token": torch.zeros(1, 1, 16),
        "decoder_pos_embed": torch.zeros(1, 17, 16),
        "decoder_embed.weight": torch.zeros(16, 32),
        "decoder_blocks.0.norm1.weight": torch.zeros(16),
        "decoder_pred.bias": torch.zeros(768),
    }
    content = {"model": state, "epoch": 7, "optimizer": {"state": {}, "param_groups": []}}
    content |= {"args": argparse.Namespace(lr=1e-3, output_dir=Path("x")), "scaler": {}}
    config = small(folder, "retfound_mae", **SMALL_VIT)
    pixels = cropped(64, 8, Image.Resampling.BICUBIC)

    def image(pictures: Pictures) -> Tensor:
        pooled = tokens_of(model, pixels(pictures))[:, 1:].mean(dim=1)
        return functional.layer_norm(pooled, (32,), eps=1e-6)

    keys = ("blocks.1.attn.qkv.weight", "pos_embed")
    return _tower(folder, config, "RETFound_mae_natureCFP.pth", content, image, keys, entry="model")


def retfound_dinov2(folder: Path) -> Family:
    """The teacher of a DINOv2 training, with its heads."""
    arguments = SMALL_VIT | {"img_size": 56, "patch_size": 14}
    model = vision_transformer(**arguments, init_values=1e-5)
    state = checkpoints.prefixed("backbone.", model) | {
        "backbone.mask_token": torch.zeros(1, 32),
        "dino_head.mlp.0.weight": torch.zeros(4, 32),
        "ibot_head.last_layer.weight_g": torch.zeros(4, 1),
    }
    config = small(folder, "retfound_dinov2", **arguments)
    pixels = cropped(56, 8, Image.Resampling.BICUBIC)
    return _tower(
        folder,
        config,
        "RETFound_dinov2_meh.pth",
        {"teacher": state},
        lambda pictures: model.norm(tokens_of(model, pixels(pictures)))[:, 0],
        ("backbone.blocks.1.ls2.gamma", "backbone.norm.bias"),
        entry="teacher",
    )


def lvm_med_resnet(folder: Path) -> Family:
    """The layout of torchvision's ResNet-50, with its classifier."""
    from torchvision.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, [1, 1, 1, 1]).eval()
    checkpoints.randomise(model, 0)
    config = small(folder, "lvm_med_resnet50", layers=[1, 1, 1, 1])
    state = dict(model.state_dict())
    model.fc = nn.Identity()
    pixels = squashed(64)
    return _tower(
        folder,
        config,
        "lvmmed_resnet.torch",
        state,
        lambda pictures: model(pixels(pictures)),
        ("layer2.0.conv2.weight", "bn1.running_var"),
    )


SMALL_SAM = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 64, "neck_chans": 8}
SMALL_SAM |= {"window_size": 3, "global_attn_indexes": [1]}


def sam_original() -> tuple[nn.Module, dict[str, Tensor]]:
    """Build the image encoder by transformers; return it and its state as Meta names it."""
    from transformers import SamVisionConfig, SamVisionModel

    config = SamVisionConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        mlp_dim=128,
        output_channels=8,
        window_size=3,
        global_attn_indexes=[1],
    )
    model = SamVisionModel(config).eval()
    checkpoints.randomise(model, 0)
    names = {
        "vision_encoder.": "",
        "layer_norm": "norm",
        "layers.": "blocks.",
        "projection": "proj",
        "neck.conv1": "neck.0",
        "neck.norm1": "neck.1",
        "neck.conv2": "neck.2",
        "neck.norm2": "neck.3",
    }
    state = {}
    for key, value in model.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value
    return model, state


def sam_map(model: nn.Module, pixels: Callable[[Pictures], Tensor]) -> Any:
    """Return the mean of the encoder's map."""
    return lambda pictures: model(pixels(pictures)).last_hidden_state.mean(dim=(2, 3))


def sam(folder: Path) -> Family:
    """The whole Segment Anything of Meta: prompts and masks beside the image encoder."""
    model, state = sam_original()
    state = {f"image_encoder.{key}": value for key, value in state.items()}
    state |= {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 8)}
    state |= {"mask_decoder.iou_token.weight": torch.zeros(1, 8)}
    config = small(folder, "sam_vit_b", **SMALL_SAM)
    keys = ("image_encoder.blocks.1.attn.rel_pos_h", "image_encoder.neck.3.bias")
    image = sam_map(model, longest_side(64))
    return _tower(folder, config, "sam_vit_b_01ec64.pth", state, image, keys)


def sam_transformers(folder: Path) -> Family:
    """The same in the layout of `transformers.SamModel`."""
    model, _ = sam_original()
    state = dict(model.state_dict())
    state |= {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 8)}
    state |= {"shared_image_embedding.positional_embedding": torch.zeros(2, 4)}
    config = small(folder, "sam_vit_b_transformers", **SMALL_SAM)
    keys = ("vision_encoder.layers.2.mlp.lin1.weight", "vision_encoder.neck.layer_norm1.weight")
    image = sam_map(model, longest_side(64))
    return _tower(folder, config, "model.safetensors", state, image, keys)


def lvm_med_vit(folder: Path) -> Family:
    """LVM-Med's image encoder of SAM: the same keys without a prefix."""
    model, state = sam_original()
    config = small(folder, "lvm_med_vit", **SMALL_SAM)
    keys = ("blocks.0.attn.rel_pos_w", "pos_embed")
    image = sam_map(model, longest_side(64))
    return _tower(folder, config, "lvmmed_vit.pth", state, image, keys)


def lvm_med_vit_classification(folder: Path) -> Family:
    """The published classification: no absolute positions, no neck."""
    model, state = sam_original()
    encoder = model.vision_encoder
    config = small(folder, "lvm_med_vit_classification", **SMALL_SAM)
    pixels = squashed(64)

    def image(pictures: Pictures) -> Tensor:
        states = encoder.patch_embed(pixels(pictures))
        for layer in encoder.layers:
            states = layer(states)
        return states.mean(dim=(1, 2))

    return _tower(folder, config, "lvmmed_vit.pth", state, image, ("blocks.1.mlp.lin2.bias",))


def uni(folder: Path) -> Family:
    model = vision_transformer(init_values=1e-5)
    config = small(folder, "uni", **SMALL_VIT)
    pixels = shortest_side(64, Image.Resampling.BILINEAR, MEAN, STD)
    return _tower(
        folder,
        config,
        "pytorch_model.bin",
        dict(model.state_dict()),
        lambda pictures: model.norm(tokens_of(model, pixels(pictures)))[:, 0],
        ("blocks.0.ls1.gamma", "cls_token"),
    )


def gated_blocks(model: Any, tokens: Tensor) -> Tensor:
    """Run blocks whose MLP is a packed SwiGLU, with the gate in the first half, by hand."""
    for block in model.blocks:
        states = block.norm1(tokens)
        count, length, width = states.shape
        qkv = block.attn.qkv(states).reshape(count, length, 3, 2, width // 2)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-1, -2)) * (width // 2) ** -0.5
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(states.shape)
        tokens = tokens + block.ls1.gamma * block.attn.proj(mixed)
        gate, through = block.mlp.fc1(block.norm2(tokens)).chunk(2, dim=-1)
        tokens = tokens + block.ls2.gamma * block.mlp.fc2(functional.silu(gate) * through)
    return model.norm(tokens)


def gated_vit(**changed: Any) -> nn.Module:
    from timm.layers import SwiGLUPacked

    mlp = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 5.3375}
    return vision_transformer(**mlp, init_values=1e-5, img_size=56, patch_size=14, **changed)


GATED = SMALL_VIT | {"img_size": 56, "patch_size": 14}


def uni2(folder: Path) -> Family:
    """Eight registers, and positions of the patches alone."""
    model = gated_vit(reg_tokens=8, no_embed_class=True)
    config = small(folder, "uni2_h", **GATED, mlp_ratio=5.3375)
    pixels = shortest_side(56, Image.Resampling.BILINEAR, MEAN, STD)

    def image(pictures: Pictures) -> Tensor:
        patches = model.patch_embed(pixels(pictures)) + model.pos_embed
        first = torch.cat([model.cls_token, model.reg_token], dim=1).expand(len(patches), -1, -1)
        return gated_blocks(model, torch.cat([first, patches], dim=1))[:, 0]

    keys = ("reg_token", "blocks.1.mlp.fc1.weight")
    return _tower(folder, config, "pytorch_model.bin", dict(model.state_dict()), image, keys)


def _virchow(folder: Path, name: str, registers: int) -> Family:
    model = gated_vit(reg_tokens=registers)
    config = small(folder, name, **GATED)
    pixels = shortest_side(56, Image.Resampling.BICUBIC, MEAN, STD)

    def image(pictures: Pictures) -> Tensor:
        patches = model.patch_embed(pixels(pictures))
        first = [model.cls_token, *([model.reg_token] if registers else [])]
        first = [token.expand(len(patches), -1, -1) for token in first]
        states = gated_blocks(model, torch.cat([*first, patches], dim=1) + model.pos_embed)
        return torch.cat([states[:, 0], states[:, 1 + registers :].mean(dim=1)], dim=-1)

    keys = ("pos_embed", "norm.weight")
    return _tower(folder, config, "model.safetensors", dict(model.state_dict()), image, keys)


def virchow(folder: Path) -> Family:
    return _virchow(folder, "virchow", 0)


def virchow2(folder: Path) -> Family:
    return _virchow(folder, "virchow2", 4)


def preti(folder: Path) -> Family:
    """An MAE's checkpoint with the tokens of age and sex, its losses and its decoder."""
    model = vision_transformer()
    generator = torch.Generator().manual_seed(3)
    age, sex = torch.randn(2, 1, 1, 32, generator=generator)
    state = dict(model.state_dict()) | {
        "age_embedding": age,
        "gender_embedding": sex,
        "mask_token": torch.zeros(1, 1, 16),
        "decoder_norm.weight": torch.zeros(16),
        "age_regressor.weight": torch.zeros(1, 32),
        "gender_classifier.bias": torch.zeros(2),
        "perceptual_loss_fn.blocks.0.0.weight": torch.zeros(4, 3, 3, 3),
    }
    content = {"model": state, "epoch": 400, "args": argparse.Namespace(mask_ratio=0.75)}
    config = small(folder, "preti", **SMALL_VIT)
    pixels = squashed(64)

    def image(pictures: Pictures) -> Tensor:
        patches = model.patch_embed(pixels(pictures)) + model.pos_embed[:, 1:]
        first = [model.cls_token + model.pos_embed[:, :1], age, sex]
        tokens = torch.cat([*(t.expand(len(patches), -1, -1) for t in first), patches], dim=1)
        return model.norm(model.blocks(tokens))[:, 0]

    keys = ("age_embedding", "gender_embedding", "norm.bias")
    return _tower(folder, config, "preti-vitb.pth", content, image, keys, entry="model")


def old_vit_name(key: str) -> str:
    """Return the name that transformers 4 gives a tensor of a vision transformer."""
    for new, old in (
        ("layers.", "encoder.layer."),
        (".attention.q_proj.", ".attention.attention.query."),
        (".attention.k_proj.", ".attention.attention.key."),
        (".attention.v_proj.", ".attention.attention.value."),
        (".attention.o_proj.", ".attention.output.dense."),
        (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    ):
        key = key.replace(new, old)
    return key


def phikon(folder: Path) -> Family:
    """A `ViTModel` without its pooler, under the names of transformers 4."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
    )
    model = ViTModel(config, add_pooling_layer=False).eval()
    checkpoints.randomise(model, 0)
    state = {old_vit_name(key): value for key, value in model.state_dict().items()}
    checkpoints.save(state, folder / "model.safetensors")
    checkpoints.write_json(folder / "config.json", config.to_dict())
    _write_squash(folder, resample=2)
    pixels = squashed(64)
    return _vision(
        lambda pictures: model(pixel_values=pixels(pictures)).last_hidden_state[:, 0],
        ("embeddings.position_embeddings", "layernorm.bias"),
    )


def _write_squash(folder: Path, resample: int) -> None:
    content = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": resample}
    content |= {"rescale_factor": 1 / 255, "size": {"height": 64, "width": 64}}
    content |= {"image_mean": MEAN, "image_std": STD}
    checkpoints.write_json(folder / "preprocessor_config.json", content)


def _vision(image: Callable[[Pictures], Tensor], keys: tuple[str, ...]) -> Family:
    return Family(
        source=lambda at: models.VisionEncoder("vision", "nobody/nothing", local_dir=at),
        weights="model.safetensors",
        keys=keys,
        image=image,
        text=None,
    )


def dinov3(folder: Path) -> Family:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        num_register_tokens=4,
    )
    model = DINOv3ViTModel(config).eval()
    checkpoints.randomise(model, 0)
    model.save_pretrained(folder)
    _write_squash(folder, resample=2)
    pixels = squashed(64)
    return _vision(
        lambda pictures: model(pixel_values=pixels(pictures)).last_hidden_state[:, 0],
        ("embeddings.register_tokens", "norm.weight"),
    )


def rad_dino(folder: Path) -> Family:
    """A DINOv2 with the statistics of chest x-rays, shortest side and centre crop alike."""
    original = checkpoints.write_random_dinov2(folder)
    content = json.loads((folder / "preprocessor_config.json").read_text())
    content |= {"image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
    content |= {"crop_size": {"height": 56, "width": 56}, "size": {"shortest_edge": 56}}
    checkpoints.write_json(folder / "preprocessor_config.json", content)
    pixels = shortest_side(56, Image.Resampling.BICUBIC, [0.5307] * 3, [0.2583] * 3)
    return _vision(
        lambda pictures: original(pixel_values=pixels(pictures)).last_hidden_state[:, 0],
        ("embeddings.cls_token", "layernorm.weight"),
    )


def conch(folder: Path) -> Family:
    """Both towers of CONCH, and the captions' parts that are left out."""
    stated = {
        "embed_dim": 24,
        "image_size": 64,
        "vision": {"patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2},
        "pool_heads": 4,
        "text": {"context_length": 127, "vocab_size": 300, "width": 32, "heads": 2, "layers": 2},
    }
    checkpoints.write_json(folder / "architecture.json", stated)
    trunk = vision_transformer()
    text = _conch_text(stated)
    state = checkpoints.prefixed("visual.trunk.", trunk) | text
    state |= _conch_pool(24, 32) | {"logit_scale": torch.tensor(4.0)}
    state |= {"visual.attn_pool_caption.query": torch.zeros(4, 32)}
    state |= {"visual.ln_caption.bias": torch.zeros(32)}
    state |= {"text_decoder.resblocks.0.ln_1.weight": torch.zeros(32)}
    torch.save(state, folder / "pytorch_model.bin")
    words = _conch_words(folder / "conch_byte_level_bpe_uncased.json", 300)
    pixels = clip_transform(64)

    def image(pictures: Pictures) -> Tensor:
        tokens = trunk.norm(tokens_of(trunk, pixels(pictures)))
        keys = functional.layer_norm(tokens, (32,), *_norm(state, "visual.attn_pool_contrast.ln_k"))
        query = functional.layer_norm(
            state["visual.attn_pool_contrast.query"],
            (24,),
            *_norm(state, "visual.attn_pool_contrast.ln_q"),
        )
        mixed = attend(query[None].expand(len(keys), -1, -1), keys, state, 4)
        pooled = functional.layer_norm(mixed[:, 0], (24,), *_norm(state, "visual.ln_contrast"))
        return pooled @ state["visual.proj_contrast"]

    return Family(
        source=lambda at: models.Conch(
            "conch",
            "",
            local_dir=at,
            config=str(folder / "architecture.json"),
            origin="its repository",
        ),
        weights="pytorch_model.bin",
        keys=("visual.proj_contrast", "text.cls_emb", "text.positional_embedding"),
        image=image,
        text=lambda sentences: conch_text(words, state, sentences),
    )


def _norm(state: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]


def attend(query: Tensor, keys: Tensor, state: dict[str, Tensor], heads: int) -> Tensor:
    """Attention of CONCH's pool, whose keys are wider than its queries, by hand."""
    prefix = "visual.attn_pool_contrast.attn."
    biases = state[f"{prefix}in_proj_bias"].chunk(3)
    q, k, v = (
        values @ state[f"{prefix}{name}_proj_weight"].T + bias
        for values, name, bias in zip((query, keys, keys), "qkv", biases, strict=True)
    )
    q, k, v = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    mixed = (weights @ v).transpose(1, 2).flatten(2)
    return mixed @ state[f"{prefix}out_proj.weight"].T + state[f"{prefix}out_proj.bias"]


def _random(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name.replace("__", "."): 0.3 * torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


def _conch_pool(width: int, context: int) -> dict[str, Tensor]:
    made = _random(
        5,
        attn_pool_contrast__query=(1, width),
        attn_pool_contrast__attn__q_proj_weight=(width, width),
        attn_pool_contrast__attn__k_proj_weight=(width, context),
        attn_pool_contrast__attn__v_proj_weight=(width, context),
        attn_pool_contrast__attn__in_proj_bias=(3 * width,),
        attn_pool_contrast__attn__out_proj__weight=(width, width),
        attn_pool_contrast__attn__out_proj__bias=(width,),
        attn_pool_contrast__ln_q__weight=(width,),
        attn_pool_contrast__ln_q__bias=(width,),
        attn_pool_contrast__ln_k__weight=(context,),
        attn_pool_contrast__ln_k__bias=(context,),
        ln_contrast__weight=(width,),
        ln_contrast__bias=(width,),
        proj_contrast=(width, width),
    )
    return {f"visual.{name}": value for name, value in made.items()}


def _conch_text(stated: dict[str, Any]) -> dict[str, Tensor]:
    text, width = stated["text"], stated["text"]["width"]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding__weight": (text["vocab_size"], width),
        "positional_embedding": (text["context_length"] + 1, width),
        "cls_emb": (width,),
        "text_projection": (width, stated["embed_dim"]),
        "ln_final__weight": (width,),
        "ln_final__bias": (width,),
    }
    for layer in range(text["layers"]):
        block = f"transformer__resblocks__{layer}__"
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}{norm}__{part}": (width,) for part in ("weight", "bias")}
        shapes |= {
            f"{block}attn__in_proj_weight": (3 * width, width),
            f"{block}attn__in_proj_bias": (3 * width,),
            f"{block}attn__out_proj__weight": (width, width),
            f"{block}attn__out_proj__bias": (width,),
            f"{block}mlp__c_fc__weight": (4 * width, width),
            f"{block}mlp__c_fc__bias": (4 * width,),
            f"{block}mlp__c_proj__weight": (width, 4 * width),
            f"{block}mlp__c_proj__bias": (width,),
        }
    return {f"text.{name}": value for name, value in _random(6, **shapes).items()}


def _conch_words(path: Path, size: int) -> Any:
    """Train a few byte pairs with CONCH's marks; return the tokenizer as its code reads it."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    marks = ["<pad>", "<start_of_text>", "<end_of_text>"]
    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([checkpoints.WORDS] * 3, trainer)
    assert tokenizer.get_vocab_size() == size
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start_of_text> $A <end_of_text>",
        special_tokens=[("<start_of_text>", 1), ("<end_of_text>", 2)],
    )
    tokenizer.save(str(path))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token="<start_of_text>",
        eos_token="<end_of_text>",
        pad_token="<pad>",
    )


def conch_text(words: Any, state: dict[str, Tensor], sentences: Sequence[str]) -> Tensor:
    """CONCH's text tower by hand: the class token is last; its mask is shifted by one place."""
    options = {"max_length": 127, "truncation": True, "padding": "max_length"}
    ids = torch.tensor(words(list(sentences), **options)["input_ids"])
    count, length = ids.shape
    tokens = state["text.token_embedding.weight"][ids]
    last = state["text.cls_emb"].expand(count, 1, -1)
    tokens = torch.cat([tokens, last], dim=1) + state["text.positional_embedding"]
    allowed = torch.ones(count, length + 1, length + 1, dtype=torch.bool).tril()
    # The rows above the class token look at no padding but the first, which it reads, too.
    shifted = torch.cat([torch.ones(count, 1, dtype=torch.bool), ids != 0], dim=1)
    allowed[:, -1] &= shifted
    for layer in range(2):
        prefix = f"text.transformer.resblocks.{layer}."
        states = functional.layer_norm(tokens, (32,), *_norm(state, f"{prefix}ln_1"))
        joined = states @ state[f"{prefix}attn.in_proj_weight"].T
        joined = joined + state[f"{prefix}attn.in_proj_bias"]
        q, k, v = joined.unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2) / 4).masked_fill(~allowed[:, None], -torch.inf)
        mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        mixed = mixed @ state[f"{prefix}attn.out_proj.weight"].T
        tokens = tokens + mixed + state[f"{prefix}attn.out_proj.bias"]
        states = functional.layer_norm(tokens, (32,), *_norm(state, f"{prefix}ln_2"))
        hidden = states @ state[f"{prefix}mlp.c_fc.weight"].T + state[f"{prefix}mlp.c_fc.bias"]
        tokens = tokens + functional.gelu(hidden) @ state[f"{prefix}mlp.c_proj.weight"].T
        tokens = tokens + state[f"{prefix}mlp.c_proj.bias"]
    pooled = functional.layer_norm(tokens[:, -1], (32,), *_norm(state, "text.ln_final"))
    return pooled @ state["text.text_projection"]


ENCODERS: dict[str, Callable[[Path], Family]] = {
    "retfound_mae": retfound_mae,
    "retfound_dinov2": retfound_dinov2,
    "lvm_med_resnet": lvm_med_resnet,
    "lvm_med_vit": lvm_med_vit,
    "lvm_med_vit_classification": lvm_med_vit_classification,
    "sam": sam,
    "sam_transformers": sam_transformers,
    "uni": uni,
    "uni2": uni2,
    "virchow": virchow,
    "virchow2": virchow2,
    "preti": preti,
    "phikon": phikon,
    "dinov3": dinov3,
    "rad_dino": rad_dino,
    "conch": conch,
}
