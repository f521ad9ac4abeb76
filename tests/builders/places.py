"""What the blocks of original libraries say of each place, by those libraries' own means."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def of_transformers(tower: Any, pixels: Tensor, first: int) -> list[Tensor]:
    """Read `output_hidden_states`, without the embeddings and the first tokens."""
    states = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    return [one[:, first:] for one in states[1:]]


def of_swin(tower: Any, pixels: Tensor) -> list[Tensor]:
    """Read the maps of each stage before it halves them, as its backbones give them out."""
    embedded, sides = tower.embeddings(pixels)
    maps = tower.encoder(
        embedded, sides, output_hidden_states=True, output_hidden_states_before_downsampling=True
    ).reshaped_hidden_states
    return [_flat(one) for one in maps[1:]]


def of_open_clip(tower: Any, pixels: Tensor) -> list[Tensor]:
    """Read `forward_intermediates`; of a ResNet, which has none, stage after stage."""
    if hasattr(tower, "transformer"):
        found = tower.forward_intermediates(pixels, output_fmt="NLC", intermediates_only=True)
        return list(found["image_intermediates"])
    return _stages(tower, tower.stem(pixels))


def of_timm(trunk: Any, pixels: Tensor) -> list[Tensor]:
    """Read `forward_intermediates`."""
    maps = trunk.forward_intermediates(pixels, intermediates_only=True)
    return [_flat(one) for one in maps]


def of_resnet(tower: Any, pixels: Tensor) -> list[Tensor]:
    """Go through the stages of torchvision's ResNet."""
    return _stages(tower, tower.maxpool(tower.relu(tower.bn1(tower.conv1(pixels)))))


def _stages(tower: Any, states: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        states = getattr(tower, name)(states)
        maps.append(states)
    return [_flat(one) for one in maps]


def _flat(one: Tensor) -> Tensor:
    """(N, D, h, w) -> (N, h w, D)."""
    return one.flatten(2).transpose(1, 2)


def gap(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Return the largest difference over all blocks, in units of the largest state of a block."""
    return max(
        float((one - other).abs().max() / other.abs().max().clamp(min=1))
        for one, other in zip(ours, truth, strict=True)
    )


def random_timm(name: str, **sizes: Any) -> Any:
    """Build a tower of timm with random weights, no classifier, in eval mode."""
    import timm
    from checkpoints import randomise

    tower = timm.create_model(name, pretrained=False, num_classes=0, **sizes).eval()
    randomise(tower, 0)
    return tower


def pixels_of(side: int, count: int = 2) -> Tensor:
    """Return seeded pixels (count, 3, side, side)."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))
