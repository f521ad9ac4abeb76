"""Linear probes: shots are encoded once, and a classifier is fitted for each data set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medrobust.adapters.linear_probe import LinearProbe, Probe
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.sampling import FewShots
from medrobust.engine.loader import evaluation_loader
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import ImageModel
from medrobust.models.encoding import MicroBatcher


def fit_probes(
    recipe: LinearProbe, model: Any, drawn: Sequence[FewShots], name: str, **sizes: int
) -> dict[str, Probe]:
    """Fit a linear classifier on the features of each data set's shots.

    Args:
        recipe: How strongly its weights are held down.
        model: As published.
        drawn: Shots of each data set.
        name: Of the model.
        **sizes: As `encode` takes them.

    Raises:
        ConfigurationError: If the model gives no features.
    """
    if not isinstance(model, ImageModel):
        raise ConfigurationError(
            f"adapter=linear_probe needs image features, and {name} is a classifier that gives "
            f"none."
        )
    heads = {}
    for one in drawn:
        features = encode(model, one.shots, **sizes)
        labels = torch.from_numpy(one.shots.labels)
        kind, classes = one.shots.label_kind, len(one.shots.class_names)
        assert kind is not None  # a set without labels has no shots
        heads[one.shots.name] = recipe.fit(features, labels, kind, classes)
    return heads


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
    features = [one for batch in loader for one in batcher.push(batch.images)]
    return torch.cat([*features, *batcher.flush()]).float().cpu()
