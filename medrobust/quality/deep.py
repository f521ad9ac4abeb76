"""LPIPS and DISTS: how far features of a network of photographs move; weights from a folder."""

import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import WeightsMismatchError
from medrobust.types import UInt8Batch

LPIPS_SHIFT, LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of pixels from -1 to 1, before AlexNet."""

LPIPS_LAYERS = (1, 4, 7, 9, 11)
"""Of AlexNet's `features`: those whose answers are compared, after ReLU."""

DISTS_MEAN, DISTS_SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

DISTS_STAGES = ((0, 4), (5, 9), (10, 16), (17, 23), (24, 30))
"""Of VGG16's `features`, without its maxima, in whose place L2 pooling stands."""

DISTS_CHANNELS = (3, 64, 128, 256, 512, 512)

TINY = 1e-6


def lpips(clean: UInt8Batch, images: UInt8Batch, files: tuple[Path, ...]) -> Tensor:
    """Return the learned perceptual distance (AlexNet, version 0.1): 0 for the clean image.

    Args:
        clean: uint8 (N, C, H, W); grey is repeated.
        images: As `clean`.
        files: AlexNet of torchvision, and the weights of its layers.

    Returns:
        float64 (N,).

    Raises:
        WeightsMismatchError: If a file has other tensors.

    References:
        Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, 2018.
    """
    layers, weights = _lpips_parts(*files, clean.device)
    x, y = (_standard(i, LPIPS_SHIFT, LPIPS_SCALE, signed=True) for i in (clean, images))
    found = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        for number, layer in enumerate(layers[: LPIPS_LAYERS[-1] + 1]):
            x, y = layer(x), layer(y)
            if number in LPIPS_LAYERS:
                apart = (_unit(x) - _unit(y)) ** 2 * weights[LPIPS_LAYERS.index(number)]
                found += apart.sum(1).flatten(1).mean(1, dtype=torch.float64)
    return found


def _unit(features: Tensor) -> Tensor:
    """Divide the features of each place by their length."""
    return features / torch.sqrt(1e-8 + (features**2).sum(1, keepdim=True))


def dists(clean: UInt8Batch, images: UInt8Batch, files: tuple[Path, ...]) -> Tensor:
    """Return the distance of structure and texture (VGG16): 0 for the clean image.

    Args:
        clean: uint8 (N, C, H, W); grey is repeated.
        images: As `clean`.
        files: VGG16 of torchvision, and alpha and beta.

    Returns:
        float64 (N,).

    Raises:
        WeightsMismatchError: If a file has other tensors.

    References:
        Ding et al., Image quality assessment: unifying structure and texture similarity, 2020.
    """
    layers, alphas, betas = _dists_parts(*files, clean.device)
    with torch.no_grad(), torch.autocast(clean.device.type, enabled=False):
        x, y = (_stages(_pixels(i), layers) for i in (clean, images))
        alike = torch.zeros(len(clean), dtype=torch.float64, device=clean.device)
        for a, b, alpha, beta in zip(x, y, alphas, betas, strict=True):
            alike += _texture_and_structure(a, b, alpha, beta)
    return 1 - alike


def _texture_and_structure(x: Tensor, y: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return the weighted likeness of means and of deviations of each channel: float64 (N,)."""
    x, y = x.flatten(2).double(), y.flatten(2).double()
    mean_x, mean_y = x.mean(2), y.mean(2)
    shared = (x * y).mean(2) - mean_x * mean_y
    spread = x.var(2, correction=0) + y.var(2, correction=0)
    texture = (2 * mean_x * mean_y + TINY) / (mean_x**2 + mean_y**2 + TINY)
    return (alpha * texture + beta * (2 * shared + TINY) / (spread + TINY)).sum(1)


def _stages(pixels: Tensor, layers: Any) -> list[Tensor]:
    """Return pixels from 0 to 1, and what each stage of VGG16 answers."""
    found, x = [pixels], _scaled(pixels, DISTS_MEAN, DISTS_SCALE)
    for start, stop in DISTS_STAGES:
        if start:
            x = _pooled(x)
        for layer in layers[start:stop]:
            x = layer(x)
        found.append(x)
    return found


def _pooled(x: Tensor) -> Tensor:
    """Return the root of the mean square under a window of Hann, at every second place."""
    taps = torch.tensor([1.0, 2.0, 1.0], device=x.device) / 4
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
    found = functional.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1])
    return (found + 1e-12).sqrt()


def _pixels(images: UInt8Batch) -> Tensor:
    colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    return colour.float() / 255


def _standard(
    images: UInt8Batch, shift: tuple[float, ...], scale: tuple[float, ...], *, signed: bool
) -> Tensor:
    pixels = _pixels(images)
    return _scaled(2 * pixels - 1 if signed else pixels, shift, scale)


def _scaled(pixels: Tensor, shift: tuple[float, ...], scale: tuple[float, ...]) -> Tensor:
    down, by = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (shift, scale))
    return (pixels - down) / by


@lru_cache(maxsize=2)
def _lpips_parts(network: Path, head: Path, device: torch.device) -> tuple[Any, list[Tensor]]:
    layers = _features("alexnet", network, device)
    learnt = _tensors(head)
    names = [f"lin{k}.model.1.weight" for k in range(len(LPIPS_LAYERS))]
    _expect(head, names, learnt)
    return layers, [learnt[name].to(device) for name in names]


@lru_cache(maxsize=2)
def _dists_parts(
    network: Path, head: Path, device: torch.device
) -> tuple[Any, tuple[Tensor, ...], tuple[Tensor, ...]]:
    layers = _features("vgg16", network, device)
    learnt = _tensors(head)
    _expect(head, ["alpha", "beta"], learnt)
    alpha, beta = (learnt[name].detach().flatten().double() for name in ("alpha", "beta"))
    total = alpha.sum() + beta.sum()
    alphas, betas = (
        torch.split((each / total).to(device), list(DISTS_CHANNELS)) for each in (alpha, beta)
    )
    return layers, alphas, betas


def _features(name: str, path: Path, device: torch.device) -> Any:
    """Build the layers of a network of torchvision from its published file, every tensor of it."""
    from torchvision import models

    with torch.device("meta"):
        network = getattr(models, name)(weights=None)
    found = _tensors(path)
    _expect(path, list(network.state_dict()), found)
    try:
        network.load_state_dict(found, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"{path.name} has tensors of other shapes than {name} of torchvision."
        ) from error
    for layer in network.features:
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    return network.features.eval().requires_grad_(False).to(device)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsMismatchError(f"{path.name} cannot be read as a file of torch.") from error
    return dict(found)


def _expect(path: Path, names: list[str], found: dict[str, Tensor]) -> None:
    if missing := sorted(set(names) - set(found)):
        raise WeightsMismatchError(f"{path.name} has no {missing[0]}: it is another network's.")
    if more := sorted(set(found) - set(names)):
        raise WeightsMismatchError(f"{path.name} has {more[0]}, which the network has not.")
