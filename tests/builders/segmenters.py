"""Random checkpoints of published segmenters in their layouts, and the original model of each."""

from pathlib import Path
from typing import Any

import checkpoints

TOWER = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}


def write_random_clipseg(folder: Path, *, seed: int = 0) -> Any:
    """Write a small CLIPSeg as its hub repository is laid out, its input larger than CLIP's.

    Returns:
        The `transformers.CLIPSegForImageSegmentation` with the same weights.
    """
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    config = CLIPSegConfig(
        text_config=TOWER | {"intermediate_size": 48, "eos_token_id": 2},
        vision_config=TOWER | {"intermediate_size": 48, "image_size": 32, "patch_size": 16},
        projection_dim=24,
        reduce_dim=16,
        extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=48,
        use_complex_transposed_convolution=True,
    )
    model = CLIPSegForImageSegmentation(config).eval()
    checkpoints.randomise(model, seed)
    said = config.to_dict() | {"architectures": ["CLIPSegForImageSegmentation"]}
    checkpoints.write_json(folder / "config.json", said)
    checkpoints.write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": checkpoints.IMAGENET_MEAN,
            "image_processor_type": "ViTImageProcessor",
            "image_std": checkpoints.IMAGENET_STD,
            "processor_class": "CLIPSegProcessor",
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": 64, "width": 64},
        },
    )
    state = dict(model.state_dict())
    for tower, length in (("text", 77), ("vision", 5)):
        ids = checkpoints.torch.arange(length)[None]
        state[f"clip.{tower}_model.embeddings.position_ids"] = ids
    checkpoints.save(state, folder / "pytorch_model.bin")
    checkpoints.write_clip_tokenizer(folder)
    return model


def write_random_owl_vit(folder: Path, *, seed: int = 0) -> Any:
    """Write a small OWL-ViT as its hub repository is laid out.

    Returns:
        The `transformers.OwlViTForObjectDetection` with the same weights.
    """
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    config = OwlViTConfig(
        text_config=TOWER | {"intermediate_size": 48, "eos_token_id": 49407},
        vision_config=TOWER | {"intermediate_size": 48, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    model = OwlViTForObjectDetection(config).eval()
    checkpoints.randomise(model, seed)
    said = config.to_dict() | {"architectures": ["OwlViTForObjectDetection"]}
    checkpoints.write_json(folder / "config.json", said)
    checkpoints.write_json(
        folder / "preprocessor_config.json",
        {
            "do_center_crop": False,
            "do_normalize": True,
            "do_resize": True,
            "image_mean": checkpoints.CLIP_MEAN,
            "image_processor_type": "OwlViTImageProcessor",
            "image_std": checkpoints.CLIP_STD,
            "resample": 3,
            "size": {"height": 64, "width": 64},
        },
    )
    checkpoints.save(dict(model.state_dict()), folder / "pytorch_model.bin")
    checkpoints.write_clip_tokenizer(folder)
    return model


SAM_TOWER = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 64, "neck_chans": 16}
SAM_TOWER |= {"window_size": 3, "global_attn_indexes": [1]}

META_KEYS = (
    ("vision_encoder.", "image_encoder."),
    ("image_encoder.layers.", "image_encoder.blocks."),
    ("patch_embed.projection", "patch_embed.proj"),
    ("neck.conv1", "neck.0"),
    ("neck.layer_norm1", "neck.1"),
    ("neck.conv2", "neck.2"),
    ("neck.layer_norm2", "neck.3"),
    ("mask_embed.conv1", "mask_downscaling.0"),
    ("mask_embed.layer_norm1", "mask_downscaling.1"),
    ("mask_embed.conv2", "mask_downscaling.3"),
    ("mask_embed.layer_norm2", "mask_downscaling.4"),
    ("mask_embed.conv3", "mask_downscaling.6"),
    ("prompt_encoder.point_embed.", "prompt_encoder.point_embeddings."),
    ("upscale_conv1", "output_upscaling.0"),
    ("upscale_layer_norm", "output_upscaling.1"),
    ("upscale_conv2", "output_upscaling.3"),
    ("layer_norm", "norm"),
)
"""Pieces of keys of transformers, and what Meta's `modeling` calls them, in this order."""


def _meta_key(key: str) -> str:
    """Name a key of `transformers.SamModel` as `segment_anything` does."""
    if key == "shared_image_embedding.positional_embedding":
        return "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    for old, new in META_KEYS:
        key = key.replace(old, new)
    if "iou_prediction_head" in key or "hypernetworks" in key:
        head, _, tail = key.rpartition(".")
        place = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
        for old, new in place.items():
            if head.endswith(old):
                return f"{head.removesuffix(old)}{new}.{tail}"
    return key


def write_random_sam(folder: Path, name: str, *, seed: int = 0) -> Any:
    """Write a small Segment Anything, and the architecture that `config` names, into a folder.

    Args:
        folder: Gets `architecture.json` and the weights.
        name: "sam_vit_b_transformers" (`model.safetensors`), "sam_vit_b" (`sam_vit_b_01ec64.pth`)
            or "medsam_vit_b" (`medsam_vit_b.pth`), the latter two in Meta's layout.
        seed: Of the weights.

    Returns:
        The `transformers.SamModel` with the same weights.
    """
    from encoders import small
    from transformers import SamConfig, SamModel

    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_dim": 128}
    vision |= {"image_size": 64, "output_channels": 16, "num_pos_feats": 8}
    config = SamConfig(
        vision_config=vision | {"window_size": 3, "global_attn_indexes": [1]},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 128, "iou_head_hidden_dim": 16},
    )
    model = SamModel(config).eval()
    checkpoints.randomise(model, seed)
    model.tie_weights()
    small(folder, name, **SAM_TOWER)
    state = dict(model.state_dict())
    state.pop("prompt_encoder.shared_embedding.positional_embedding")
    if name == "sam_vit_b_transformers":
        checkpoints.save(state, folder / "model.safetensors")
        return model
    weights = "medsam_vit_b.pth" if name == "medsam_vit_b" else "sam_vit_b_01ec64.pth"
    checkpoints.save({_meta_key(key): value for key, value in state.items()}, folder / weights)
    return model


def write_random_sam2(folder: Path, kind: str, *, seed: int = 0) -> Any:
    """Write a small SAM 2 as transformers lays it out.

    Args:
        folder: Gets `config.json`, `preprocessor_config.json` and `model.safetensors`.
        kind: "sam2", or "sam2_video", whose file has a memory of earlier frames, too.
        seed: Of the weights.

    Returns:
        The `transformers.Sam2Model` with the same weights.
    """
    from transformers import Sam2Config, Sam2Model

    backbone = {"hidden_size": 8, "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1]}
    backbone |= {"embed_dim_per_stage": [8, 16, 32, 64], "global_attention_blocks": [3]}
    backbone |= {"window_size_per_stage": [4, 4, 4, 2], "num_attention_heads_per_stage": [1] * 4}
    vision = {"backbone_config": backbone | {"model_type": "sam2_hiera_det_model"}}
    vision |= {"backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 32}
    vision |= {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    prompts = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    decoder = {"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32}
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder | {"num_attention_heads": 4},
    )
    model = Sam2Model(config).eval()
    checkpoints.randomise(model, seed)
    state = dict(model.state_dict())
    if kind == "sam2_video":
        state["memory_attention.layer_norm.weight"] = checkpoints.torch.ones(32)
        state["no_object_pointer"] = checkpoints.torch.ones(1, 32)
    checkpoints.write_json(folder / "config.json", config.to_dict() | {"model_type": kind})
    checkpoints.write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": checkpoints.IMAGENET_MEAN,
            "image_processor_type": "Sam2ImageProcessorFast",
            "image_std": checkpoints.IMAGENET_STD,
            "mask_size": {"height": 16, "width": 16},
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": 64, "width": 64},
        },
    )
    checkpoints.save(state, folder / "model.safetensors")
    return model


def write_random_sam3(folder: Path, kind: str, *, seed: int = 0) -> Any:
    """Write a small SAM 3 as transformers lays it out.

    Args:
        folder: Gets `config.json`, `preprocessor_config.json` (for videos `processor_config.json`,
            in which it lies), CLIP's tokenizer and `model.safetensors`.
        kind: "sam3", or "sam3_video", whose file has a tracker, too.
        seed: Of the weights.

    Returns:
        The `transformers.Sam3Model` with the same weights.
    """
    from transformers import Sam3Config, Sam3Model

    backbone = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    backbone |= {"num_attention_heads": 2, "image_size": 64, "patch_size": 16, "window_size": 2}
    backbone |= {"global_attn_indexes": [1], "pretrain_image_size": 32}
    vision = {"backbone_config": backbone | {"model_type": "sam3_vit_model"}}
    vision |= {"fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "projection_dim": 16, "max_position_embeddings": 32}
    text |= {"model_type": "clip_text_model", "eos_token_id": 49407}
    part = {"hidden_size": 32, "num_attention_heads": 2}
    layers = part | {"num_layers": 2, "intermediate_size": 48}
    config = Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config=layers | {"num_queries": 5},
        mask_decoder_config=part,
    )
    model = Sam3Model(config).eval()
    checkpoints.randomise(model, seed)
    state = dict(model.state_dict())
    said = config.to_dict() | {"model_type": "sam3"}
    pictures = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Sam3ImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "mask_size": {"height": 16, "width": 16},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 64, "width": 64},
    }
    if kind == "sam3_video":
        said = {"model_type": kind, "detector_config": said}
        state = {f"detector_model.{key}": value for key, value in state.items()}
        state["tracker_neck.fpn_layers.0.weight"] = checkpoints.torch.ones(2)
        state["tracker_model.no_memory_embedding"] = checkpoints.torch.ones(1, 32)
        checkpoints.write_json(folder / "processor_config.json", {"image_processor": pictures})
    else:
        checkpoints.write_json(folder / "preprocessor_config.json", pictures)
    checkpoints.write_json(folder / "config.json", said)
    checkpoints.save(state, folder / "model.safetensors")
    checkpoints.write_clip_tokenizer(folder)
    return model
