"""What a head that pools reads of the shots: places of each image, or images of each patient."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.adapters.attention import bags
from medrobust.base.bags import labels_of, patients_of
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.loader import evaluation_loader
from medrobust.models.encoding import encode_patches_of


def places_of(
    model: Any, image_set: ImageSet, *, micro_batch: int, batch_size: int
) -> tuple[Tensor, int]:
    """Return the places of the last block, float32 (N, P, D) of unit norm, and its number."""
    block = int(model.patch_blocks)
    loader = evaluation_loader(image_set, batch_size=batch_size, num_workers=0)
    encoded = encode_patches_of(model, (batch.seen for batch in loader), [block], micro_batch)
    parts = [functional.normalize(patches[block].states, dim=-1).cpu() for _, patches in encoded]
    return torch.cat(parts).float(), block


def bagged(features: Tensor, data: ImageSet, by: str) -> tuple[Tensor, Tensor]:
    """Return the images of each patient side by side, (B, P, D), and the patients' labels."""
    codes = patients_of(data, "" if by == "groups" else by)
    return bags(features, torch.from_numpy(codes)), torch.from_numpy(labels_of(data, codes))
