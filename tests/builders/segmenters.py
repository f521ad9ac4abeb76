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
