"""A released checkpoint of RobustMedCLIP as a folder that peft reads.

Layout of `model.pth`: see `medrobust.models.robustmedclip`. What has no counterpart in it, and how
it is represented:

- alpha is not stored and not used: updates have scale 1, so alpha is the rank;
- updates of keys are in `model.pth` alone and never began at zero: they are kept as they are, so
  that the adapter is no difference to what was tuned but to the published base model;
- the point-wise update beside a convolution is the middle of a kernel that is zero elsewhere;
- the ResNet's statistics of batch normalisation drifted while it was tuned: its normalisation
  layers go into the folder whole, as peft's `modules_to_save`;
- the logit scale is not stored: the base model's own takes its place;
- what the base model was is not stored either: the hash of the weights that lie beside the updates,
  which stayed as published, is in the folder's record, and another base model is refused by it.
"""

import json
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from medrobust.exceptions import WeightsMismatchError
from medrobust.models.robustmedclip import ADAPTER, WORDS, Vision, merge

from .artifact import RECORD, record_of
from .lora import CONFIG, ON_DISK, WEIGHTS, digest_of_updated

BASES: Mapping[Vision, str] = {"vit": WORDS["vit"], "resnet": "RyanWangZf/MedCLIP"}
"""Vision -> what was tuned."""

NAMES: Mapping[Vision, str] = {"vit": "biomedclip", "resnet": "medclip_resnet50"}
"""Vision -> the same by its file in conf/model."""

ADVICE: Mapping[Vision, str] = {
    "vit": "model=biomedclip",
    "resnet": "model=medclip_resnet50 model.inputs=robustmedclip",
}
"""Vision -> what evaluates it here."""

PLACES: Mapping[Vision, tuple[str, str]] = {
    "vit": (
        r"lora_vit\.lora_vit\.trunk\.blocks\.(\d+)\.attn\.qkv",
        r"visual_encoder.trunk.layers.\1.attention.{part}_proj",
    ),
    "resnet": (r"lora_resnet\.lora_medclip\.(model\..+)", r"visual_encoder.\1"),
}
"""Vision -> an adapted layer of `model.pth`, and its name in the model."""

TARGETS: Mapping[Vision, str] = {
    "vit": r"visual_encoder\.trunk\.layers\.\d+\.attention\.[qkv]_proj",
    "resnet": r"visual_encoder\.model\.(conv1|layer\d\.\d+\.conv[123])",
}
STATISTIC = re.compile(r"lora_resnet\.lora_medclip\.(model\..+)\.running_mean")


def peft_files(state: Mapping[str, Tensor], vision: Vision, *, file: str) -> dict[str, bytes]:
    """Return the files of a folder for `PeftModel.from_pretrained`: name -> content.

    Args:
        state: Content of `model.pth`.
        vision: "vit" (on BiomedCLIP) or "resnet" (on the ResNet of MedCLIP).
        file: Name, for messages.

    Raises:
        WeightsMismatchError: If the file has no adapters, adapters alone, or adapters of several
            ranks.
    """
    from safetensors.torch import save

    adapters = [match for match in map(ADAPTER.fullmatch, state) if match]
    ranks = {len(state[match.string]) for match in adapters if match["side"] == "a"}
    if len(ranks) > 1:
        raise WeightsMismatchError(f"{file} holds adapters of ranks {sorted(ranks)}.")
    rank = ranks.pop() if ranks else 0
    merge(state, vision, rank, file=file)  # refuses what is incomplete
    found = {
        f"{ON_DISK}{_place(vision, match, file)}.lora_{match['side'].upper()}.weight": _shaped(
            state, match
        )
        for match in adapters
    }
    if not found:
        raise WeightsMismatchError(f"{file} holds no adapters of RobustMedCLIP ({vision}).")
    whole = [
        match[1] for key in state if vision == "resnet" and (match := STATISTIC.fullmatch(key))
    ]
    for layer in whole:
        before = f"lora_resnet.lora_medclip.{layer}."
        found |= {
            f"{ON_DISK}visual_encoder.{layer}.{key.removeprefix(before)}": value
            for key, value in state.items()
            if key.startswith(before)
        }
    saved = [f"visual_encoder.{layer}" for layer in whole]
    files = {
        WEIGHTS: save({name: value.detach().contiguous() for name, value in found.items()}),
        CONFIG: _config(vision, rank, saved),
    }
    updated = digest_of_updated(
        {_place(vision, match, file): _beside(state, match) for match in adapters}
    )
    record = {
        "name": f"robustmedclip_{vision} rank {rank}",
        "kind": "lora",
        "base": {"name": NAMES[vision], "source": BASES[vision], "updated": updated},
    }
    return {
        **files,
        RECORD: record_of(files, record),
        "README.md": _card(vision, rank, updated).encode(),
    }


def _place(vision: Vision, match: re.Match[str], file: str) -> str:
    pattern, name = PLACES[vision]
    found = re.fullmatch(pattern, match["layer"])
    if found is None:
        raise WeightsMismatchError(
            f"{file} is no checkpoint of RobustMedCLIP ({vision}): {match['layer']} is adapted."
        )
    return found.expand(name).format(part=match["part"])


def _beside(state: Mapping[str, Tensor], match: re.Match[str]) -> Tensor:
    """Return the weight that an update is added to: of a fused projection, its part."""
    if not match["part"]:
        return state[f"{match['layer']}.conv.weight"]
    return state[f"{match['layer']}.qkv.weight"].chunk(3)["qkv".index(match["part"])]


def _shaped(state: Mapping[str, Tensor], match: re.Match[str]) -> Tensor:
    """Return a matrix in the shape of the layer that peft puts beside the adapted one."""
    value = state[match.string].float()
    if match["part"]:
        return value
    if match["side"] == "b":
        return value[:, :, None, None]
    kernel = state[f"{match['layer']}.conv.weight"].shape[2:]
    spread = torch.zeros(*value.shape, *kernel)
    spread[:, :, kernel[0] // 2, kernel[1] // 2] = value
    return spread


def _config(vision: Vision, rank: int, saved: list[str]) -> bytes:
    from peft import LoraConfig

    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=TARGETS[vision],
        modules_to_save=saved or None,
        base_model_name_or_path=BASES[vision],
        inference_mode=True,
    )
    return (json.dumps(config.to_dict(), indent=1, sort_keys=True, default=str) + "\n").encode()


def _card(vision: Vision, rank: int, updated: str) -> str:
    more = (
        " Its normalisation layers are in the folder whole: their statistics drifted in tuning."
        if vision == "resnet"
        else ""
    )
    return (
        f"---\nbase_model: {BASES[vision]}\nlibrary_name: peft\nlicense: unknown\n---\n\n"
        f"# RobustMedCLIP ({vision}, rank {rank}) as an adapter of peft\n\n"
        f"Converted from a released `model.pth` of razaimam45/RobustMedCLIP (arXiv:2505.15425), "
        f"whose license is not stated. Scale 1 (alpha = rank), updates of the keys as they were "
        f"saved, logit scale of the base model.{more}\n\n"
        f"- base model: {BASES[vision]}, updated weights {updated[:12]}\n\n"
        f"    medrobust {ADVICE[vision]} model.adapter=FOLDER\n"
    )
