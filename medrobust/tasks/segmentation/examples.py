"""Training images with masks, for models that are prompted by examples. Imports torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medrobust.base.fingerprints import fingerprint
from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import encode_patches_of
from medrobust.models.patches import PatchFeatures, PatchLevel
from medrobust.models.segmenter import Examples
from medrobust.tasks.base import HeadDescription, ModelSide
from medrobust.tasks.chosen import spread
from medrobust.tasks.other_images import batches, on_device, other_split

READ = 64
"""Masks that are read at a time to find those that show a class."""


def of_examples(data: Any, classes: Sequence[str], images: int, seed: int) -> dict[str, Any]:
    """Say which training images are shown of each class.

    Args:
        data: Any split of the set.
        classes: Names, the background first.
        images: That are shown of each, at most.
        seed: Of their draw.

    Raises:
        ConfigurationError: If a class is in none of them, or the set has no train split.
    """
    drawn = _drawn(data, len(classes), images, seed)
    for name, one in zip(classes[1:], drawn, strict=True):
        if one is None:
            raise ConfigurationError(
                f"no mask of the train split of data set {data.name!r} shows {name!r}, and the "
                f"model outlines by examples: choose another set or model."
            )
    named = [fingerprint([one.fingerprint, one.ids.tolist()]) for one in drawn]
    return {"examples": {"images": images, "seed": seed, "train": named}}


def _drawn(data: Any, classes: int, images: int, seed: int) -> list[Any]:
    """Return some training images that show each class, the fewer among the more; None: none do."""
    train = other_split(data, "train", "segmentation")
    parts = (train.target.classes(slice(at, at + READ)) for at in range(0, len(train), READ))
    shows = np.concatenate(
        [[(part == kind).any(axis=(1, 2)) for kind in range(1, classes)] for part in parts], axis=1
    )
    found = []
    for rows in map(np.flatnonzero, shows):
        kept = rows[np.isin(train.index[rows], spread(train.index[rows], images, seed))]
        found.append(train.take(kept, fingerprint=train.fingerprint) if len(kept) else None)
    return found


def shown_examples(side: ModelSide, said: HeadDescription, data: Any) -> list[Examples]:
    """Encode the examples of each class that a head names."""
    model, found = on_device(side), []
    drawn = _drawn(data, len(said["train"]) + 1, said["images"], said["seed"])
    for kind, images in enumerate(drawn, 1):
        read = batches(images, model.device)
        seen = encode_patches_of(model, read, [1], side.source.micro_batch)
        levels = [patches[1] for _, patches in seen]
        states = torch.cat([level.states.cpu() for level in levels])
        level = PatchLevel(1, states, levels[0].grid, tokens=False)
        masks = np.asarray(images.target.classes(slice(0, len(images)))) == kind
        found.append(Examples(PatchFeatures([level]), torch.from_numpy(masks)))
    return found
