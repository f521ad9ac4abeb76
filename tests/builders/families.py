"""Every family of models: a random checkpoint in its published layout, its source, and its truth.

The truth is the original library (open_clip, transformers, timm, torchvision), or a forward pass
written here from the published description; it starts from pictures of Pillow and from sentences.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import places
import torch
from encoders import ENCODERS
from family import Family, Pictures, clip_transform, later, shortest_side
from PIL import Image
from torch import Tensor

from medrobust import models


def _open_clip(folder: Path, model_cfg: dict[str, Any], keys: tuple[str, ...]) -> Family:
    from open_clip.tokenizer import SimpleTokenizer

    original = checkpoints.write_random_open_clip(folder, model_cfg)
    pixels = clip_transform(model_cfg["vision_cfg"]["image_size"])
    return Family(
        source=lambda at: models.OpenClip("open_clip", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_open_clip(original.visual, pixels),
        weights="open_clip_model.safetensors",
        keys=keys,
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(SimpleTokenizer()(list(sentences))),
    )


def clip(folder: Path) -> Family:
    from transformers import CLIPTokenizer

    original = checkpoints.write_random_clip(folder)
    pixels, tokenizer = clip_transform(224), later(lambda: CLIPTokenizer.from_pretrained(folder))
    padded = {"padding": "max_length", "truncation": True, "max_length": 77, "return_tensors": "pt"}
    return Family(
        source=lambda at: models.TransformersClip("clip", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_transformers(original.vision_model, pixels, first=1),
        weights="pytorch_model.bin",
        keys=("vision_model.encoder.layers.1.self_attn.q_proj.weight", "text_projection.weight"),
        image=lambda pictures: (
            original.get_image_features(pixel_values=pixels(pictures)).pooler_output
        ),
        text=lambda sentences: (
            original.get_text_features(**tokenizer(list(sentences), **padded)).pooler_output
        ),
    )


def biomedclip(folder: Path) -> Family:
    from open_clip.tokenizer import HFTokenizer

    original = checkpoints.write_random_biomedclip(folder)
    pixels = clip_transform(160)
    tokenizer = later(lambda: HFTokenizer(str(folder), context_length=256))
    return Family(
        source=lambda at: models.OpenClip("biomedclip", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_timm(original.visual.trunk, pixels),
        weights="open_clip_pytorch_model.bin",
        keys=("visual.trunk.blocks.3.attn.qkv.bias", "text.proj.2.weight"),
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(tokenizer(list(sentences))),
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
    tokenizer = later(lambda: HFTokenizer(str(folder), context_length=256))
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
        places=lambda pixels: places.of_open_clip(original.visual, pixels),
        weights=weights,
        keys=("module.text_encoder.proj.2.weight", "module.visual.conv1.weight"),
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(tokenizer(list(sentences))),
        entry="state_dict",
    )


def bert_tokens(
    folder: Path, *, context: int, fixed: bool = False
) -> Callable[[Sequence[str]], Any]:
    """Return transformers' own tokenizer over the written vocabulary, lower case pinned."""
    from transformers import BertTokenizer

    tokenizer = later(lambda: BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True))
    padding = "max_length" if fixed else "longest"
    return lambda sentences: tokenizer(
        list(sentences), padding=padding, truncation=True, max_length=context, return_tensors="pt"
    )


def medclip_pixels(pictures: Pictures, size: int) -> Tensor:
    """Grey, centred on a black square of side max(size, width, height), resized, normalised."""
    pixels = []
    for picture in pictures:
        side = max(size, *picture.size)
        canvas = Image.new("L", (side, side), 0)
        canvas.paste(picture, tuple(int((side - length) / 2) for length in picture.size))
        grey = torch.from_numpy(np.array(canvas.resize((size, size), Image.Resampling.BICUBIC)))
        pixels.append((grey / 255 - 0.5862785803043838) / 0.27950088968644304)
    return torch.stack(pixels)[:, None].repeat(1, 3, 1, 1)


def mean_of_layers(bert: Any, projection: Tensor, tokens: Any) -> Tensor:
    """Average layers 1, 2 and the last over all tokens, then over the three, then project."""
    states = bert(**tokens, output_hidden_states=True).hidden_states
    return torch.stack([states[i].mean(dim=1) for i in (1, 2, -1)]).mean(dim=0) @ projection.T


def _medclip(folder: Path, image: Any, states: Any, vision: dict[str, Tensor], name: str) -> Family:
    bert = checkpoints.random_bert(1)
    generator = torch.Generator().manual_seed(2)
    projection = torch.randn(24, 32, generator=generator)
    state = vision | checkpoints.prefixed("text_model.model.", bert)
    state["text_model.model.embeddings.position_ids"] = torch.arange(512)[None]
    state |= {"text_model.projection_head.weight": projection, "logit_scale": torch.tensor(9.0)}
    torch.save(state, folder / "pytorch_model.bin")
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    architecture = {
        "vit": checkpoints.SWIN_ARCHITECTURE,
        "resnet": checkpoints.RESNET_ARCHITECTURE,
    }[name]
    checkpoints.write_json(folder / "architecture.json", architecture)
    tokens = bert_tokens(folder, context=77)
    return Family(
        source=lambda at: models.MedClip(
            "medclip",
            "",
            local_dir=at,
            config=str(folder / "architecture.json"),
            origin="a zip elsewhere",
        ),
        places=lambda pixels: states(pixels),
        weights="pytorch_model.bin",
        keys=(next(iter(vision)), "text_model.projection_head.weight"),
        image=lambda pictures: image(medclip_pixels(pictures, architecture["image_size"])),
        text=lambda sentences: torch.cat(
            [mean_of_layers(bert, projection, tokens([one])) for one in sentences]
        ),
    )


def medclip_vit(folder: Path) -> Family:
    model, old = checkpoints.random_swin(0)
    generator = torch.Generator().manual_seed(3)
    projection = torch.randn(24, 32, generator=generator)
    vision = {f"vision_model.model.{key}": value for key, value in old.items()}
    vision["vision_model.projection_head.weight"] = projection
    return _medclip(
        folder,
        lambda x: model(pixel_values=x).pooler_output @ projection.T,
        lambda x: places.of_swin(model, x),
        vision,
        "vit",
    )


def medclip_resnet(folder: Path) -> Family:
    model = checkpoints.random_resnet(0, 24)
    vision = checkpoints.prefixed("vision_model.model.", model)
    return _medclip(folder, model, lambda x: places.of_resnet(model, x), vision, "resnet")


def _cxr_clip(folder: Path, name: str) -> Family:
    bert = checkpoints.random_bert(1)
    swin, old = checkpoints.random_swin(0)
    resnet = checkpoints.random_resnet(0, None)
    image_map, text_map = (
        torch.nn.Linear(32 if name == "swin" else 2048, 24),
        torch.nn.Linear(32, 24),
    )
    image_head = {f"image_projection.projection.{k}": v for k, v in image_map.state_dict().items()}
    text_head = {f"text_projection.projection.{k}": v for k, v in text_map.state_dict().items()}
    towers = {
        "swin": {f"image_encoder.image_encoder.{key}": value for key, value in old.items()},
        "resnet": checkpoints.prefixed("image_encoder.resnet.", resnet),
    }
    state = towers[name] | checkpoints.prefixed("text_encoder.text_encoder.", bert)
    state |= image_head | text_head | {"logit_scale": torch.tensor(2.659)}
    content = {"model": state, "optimizer": {"state": {}}, "config": {"model": {"name": "x"}}}
    torch.save(content | {"epoch": 3}, folder / "weights.tar")
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    architecture = {
        "swin": checkpoints.SWIN_ARCHITECTURE,
        "resnet": checkpoints.RESNET_ARCHITECTURE,
    }[name]
    checkpoints.write_json(folder / "architecture.json", architecture)
    mean, std = {
        "swin": ([0.5] * 3, [0.5] * 3),
        "resnet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    }[name]
    pixels = shortest_side(architecture["image_size"], Image.Resampling.BILINEAR, mean, std)
    tokens = bert_tokens(folder, context=256)

    def image(pictures: Pictures) -> Tensor:
        x = pixels(pictures)
        first = swin(pixel_values=x).last_hidden_state[:, 0] if name == "swin" else resnet(x)
        return image_map(first)

    def text(sentences: Sequence[str]) -> Tensor:
        encoded = tokens(sentences)
        states = bert(**encoded).last_hidden_state
        ends = encoded["attention_mask"].sum(dim=-1) - 1
        return text_map(states[torch.arange(len(states)), ends])

    return Family(
        source=lambda at: models.CxrClip(
            "cxr_clip",
            "",
            local_dir=at,
            config=str(folder / "architecture.json"),
            weights="weights.tar",
            origin="a link",
        ),
        places=lambda pixels: (
            places.of_swin(swin, pixels) if name == "swin" else places.of_resnet(resnet, pixels)
        ),
        weights="weights.tar",
        keys=(next(iter(towers[name])), "image_projection.projection.bias"),
        image=image,
        text=text,
        entry="model",
    )


def cxr_clip_swin(folder: Path) -> Family:
    return _cxr_clip(folder, "swin")


def cxr_clip_resnet(folder: Path) -> Family:
    return _cxr_clip(folder, "resnet")


def _pmc_towers(heads: int) -> tuple[Any, Any, Tensor]:
    from open_clip.modified_resnet import ModifiedResNet

    visual = ModifiedResNet([1, 2, 1, 1], output_dim=24, heads=heads, image_size=64, width=8)
    checkpoints.randomise(visual, 0)
    generator = torch.Generator().manual_seed(4)
    return visual.eval(), checkpoints.random_bert(1), torch.randn(32, 24, generator=generator)


def _pmc_architecture(folder: Path) -> str:
    vision = checkpoints.TINY_RESNET
    content = {"embed_dim": 24, "vision_cfg": vision, "text": checkpoints.BERT_SMALL}
    checkpoints.write_json(folder / "architecture.json", content)
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    return str(folder / "architecture.json")


def pmc_clip(folder: Path) -> Family:
    visual, bert, projection = _pmc_towers(heads=4)
    state = checkpoints.prefixed("visual.", visual) | checkpoints.prefixed("text_encoder.", bert)
    state |= {
        "text_projection": projection,
        "logit_scale": torch.tensor(4.4),
        "img_special_token": torch.zeros(1, 1, 24),
        "mlm_projection": torch.zeros(24, 9),
        "positional_embedding": torch.zeros(77, 24),
        "ln_final.weight": torch.zeros(24),
        "ln_final.bias": torch.zeros(24),
        "fusion_module.resblocks.0.attn.in_proj_weight": torch.zeros(72, 24),
    }
    content = {"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(content, folder / "checkpoint.pt")
    config = _pmc_architecture(folder)
    pixels, tokens = clip_transform(64), bert_tokens(folder, context=77, fixed=True)
    return Family(
        source=lambda at: models.PmcClip(
            "pmc_clip", "", local_dir=at, config=config, heads=4, origin="a data-set repository"
        ),
        places=lambda pixels: places.of_open_clip(visual, pixels),
        weights="checkpoint.pt",
        keys=("module.visual.layer2.1.bn3.bias", "module.text_projection"),
        image=lambda pictures: visual(pixels(pictures)),
        text=lambda sentences: (
            bert(input_ids=tokens(sentences)["input_ids"]).last_hidden_state[:, 0] @ projection
        ),
        entry="state_dict",
    )


def pmc_clip_parts(folder: Path) -> Family:
    visual, bert, projection = _pmc_towers(heads=2)
    torch.save(visual.state_dict(), folder / "image_encoder(resnet50).pth")
    torch.save(bert.state_dict(), folder / "text_encoder.pth")
    torch.save(projection, folder / "text_projection_layer.pth")
    config = _pmc_architecture(folder)
    pixels, tokens = clip_transform(64), bert_tokens(folder, context=77, fixed=True)
    return Family(
        source=lambda at: models.PmcClip(
            "pmc_clip",
            "",
            local_dir=at,
            config=config,
            layout="parts",
            heads=2,
            text_pooling="pooler",
            origin="a data-set repository",
        ),
        places=lambda pixels: places.of_open_clip(visual, pixels),
        weights="image_encoder(resnet50).pth",
        keys=("layer2.1.bn3.bias",),
        image=lambda pictures: visual(pixels(pictures)),
        text=lambda sentences: bert(**tokens(sentences)).pooler_output @ projection,
        elsewhere=len(bert.state_dict()) + 2,  # the projection and the scale
    )


class AdaptedQkv(torch.nn.Module):
    """A fused projection with an adapter each for query, key and value, as published."""

    def __init__(self, qkv: torch.nn.Linear, rank: int) -> None:
        super().__init__()
        self.qkv = qkv
        for part in "qkv":
            width = qkv.in_features
            setattr(self, f"linear_a_{part}", torch.nn.Linear(width, rank, bias=False))
            setattr(self, f"linear_b_{part}", torch.nn.Linear(rank, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        added = [
            getattr(self, f"linear_b_{part}")(getattr(self, f"linear_a_{part}")(x))
            for part in "qkv"
        ]
        return self.qkv(x) + torch.cat(added, dim=-1)


class AdaptedConv(torch.nn.Module):
    """A convolution with a pointwise adapter, resized to the nearest, as published."""

    def __init__(self, conv: torch.nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.conv = conv
        self.linear_a = torch.nn.Linear(conv.in_channels, rank, bias=False)
        self.linear_b = torch.nn.Linear(rank, conv.out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        added = self.linear_b(self.linear_a(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        if added.shape != out.shape:
            added = torch.nn.functional.interpolate(added, size=out.shape[2:], mode="nearest")
        return out + added


def robustmedclip_vit(folder: Path, rank: int = 4) -> Family:
    from open_clip.tokenizer import HFTokenizer

    original = checkpoints.original_biomedclip(tiny=True)
    for block in original.visual.trunk.blocks:
        block.attn.qkv = AdaptedQkv(block.attn.qkv, rank)
    checkpoints.randomise(original, 0)
    state = {
        f"lora_vit.lora_vit.{key[7:]}"
        if key.startswith("visual.")
        else f"text_encoder.{key[5:]}": v
        for key, v in original.state_dict().items()
        if key != "logit_scale"
    }
    torch.save(state, folder / "model.pth")
    bert = "google/bert_uncased_L-2_H-128_A-2"
    config = checkpoints.biomedclip_config("test_vit", bert, 64, 160)["model_cfg"]
    checkpoints.write_json(folder / "architecture.json", config)
    checkpoints.write_bert_tokenizer(folder)
    pixels = clip_transform(160)
    tokenizer = later(lambda: HFTokenizer(str(folder), context_length=256))
    return Family(
        source=lambda at: models.RobustMedClip(
            "robustmedclip",
            "nobody/nothing",
            local_dir=at,
            config=str(folder / "architecture.json"),
            rank=rank,
        ),
        places=lambda pixels: places.of_timm(original.visual.trunk, pixels),
        weights="model.pth",
        keys=(
            "lora_vit.lora_vit.trunk.blocks.1.attn.qkv.linear_b_k.weight",
            "lora_vit.lora_vit.head.proj.weight",
        ),
        image=lambda pictures: original.encode_image(pixels(pictures)),
        text=lambda sentences: original.encode_text(tokenizer(list(sentences))),
    )


def robustmedclip_resnet(folder: Path) -> Family:
    model = checkpoints.random_resnet(0, 24)
    convolutions = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)]
    layers = [name for name in convolutions if "downsample" not in name]
    for name in layers:
        owner = model.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        setattr(owner, leaf, AdaptedConv(getattr(owner, leaf), 4))
    checkpoints.randomise(model, 5)
    model.eval()
    bert = checkpoints.random_bert(1)
    projection = torch.randn(24, 32, generator=torch.Generator().manual_seed(2))
    state = {}
    for list_name, side in (("w_As", "linear_a"), ("w_Bs", "linear_b")):
        for number, name in enumerate(layers):
            adapter = getattr(model.get_submodule(name), side)
            state[f"lora_resnet.{list_name}.{number}.weight"] = adapter.weight
    state |= checkpoints.prefixed("lora_resnet.lora_medclip.model.", model)
    state |= checkpoints.prefixed("text_encoder.model.", bert)
    state["text_encoder.projection_head.weight"] = projection
    torch.save({key: value.detach() for key, value in state.items()}, folder / "model.pth")
    checkpoints.write_json(folder / "architecture.json", checkpoints.RESNET_ARCHITECTURE)
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    pixels, tokens = clip_transform(32), bert_tokens(folder, context=512)
    return Family(
        source=lambda at: models.RobustMedClip(
            "robustmedclip",
            "nobody/nothing",
            local_dir=at,
            vision="resnet",
            config=str(folder / "architecture.json"),
            rank=4,
        ),
        places=lambda pixels: places.of_resnet(model, pixels),
        weights="model.pth",
        keys=(
            "lora_resnet.lora_medclip.model.layer2.0.conv2.linear_a.weight",
            "lora_resnet.lora_medclip.model.fc.weight",
        ),
        image=lambda pictures: model(pixels(pictures)),
        text=lambda sentences: torch.cat(
            [mean_of_layers(bert, projection, tokens([one])) for one in sentences]
        ),
    )


def keep(folder: Path) -> Family:
    """Timm's tower with its two layers, and what the pooler of a BERT says."""
    import timm

    sizes = {"patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3, "init_values": 1e-5}
    visual = timm.create_model(
        "vit_large_patch16_224", num_classes=0, img_size=64, dynamic_img_size=True, **sizes
    ).eval()
    head = torch.nn.Sequential(torch.nn.Linear(48, 32), torch.nn.GELU(), torch.nn.Linear(32, 32))
    checkpoints.randomise(visual, 0)
    checkpoints.randomise(head, 2)
    bert = checkpoints.random_bert(1)
    state = checkpoints.prefixed("visual.", visual) | checkpoints.prefixed("visual_head.", head)
    state |= checkpoints.prefixed("text.", bert)
    state |= {"logit_scale": torch.tensor(3.2189)}
    torch.save(state, folder / "pytorch_model.bin")
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    architecture = {"image_size": 64, "vision": sizes, "text": checkpoints.BERT_SMALL}
    checkpoints.write_json(folder / "architecture.json", architecture)
    mean, std = checkpoints.IMAGENET_MEAN, checkpoints.IMAGENET_STD
    pixels = shortest_side(64, Image.Resampling.BICUBIC, mean, std)
    tokens = bert_tokens(folder, context=256, fixed=True)
    return Family(
        source=lambda at: models.Keep(
            "keep", "nobody/nothing", local_dir=at, config=str(folder / "architecture.json")
        ),
        weights="pytorch_model.bin",
        keys=("visual.blocks.1.ls2.gamma", "visual_head.2.bias", "text.pooler.dense.weight"),
        image=lambda pictures: head(visual(pixels(pictures))),
        text=lambda sentences: bert(**tokens(sentences)).pooler_output,
    )


def _biovil(folder: Path, temporal: int) -> Family:
    """A map, narrowed and beside no earlier image's where it has that; projected place by place."""
    generator = torch.Generator().manual_seed(5)
    resnet, bert = checkpoints.random_resnet(0, 1000), checkpoints.random_bert(1)
    features = 2 * temporal or 2048
    convolutions = torch.nn.Conv2d(features, 24, 1, bias=False), torch.nn.Conv2d(24, 24, 1)
    projector = torch.nn.Sequential(
        convolutions[0], torch.nn.BatchNorm2d(24), torch.nn.ReLU(), convolutions[1]
    ).eval()
    checkpoints.randomise(projector, 2)
    words = torch.nn.Sequential(
        torch.nn.Linear(32, 24), torch.nn.GELU(), torch.nn.LayerNorm(24, eps=1e-12),
        torch.nn.Linear(24, 24),
    )  # fmt: skip
    checkpoints.randomise(words, 3)
    state = checkpoints.prefixed("encoder.encoder.", resnet)
    state["encoder.encoder.fc.bias"] = torch.zeros(1000)
    state |= checkpoints.prefixed("projector.model.", projector)
    narrow = torch.randn(temporal, 2048, generator=generator) / 40
    missing = torch.randn(1, temporal, 1, 1, generator=generator)
    if temporal:
        state["encoder.backbone_to_vit.weight"] = narrow[:, :, None, None]
        state["encoder.missing_previous_emb"] = missing
        state["encoder.vit_pooler.type_embed"] = torch.zeros(2, 1, temporal)
        state["encoder.vit_pooler.blocks.0.attn.proj_q.weight"] = torch.zeros(temporal, temporal)
    torch.save(state, folder / "image.pt")
    names = {"0": "dense_to_hidden", "2": "LayerNorm", "3": "dense_to_output"}
    texts = checkpoints.prefixed("bert.", bert)
    texts = {key: value for key, value in texts.items() if ".pooler." not in key}
    texts["bert.embeddings.position_ids"] = torch.arange(512)[None]
    texts["cls.predictions.bias"] = torch.zeros(300)
    texts["cls.predictions.decoder.weight"] = torch.zeros(300, 32)
    for key, value in words.state_dict().items():
        texts[f"cls_projection_head.{names[key[0]]}.{key[2:]}"] = value
    torch.save(texts, folder / "pytorch_model.bin")
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    architecture = {
        "image_size": 56, "resize": 64, "embed_dim": 24, "temporal_width": temporal,
        "sizes": {"layers": [1, 1, 1, 1]}, "text": checkpoints.BERT_SMALL,
    }  # fmt: skip
    checkpoints.write_json(folder / "architecture.json", architecture)
    tokens = bert_tokens(folder, context=512)

    def image(pictures: Pictures) -> Tensor:
        spread = []
        for picture in pictures:
            array = np.asarray(picture).astype(float)
            array -= array.min()
            array /= array.max()
            spread.append(Image.fromarray((array * 255).astype(np.uint8)).convert("L"))
        whole = shortest_side(64, Image.Resampling.BILINEAR, [0.0], [1.0])(spread)
        pixels = whole[..., 4:60, 4:60].repeat(1, 3, 1, 1)
        last = places.of_resnet(resnet, pixels)[-1].transpose(1, 2)
        if temporal:
            slim = narrow @ last
            last = torch.cat([slim, missing[..., 0].expand_as(slim)], dim=1)
        return projector(last[..., None]).mean(dim=(2, 3))

    def text(sentences: Sequence[str]) -> Tensor:
        ended = [sentence.rstrip("!?.") for sentence in sentences]
        return words(bert(**tokens(ended)).last_hidden_state[:, 0])

    return Family(
        source=lambda at: models.BioVil(
            "biovil",
            "nobody/nothing",
            local_dir=at,
            config=str(folder / "architecture.json"),
            weights="image.pt",
        ),
        places=lambda pixels: places.of_resnet(resnet, pixels),
        weights="image.pt",
        keys=("encoder.encoder.layer2.0.conv2.weight", "projector.model.1.running_mean"),
        image=image,
        text=text,
        elsewhere=len(texts),
    )


def biovil(folder: Path) -> Family:
    return _biovil(folder, 0)


def biovil_t(folder: Path) -> Family:
    return _biovil(folder, 16)


def gloria(folder: Path) -> Family:
    """OpenCV's areas, an enlarged image, and layers of a BERT joined word by word."""
    from omegaconf import OmegaConf

    resnet, bert = checkpoints.random_resnet(0, None), checkpoints.random_bert(1)
    embedder = torch.nn.Linear(2048, 32)
    checkpoints.randomise(embedder, 2)
    state = checkpoints.prefixed("gloria.img_encoder.model.", resnet)
    state |= checkpoints.prefixed("gloria.img_encoder.global_embedder.", embedder)
    state["gloria.img_encoder.local_embedder.weight"] = torch.zeros(32, 1024, 1, 1)
    state |= checkpoints.prefixed("gloria.text_encoder.model.", bert)
    settings = OmegaConf.create({"phase": "pretrain", "data": {"text": {"word_num": 97}}})
    content = {"epoch": 3, "state_dict": state, "hyper_parameters": settings}
    torch.save(content, folder / "chexpert.ckpt")
    checkpoints.write_bert_tokenizer(folder, checkpoints.BERT_SMALL["vocab_size"])
    architecture = {
        "image_size": 56, "resize": 64, "enlarged": 75,
        "sizes": {"layers": [1, 1, 1, 1]}, "text": checkpoints.BERT_SMALL,
    }  # fmt: skip
    checkpoints.write_json(folder / "architecture.json", architecture)
    tokens = bert_tokens(folder, context=97, fixed=True)
    words = (folder / "vocab.txt").read_text().split()

    def enlarged(pixels: Tensor) -> Tensor:
        return torch.nn.Upsample((75, 75), mode="bilinear", align_corners=True)(pixels)

    def image(pictures: Pictures) -> Tensor:
        import cv2

        pixels = []
        for picture in pictures:
            grey = np.asarray(picture.convert("L"))  # wide pictures, as the tests' are
            height = int(grey.shape[0] * (64 / grey.shape[1]))
            sized = cv2.resize(grey, (64, height), interpolation=cv2.INTER_AREA)
            margin = (64 - height) // 2
            square = np.pad(sized, [(margin, 64 - height - margin), (0, 0)])
            pixels.append(torch.from_numpy(square[4:60, 4:60] / np.float32(255)))
        grey = (torch.stack(pixels)[:, None] - 0.5) / 0.5
        return embedder(resnet(enlarged(grey.repeat(1, 3, 1, 1))))

    def text(sentences: Sequence[str]) -> Tensor:
        embeddings = []
        for sentence in sentences:
            encoded = tokens([_plain(sentence)])
            layers = bert(**encoded, output_hidden_states=True).hidden_states[-4:]
            whole: list[Tensor] = []
            for place, token in enumerate(encoded["input_ids"][0].tolist()):
                said = sum(layer[0, place] for layer in layers)
                if words[token].startswith("##"):
                    whole[-1] = whole[-1] + said
                else:
                    whole.append(said)
                if words[token] == "[SEP]":
                    break
            whole += [torch.zeros(32)] * (97 - len(whole))
            embeddings.append(torch.stack(whole).mean(dim=0))
        return torch.stack(embeddings)

    return Family(
        source=lambda at: models.Gloria(
            "gloria",
            "",
            local_dir=at,
            config=str(folder / "architecture.json"),
            weights="chexpert.ckpt",
            origin="a folder elsewhere",
        ),
        places=lambda pixels: places.of_resnet(resnet, enlarged(pixels)),
        weights="chexpert.ckpt",
        keys=(
            "gloria.img_encoder.global_embedder.bias",
            "gloria.text_encoder.model.encoder.layer.1.output.dense.weight",
        ),
        image=image,
        text=text,
        entry="state_dict",
    )


def _plain(text: str) -> str:
    """Words of the sentences that have two or more; of all, where none has."""
    for least in (2, 1):
        kept = []
        for sentence in re.sub(r"[0-9]+\.", ".", text).split("."):
            found = re.findall(r"\w+", sentence.lower())
            if len(found) >= least:
                kept += ["".join(c for c in word if ord(c) < 128) for word in found]
        if kept:
            break
    return " ".join(kept)


def siglip(folder: Path) -> Family:
    from transformers import SiglipTokenizer

    original = checkpoints.write_random_siglip(folder)
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=64)

    def image(pictures: Pictures) -> Tensor:
        pixels = []
        for picture in pictures:
            wide = picture.resize((64, picture.height), Image.Resampling.BILINEAR)
            array = np.array(wide.resize((64, 64), Image.Resampling.BILINEAR)) / np.float32(255)
            pixels.append(torch.from_numpy((array - 0.5) / 0.5).permute(2, 0, 1).float())
        return original.get_image_features(pixel_values=torch.stack(pixels)).pooler_output

    def text(sentences: Sequence[str]) -> Tensor:
        ids = tokenizer(
            list(sentences), padding="max_length", truncation=True, return_tensors="pt"
        )["input_ids"]
        return original.get_text_features(input_ids=ids).pooler_output

    return Family(
        source=lambda at: models.TransformersSiglip("siglip", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_transformers(original.vision_model, pixels, first=0),
        weights="model.safetensors",
        keys=("vision_model.head.attention.in_proj_weight", "logit_bias", "text_model.head.bias"),
        image=image,
        text=text,
    )


def dinov2(folder: Path) -> Family:
    original = checkpoints.write_random_dinov2(folder)
    mean, std = checkpoints.IMAGENET_MEAN, checkpoints.IMAGENET_STD

    def image(pictures: Pictures) -> Tensor:
        # Shortest side 64, of which the middle 56 pixels are kept.
        wide = shortest_side(64, Image.Resampling.BICUBIC, mean, std)(pictures)
        return original(pixel_values=wide[..., 4:60, 4:60]).last_hidden_state[:, 0]

    return Family(
        source=lambda at: models.VisionEncoder("dinov2", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_transformers(original, pixels, first=1),
        weights="model.safetensors",
        keys=("encoder.layer.1.norm1.weight", "layernorm.bias"),
        image=image,
        text=None,
    )


def timm_resnet(folder: Path) -> Family:
    from timm.data import create_transform

    original = checkpoints.write_random_timm(folder)
    transform = create_transform(
        (3, 64, 64),
        interpolation="bicubic",
        mean=checkpoints.IMAGENET_MEAN,
        std=checkpoints.IMAGENET_STD,
        crop_pct=0.95,
    )
    return Family(
        source=lambda at: models.TimmEncoder("timm", "nobody/nothing", local_dir=at),
        places=lambda pixels: places.of_timm(original, pixels)[1:],
        weights="model.safetensors",
        keys=("layer2.0.conv1.weight", "bn1.running_mean"),
        image=lambda pictures: original(torch.stack([transform(one) for one in pictures])),
        text=None,
    )


FAMILIES: dict[str, Callable[[Path], Family]] = {
    "clip": clip,
    "biomedclip": biomedclip,
    "open_clip_vit": open_clip_vit,
    "open_clip_rn50": open_clip_rn50,
    "open_clip_library": open_clip_library,
    "unimed": unimed,
    "medclip_vit": medclip_vit,
    "medclip_resnet": medclip_resnet,
    "cxr_clip_swin": cxr_clip_swin,
    "cxr_clip_resnet": cxr_clip_resnet,
    "pmc_clip": pmc_clip,
    "pmc_clip_parts": pmc_clip_parts,
    "robustmedclip_vit": robustmedclip_vit,
    "robustmedclip_resnet": robustmedclip_resnet,
    "gloria": gloria,
    "keep": keep,
    "biovil": biovil,
    "biovil_t": biovil_t,
    "siglip": siglip,
    "dinov2": dinov2,
    "timm_resnet": timm_resnet,
    **ENCODERS,
}
