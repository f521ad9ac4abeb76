"""Write random checkpoints in exactly the layout of the published repositories, tokenizer included.

Each writer returns the model of the original library that holds the same weights.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]

BERT_TINY = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
BERT_BASE = BERT_TINY | {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}

WORDS = (
    "an the of is this that image photo medical with and or no not in on by from belonging to "
    "blood cell microscopy normal healthy disease lesion tissue chest ray retina scan cyst mass "
    "basophil eosinophil lymphocyte monocyte neutrophil platelet erythroblast granulocyte "
    "evidence finding presence absence mild moderate severe"
)


@contextmanager
def unfilled() -> Iterator[None]:
    """Leave weights unfilled that are randomised afterwards: torch's draws take as long as both."""
    names = ("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        yield


def randomise(model: nn.Module, seed: int) -> None:
    """Give every weight a value of its own, so that no two can be swapped unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("logit_scale"):
                parameter.fill_(4.6052)
            elif parameter.ndim < 2 and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.ndim == 4:
                parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(0.1 * noise)
        for name, buffer in model.named_buffers():
            noise = torch.rand(buffer.shape, generator=generator)
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * noise)
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + noise)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2))


def write_clip_tokenizer(folder: Path) -> None:
    """Write the vocabulary that open_clip bundles in the form of transformers."""
    for name, content in _clip_tokenizer_files().items():
        (folder / name).write_bytes(content)


@cache
def _clip_tokenizer_files() -> dict[str, bytes]:
    """Make the files once: reading 49,408 tokens takes longer than all else of a small model."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    original = SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {rename.get(token, token): index for token, index in original.encoder.items()}
    merges = [f"{first} {second}" for first, second in original.bpe_ranks]
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "vocab.json").write_text(json.dumps(vocab))
        Path(scratch, "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
        listed = {name: Path(scratch, name).read_bytes() for name in ("vocab.json", "merges.txt")}
        tokenizer = CLIPTokenizer(
            vocab=f"{scratch}/vocab.json", merges=f"{scratch}/merges.txt", model_max_length=77
        )
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()} | listed


def write_bert_tokenizer(folder: Path, size: int = BERT_TINY["vocab_size"]) -> None:
    """Write an uncased WordPiece vocabulary, special tokens where PubMedBERT has them.

    Args:
        folder: For its files.
        size: Tokens; those that no sentence needs fill it up.
    """
    from tokenizers import BertWordPieceTokenizer

    letters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    pieces = [f"##{letter}" for letter in letters]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    marks = [*",.-:&;<>'\"“”‘’–—_/#°µﬁ…", "sch"]
    vocab = [*special, *letters, *pieces, *marks, *WORDS.split()]
    vocab += [f"[unused{number}]" for number in range(size - len(vocab))]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True).save(
        str(folder / "tokenizer.json")
    )
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512},
    )
    write_json(
        folder / "special_tokens_map.json",
        {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )


def write_random_clip(folder: Path, *, seed: int = 0, safetensors: bool = False) -> Any:
    """Write a small CLIP as `openai/clip-vit-base-patch16` is laid out.

    Returns:
        The `transformers.CLIPModel` with the same weights.
    """
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True, exist_ok=True)
    text = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = CLIPConfig(
        # The hub's configurations say eos_token_id 2, which asks for the old way of pooling.
        text_config=text | {"intermediate_size": 64, "eos_token_id": 2, "bos_token_id": 0},
        vision_config=vision | {"intermediate_size": 96, "patch_size": 32, "image_size": 224},
        projection_dim=24,
    )
    model = CLIPModel(config).eval()
    randomise(model, seed)
    write_json(folder / "config.json", config.to_dict() | {"architectures": ["CLIPModel"]})
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": 224,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "size": 224,
        },
    )
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(50)[None]
    save(state, folder / ("model.safetensors" if safetensors else "pytorch_model.bin"))
    write_clip_tokenizer(folder)
    return model


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)


def biomedclip_config(vit: str, bert: str, width: int, size: int) -> dict[str, Any]:
    return {
        "model_cfg": {
            "embed_dim": width,
            "vision_cfg": {
                "timm_model_name": vit,
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": size,
            },
            "text_cfg": {
                "hf_model_name": bert,
                "hf_tokenizer_name": bert,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 256,
            },
        },
        "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD},
    }


@unfilled()
def original_biomedclip(*, tiny: bool, device: str = "cpu") -> nn.Module:
    """Build BiomedCLIP by open_clip; its weights are to be randomised."""
    import open_clip

    with tempfile.TemporaryDirectory() as scratch:
        # open_clip reads the configuration of the BERT from the place that it is named for.
        vit, size = ("test_vit", 160) if tiny else ("vit_base_patch16_224", 224)
        config = biomedclip_config(vit, scratch, 64 if tiny else 512, size)
        write_json(Path(scratch, "open_clip_config.json"), config)
        write_json(Path(scratch, "config.json"), BERT_TINY if tiny else BERT_BASE)
        model: nn.Module = open_clip.create_model(
            f"local-dir:{scratch}", load_weights=False, pretrained_text=False, device=device
        )
    return model.eval()


def write_random_biomedclip(folder: Path, *, tiny: bool = True, seed: int = 0) -> Any:
    """Write BiomedCLIP as its hub repository is laid out: without a configuration of the BERT.

    Args:
        folder: Made if need be.
        tiny: A vision transformer of 6 layers (160 pixels) and a BERT of 2, 18 MB; else the
            published towers, 784 MB.
        seed: Of the weights.

    Returns:
        The open_clip model with the same weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = original_biomedclip(tiny=tiny)
    randomise(model, seed)
    names = (
        ("test_vit", "google/bert_uncased_L-2_H-128_A-2", 64, 160)
        if tiny
        else (
            "vit_base_patch16_224",
            "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            512,
            224,
        )
    )
    write_json(folder / "open_clip_config.json", biomedclip_config(*names))
    state = dict(model.state_dict())
    state["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]
    save(state, folder / "open_clip_pytorch_model.bin")
    write_bert_tokenizer(folder)
    return model


@unfilled()
def original_open_clip(model_cfg: dict[str, Any], bert: dict[str, Any] | None = None) -> nn.Module:
    """Build a model by open_clip from its configuration; its weights are to be randomised."""
    import open_clip

    with tempfile.TemporaryDirectory() as scratch:
        said = json.loads(json.dumps(model_cfg))
        said.pop("text_prefix", None)
        if bert is not None:
            said["text_cfg"]["hf_model_name"] = scratch
            write_json(Path(scratch, "config.json"), bert)
        write_json(Path(scratch, "open_clip_config.json"), {"model_cfg": said})
        model: nn.Module = open_clip.create_model(
            f"local-dir:{scratch}", load_weights=False, pretrained_text=False
        )
    return model.eval()


def tiny_open_clip(vision: dict[str, Any], *, width: int = 24) -> dict[str, Any]:
    """Describe a small CLIP with a text tower of two layers."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    return {"embed_dim": width, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}


TINY_VIT = {"image_size": 64, "layers": 2, "width": 128, "patch_size": 32}
TINY_RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None}
TINY_RESNET |= {"head_width": 16}


def write_random_open_clip(folder: Path, model_cfg: dict[str, Any], *, seed: int = 0) -> Any:
    """Write a CLIP as open_clip's repositories are laid out, and return the library's model."""
    folder.mkdir(parents=True, exist_ok=True)
    model = original_open_clip(model_cfg)
    randomise(model, seed)
    content = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD}}
    write_json(folder / "open_clip_config.json", content)
    save(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    return model


def write_random_unimed(folder: Path, *, seed: int = 0) -> Any:
    """Write a small UniMed-CLIP: a trainer's checkpoint with the keys of its fork of open_clip.

    Returns:
        The open_clip model with the same weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bert = "google/bert_uncased_L-2_H-128_A-2"
    said = tiny_open_clip(TINY_VIT, width=64)
    said["text_cfg"] = {
        "hf_model_name": bert,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    }
    model = original_open_clip(said, BERT_TINY)
    randomise(model, seed)
    write_json(folder / "architecture.json", said | {"text_prefix": "text_encoder."})
    state = {
        "module." + (f"text_encoder.{key[5:]}" if key.startswith("text.") else key): value
        for key, value in model.state_dict().items()
    }
    torch.save({"epoch": 5, "name": "x", "state_dict": state}, folder / "unimed_clip_vit_b16.pt")
    write_bert_tokenizer(folder)
    return model


BERT_SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}
SWIN_SMALL = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
SMALL = {"image_size": 64, "embed_dim": 24, "text": BERT_SMALL}
SWIN_ARCHITECTURE = SMALL | {"vision": "swin", "sizes": SWIN_SMALL}
RESNET_ARCHITECTURE = SMALL | {
    "vision": "resnet50",
    "image_size": 32,
    "sizes": {"layers": [1, 1, 1, 1]},
}


def old_swin_name(key: str) -> str:
    """Return the name that transformers 4 gives a tensor of a Swin transformer."""
    for new, old in (
        (".attention.q_proj.", ".attention.self.query."),
        (".attention.k_proj.", ".attention.self.key."),
        (".attention.v_proj.", ".attention.self.value."),
        (".attention.o_proj.", ".attention.output.dense."),
        (".attention.relative_position_bias.", ".attention.self."),
        (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    ):
        key = key.replace(new, old)
    return key


def random_swin(seed: int) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Make a small Swin transformer; return it and its state as transformers 4 names it.

    The model comes from transformers' own conversion of the old names.
    """
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(**SWIN_SMALL)
    source = SwinModel(config)
    randomise(source, seed)
    state = {old_swin_name(key): value for key, value in source.state_dict().items()}
    model = SwinModel.from_pretrained(None, config=config, state_dict=dict(state)).eval()
    for key in list(state):
        if key.endswith("relative_position_bias_table"):
            index = torch.zeros(16, 16, dtype=torch.int64)
            state[key.replace("bias_table", "index")] = index
    return model, state


@unfilled()
def random_resnet(seed: int, outputs: int | None) -> nn.Module:
    """Make a small ResNet of bottlenecks by torchvision."""
    from torchvision.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, RESNET_ARCHITECTURE["sizes"]["layers"])
    model.fc = nn.Identity() if outputs is None else nn.Linear(2048, outputs, bias=False)
    randomise(model, seed)
    return model.eval()


def random_bert(seed: int, sizes: dict[str, Any] = BERT_SMALL) -> nn.Module:
    """Make a small BERT with its pooler."""
    from transformers import BertConfig, BertModel

    model: nn.Module = BertModel(BertConfig(**sizes))
    randomise(model, seed)
    return model.eval()


def prefixed(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in module.state_dict().items()}


IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def write_siglip_pieces(path: Path, size: int = 70) -> None:
    """Train a few pieces with the special ids of SigLIP: padding 0, end 1, unknown 2."""
    import io

    import sentencepiece

    lines = [" ".join(WORDS.split()[start : start + 9]) for start in range(len(WORDS.split()) - 9)]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=size,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path.write_bytes(written.getvalue())


def write_random_siglip(folder: Path, *, seed: int = 0) -> Any:
    """Write a small SigLIP as its hub repositories are laid out.

    Returns:
        The `transformers.SiglipModel` with the same weights.
    """
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2}
    config = SiglipConfig(
        text_config=sizes | {"vocab_size": 70, "max_position_embeddings": 64},
        vision_config=sizes | {"image_size": 64, "patch_size": 16},
    )
    model = SiglipModel(config).eval()
    randomise(model, seed)
    write_json(folder / "config.json", config.to_dict())
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5] * 3,
            "image_processor_type": "SiglipImageProcessor",
            "image_std": [0.5] * 3,
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": 64, "width": 64},
        },
    )
    save(dict(model.state_dict()), folder / "model.safetensors")
    write_siglip_pieces(folder / "spiece.model")
    return model


def write_random_dinov2(folder: Path, *, seed: int = 0) -> Any:
    """Write a small DINOv2 as its hub repositories are laid out, and return transformers' model."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14
    )
    model = Dinov2Model(config).eval()
    randomise(model, seed)
    model.save_pretrained(folder)  # under the names of transformers 4, as published
    content = json.loads((folder / "config.json").read_text())
    content["torch_dtype"] = content.pop("dtype")
    write_json(folder / "config.json", content)
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": {"height": 56, "width": 56},
            "do_center_crop": True,
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "resample": 3,
            "size": {"shortest_edge": 64},
        },
    )
    return model


def write_random_timm(folder: Path, *, seed: int = 0) -> Any:
    """Write a small ResNet with a classifier as timm's hub repositories are laid out.

    Returns:
        The timm model with the same weights, without its classifier.
    """
    import timm

    name = "test_resnet.r160_in1k".partition(".")[0]
    model = timm.create_model(name, pretrained=False, num_classes=10).eval()
    randomise(model, seed)
    pretrained = {"input_size": [3, 64, 64], "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    pretrained |= {"interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center"}
    stated = {"num_classes": 10, "in_chans": 3, "global_pool": "avg"}  # newer releases repeat them
    said = {"architecture": name, "num_classes": 10, "model_args": stated}
    write_json(folder / "config.json", said | {"pretrained_cfg": pretrained})
    save(dict(model.state_dict()), folder / "model.safetensors")
    model.reset_classifier(0)
    return model
