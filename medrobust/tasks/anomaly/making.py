"""Heads that give maps, made from the model, sentences and normal images. Imports torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medrobust.models.encoding import encode_patches_of
from medrobust.models.zero_shot import class_features
from medrobust.tasks.base import HeadDescription, ModelSide
from medrobust.tasks.map_view import view_of
from medrobust.tasks.other_images import batches, on_device, other_split
from medrobust.tasks.text_side import text_model

from .maps import DistanceScorer, MapHead, MeanScorer, ScaledScorer, Scorer, StateScorer, scaled
from .normals import KIND, SCALED_BY, drawn, shots
from .scorers.bank import BankBuilder
from .scorers.gaussian import GaussianBuilder
from .windowed import WindowScorer


def map_head(side: ModelSide, description: HeadDescription, data: Any, purpose: str) -> MapHead:
    """Make the head that a description with maps stands for.

    Normal images are encoded on a GPU if there is one.

    Args:
        side: The model.
        description: Of the head.
        data: Any split of the set, which opens the others.
        purpose: What the model cannot do without a text side, for messages.
    """
    made = [
        _MAKERS[name](side, description, data, purpose) for name in _parts(description["scorer"])
    ]
    maps = description["maps"]
    normal = drawn(other_split(data, "val", KIND), description["normal"], SCALED_BY, 0)
    model = on_device(side)
    keep_scores = len(made) == 1 and description["scorer"] == "prompts"
    parts: list[ScaledScorer] = []
    for scorer in made:
        encoded = encode_patches_of(
            model, batches(normal, model.device), scorer.blocks, side.source.micro_batch
        )
        parts.append(scaled(scorer, encoded, scores=not keep_scores))
    scorer = parts[0] if len(parts) == 1 else MeanScorer(parts)
    view = view_of(model.preprocess, data.images.shape[1])
    return MapHead(scorer, view, keep_all=bool(maps.get("kept")))


def _parts(scorer: str) -> Sequence[str]:
    return ("prompts", "memory_bank") if scorer == "combined" else (scorer,)


def _states(side: ModelSide, description: HeadDescription, data: Any, purpose: str) -> StateScorer:
    model = text_model(side, purpose)
    model.to("cpu", torch.float32)
    states = class_features(model, description["texts"])
    return StateScorer(states, float(model.logit_scale), description["maps"]["blocks"])


def _windows(
    side: ModelSide, description: HeadDescription, data: Any, purpose: str
) -> WindowScorer:
    model = text_model(side, purpose)
    model.to("cpu", torch.float32)
    states = class_features(model, description["texts"])
    (block,) = description["maps"]["blocks"]
    encoded = description["scorer"] == "encoded_windows"
    return WindowScorer(states, float(model.logit_scale), block, encoded=encoded)


def _bank(side: ModelSide, description: HeadDescription, data: Any, purpose: str) -> Scorer:
    chosen = description["normals"]
    images = shots(data, description["normal"], chosen["shots"], chosen["seed"])
    builder = BankBuilder(
        images.index, size=chosen["size"], seed=chosen["seed"], metric=chosen["metric"]
    )
    return _fitted(side, description, images, builder)


def _gaussians(side: ModelSide, description: HeadDescription, data: Any, purpose: str) -> Scorer:
    chosen = description["normals"]
    images = shots(data, description["normal"], chosen["shots"], chosen["seed"])
    builder = GaussianBuilder(images.index, seed=chosen["seed"])
    return _fitted(side, description, images, builder)


def _fitted(
    side: ModelSide,
    description: HeadDescription,
    images: Any,
    builder: BankBuilder | GaussianBuilder,
) -> DistanceScorer:
    model, start = on_device(side), 0
    encoded = encode_patches_of(
        model,
        batches(images, model.device),
        description["maps"]["blocks"],
        side.source.micro_batch,
    )
    for features, patches in encoded:
        index = images.index[start : start + len(features)].tolist()
        builder.add(index, {block: level.states for block, level in patches.items()})
        start += len(features)
    return DistanceScorer(builder.finish())


_MAKERS: dict[str, Callable[[ModelSide, HeadDescription, Any, str], Scorer]] = {
    "prompts": _states,
    "windows": _windows,
    "encoded_windows": _windows,
    "memory_bank": _bank,
    "gaussian": _gaussians,
}
