"""Cells for methods that adapt a model while images come: small models, a head, keyed images."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.models.preprocess import Preprocess
from medrobust.models.zero_shot import ZeroShotHead

COUNT, CLASSES, SIZE = 8, 3, 24


class Small(nn.Module):
    """A tower of two blocks with both kinds of normalisation, random to the last weight."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.visual_encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2),
            nn.BatchNorm2d(6),
            nn.Sequential(nn.Conv2d(6, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(150, 12), nn.LayerNorm(12), nn.GELU()),
            nn.LayerNorm(12),
            nn.Linear(12, 5),
        )
        for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
        self.preprocess = Preprocess(SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
        self.eval()

    @property
    def image_blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.visual_encoder[2:4])

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode_image(self, pixels: Tensor) -> Tensor:
        return functional.normalize(self.visual_encoder(pixels), dim=1)


def images(seed: int = 0, count: int = COUNT) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8))


def head(scale: float = 5.0) -> ZeroShotHead:
    made = np.random.default_rng(1).normal(size=(CLASSES, 5))
    return ZeroShotHead(functional.normalize(torch.from_numpy(made).float(), dim=1), None, scale)


def no_source(split: str, count: int) -> Iterator[Tensor]:
    return iter(())


@dataclass
class Given:
    """A cell, as a session sees it."""

    model: Any = field(default_factory=Small)
    head: Any = field(default_factory=head)
    texts: Sequence[Sequence[str]] = ()
    stream: str = "toy/test"
    source: Callable[[str, int], Iterator[Tensor]] = no_source
    kept: dict[str, Any] = field(default_factory=dict)


def keys(count: int = COUNT) -> Any:
    return np.arange(10, 10 + count, dtype=np.int64)


def train_mode(model: Any) -> Any:
    """Return a copy whose batch normalisation goes by the batch, as the public code makes it."""
    made = copy.deepcopy(model)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    return made


def tuned(model: Any, *, without: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Return scale and shift of all normalisation layers of a model, by name."""
    kinds = (nn.BatchNorm2d, nn.LayerNorm)
    found = {
        f"{name}.{leaf}": getattr(module, leaf)
        for name, module in model.named_modules()
        if isinstance(module, kinds) and name not in without
        for leaf in ("weight", "bias")
    }
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False)
    for parameter in found.values():
        parameter.requires_grad_(requires_grad=True)
    return found


def answers(model: Any, pictures: Tensor) -> Tensor:
    logits: Tensor = head().logits(model.encode_image(model.preprocess(pictures)))
    return logits


def entropy(logits: Tensor) -> Tensor:
    """In plain words: -sum p ln p."""
    chances = torch.exp(logits) / torch.exp(logits).sum(dim=1, keepdim=True)
    return -(chances * torch.log(chances)).sum(dim=1)


def same(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), atol=tolerance, rtol=1e-4
    )
