"""Class texts of all sets that are tuned on, side by side: `tuning.label_space=joint`."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead

Head: TypeAlias = ZeroShotHead | IdentityHead
Joint: TypeAlias = tuple[Tensor, tuple[int, ...]]
"""Class features of all sets, side by side, and where each set begins."""


def joint_classes(heads: Sequence[Head], shots: Sequence[ImageSet]) -> Joint:
    """Lay the classes of all sets side by side: features (K, D), and where each set begins.

    Raises:
        ConfigurationError: If a set has several labels an image, or two classes share one text.
    """
    firsts: list[int] = []
    features: list[Tensor] = []
    names: list[str] = []
    for head, image_set in zip(heads, shots, strict=True):
        if not isinstance(head, ZeroShotHead) or image_set.labels.ndim == 2:
            raise ConfigurationError(
                f"tuning.label_space=joint is for class texts of one label an image; "
                f"{image_set.name} has others. Choose per_dataset."
            )
        firsts.append(len(names))
        features.append(head.present)
        names += [f"{name!r} of {image_set.name}" for name in image_set.texts]
    together = torch.cat(features)
    cosine = together @ together.T - 2 * torch.eye(len(together), device=together.device)
    if len(names) > 1 and float(cosine.max()) > 1 - 1e-6:
        first, second = divmod(int(cosine.argmax()), len(names))
        raise ConfigurationError(
            f"tuning.label_space=joint: {names[first]} and {names[second]} have the same text, so "
            f"that they could not be told apart. Use prompts that name the data set "
            f"(prompts=paper), or label_space=per_dataset."
        )
    return together, tuple(firsts)
