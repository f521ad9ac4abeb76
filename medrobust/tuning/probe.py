"""Heads: shots are encoded once, and a classifier is fitted on their features for each data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.adapters import HeadRecipe
from medrobust.adapters.nearest_neighbours import Neighbours
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.sampling import FewShots
from medrobust.engine.loader import evaluation_loader
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import ImageModel
from medrobust.models.encoding import MicroBatcher

from .parts import bagged, places_of


def fit_probes(
    recipe: HeadRecipe, model: Any, drawn: Sequence[FewShots], name: str, **sizes: int
) -> dict[str, nn.Module]:
    """Fit a head on the features of each data set's shots.

    Args:
        recipe: What is fitted.
        model: As published.
        drawn: Shots of each data set, and images beside them.
        name: Of the model.
        **sizes: As `encode` takes them.

    Raises:
        ConfigurationError: If the model gives no features.
    """
    check_gives_features(model, f"adapter={recipe.name}", name)
    heads = {}
    for one in drawn:
        if hasattr(recipe, "reads"):
            heads[one.shots.name] = _fit_pooled(recipe, model, one.shots, **sizes)
            continue
        features, labels = _encoded(model, one.shots, **sizes)
        kind, classes = one.shots.label_kind, len(one.shots.class_names)
        assert kind is not None  # a set without labels has no shots
        chosen = None
        if recipe.needs_selection and one.selection is not None:
            chosen = _encoded(model, one.selection, **sizes)
        heads[one.shots.name] = recipe.fit(features, labels, kind, classes, chosen)
    return heads


def check_gives_features(model: Any, asking: str, name: str) -> None:
    """Refuse a classifier, on whose logits no head is fitted.

    Raises:
        ConfigurationError: Naming what asks, and the model.
    """
    if not isinstance(model, ImageModel):
        raise ConfigurationError(
            f"{asking} needs image features, and {name} is a classifier that gives none."
        )


def _fit_pooled(recipe: Any, model: ImageModel, shots: ImageSet, **sizes: int) -> nn.Module:
    """Fit a head that pools places of an image, or images of a patient."""
    kind, classes = shots.label_kind, len(shots.class_names)
    if recipe.reads == "patches":
        places, block = places_of(model, shots, **sizes)
        head: nn.Module = recipe.fit(places, torch.from_numpy(shots.labels), kind, classes)
        head.get_buffer("block").fill_(block)
        return head
    together, labels = bagged(encode(model, shots, **sizes), shots, recipe.by)
    fitted: nn.Module = recipe.fit(together, labels, kind, classes)
    return fitted


def measured_heads(heads: Mapping[str, nn.Module], of: str = "") -> dict[str, Any]:
    """Say for the card of an artifact what was fitted: numbers of weights, or of neighbours.

    Args:
        heads: One a data set.
        of: What they are part of, where something else was trained as well.
    """
    voting = {name: head for name, head in heads.items() if isinstance(head, Neighbours)}
    if voting:
        return {f"neighbours of {name}": int(head.neighbours) for name, head in voting.items()}
    told = f"fitted numbers of the {of}" if of else "trained parameters"
    return {told: sum(v.numel() for h in heads.values() for v in h.buffers())}


def _encoded(model: ImageModel, image_set: ImageSet, **sizes: int) -> tuple[Tensor, Tensor]:
    """Return features and labels."""
    return encode(model, image_set, **sizes), torch.from_numpy(image_set.labels)


def encode(model: ImageModel, image_set: ImageSet, *, micro_batch: int, batch_size: int) -> Tensor:
    """Encode a set on the CPU or wherever the model is: float32 (N, D).

    Args:
        model: Frozen.
        image_set: Read in its own order.
        micro_batch: Images a forward pass.
        batch_size: Images read at a time; changes no number.
    """
    batcher = MicroBatcher(model, micro_batch)
    loader = evaluation_loader(image_set, batch_size=batch_size, num_workers=0)
    features = [one for batch in loader for one in batcher.push(batch.seen)]
    return torch.cat([*features, *batcher.flush()]).float().cpu()
