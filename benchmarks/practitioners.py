"""What one would pick today: operations of the same kind, as near to severity 3 as they go."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

Call = Callable[[Any], Any]


def libraries() -> dict[str, str | None]:
    """Give the versions of the libraries, None for those that are not installed."""
    return {
        name: version(name) if find_spec(name) else None
        for name in ("albumentations", "torchvision", "kornia")
    }


def operations() -> Iterator[tuple[str, str, str, Call]]:
    """Yield (corruption, library, operation, call) for what is installed.

    Calls take uint8 images: (H, W, 3) arrays for albumentations, (3, H, W) tensors for
    torchvision, (1, 3, H, W) tensors, turned to floats and back, for kornia.
    """
    found = libraries()
    if found["albumentations"]:
        for corruption, name, transform in _albumentations():
            yield corruption, "albumentations", name, _keyword(transform)
    if found["torchvision"]:
        for corruption, name, call in _torchvision():
            yield corruption, "torchvision", name, call
    if found["kornia"]:
        for corruption, name, module in _kornia():
            yield corruption, "kornia", name, _floats(module)


def as_input(library: str, image: np.ndarray) -> Any:
    """Bring an image (H, W, 3) into the form that a library takes."""
    import torch

    if library == "albumentations":
        return image
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return tensor if library == "torchvision" else tensor[None]


def _keyword(transform: Any) -> Call:
    return lambda image: transform(image=image)["image"]


def _floats(module: Any) -> Call:
    return lambda image: (module(image.float() / 255) * 255).clamp(0, 255).byte()


def _albumentations() -> list[tuple[str, str, Any]]:
    import albumentations as a

    made = {
        "gaussian_noise": a.GaussNoise(std_range=(0.18, 0.18), p=1),
        "shot_noise": a.ShotNoise(scale_range=(0.1, 0.1), p=1),
        "impulse_noise": a.SaltAndPepper(amount=(0.09, 0.09), salt_vs_pepper=(0.5, 0.5), p=1),
        "speckle_noise": a.MultiplicativeNoise(
            multiplier=(0.65, 1.35), per_channel=True, elementwise=True, p=1
        ),
        "defocus_blur": a.Defocus(radius=(6, 6), alias_blur=(0.5, 0.5), p=1),
        "glass_blur": a.GlassBlur(sigma=1, max_delta=2, iterations=3, mode="fast", p=1),
        "motion_blur": a.MotionBlur(blur_limit=(31, 31), p=1),
        "zoom_blur": a.ZoomBlur(max_factor=(1.22, 1.22), step_factor=(0.02, 0.02), p=1),
        "snow": a.RandomSnow(method="texture", p=1),
        "fog": a.RandomFog(p=1),
        "brightness": a.ColorJitter((1.3, 1.3), (1, 1), (1, 1), (0, 0), p=1),
        "contrast": a.ColorJitter((1, 1), (0.3, 0.3), (1, 1), (0, 0), p=1),
        "saturate": a.HueSaturationValue((0, 0), (60, 60), (0, 0), p=1),
        "elastic_transform": a.ElasticTransform(
            alpha=21, sigma=2.24, noise_distribution="uniform", p=1
        ),
        "pixelate": a.Downscale(scale_range=(0.4, 0.4), p=1),
        "jpeg_compression": a.ImageCompression(quality_range=(15, 15), p=1),
        "gaussian_blur": a.GaussianBlur(blur_limit=(25, 25), sigma_limit=(3, 3), p=1),
        "spatter": a.Spatter(p=1),
    }
    return [(key, type(transform).__name__, transform) for key, transform in made.items()]


def _torchvision() -> list[tuple[str, str, Call]]:
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as f

    return [
        ("gaussian_noise", "GaussianNoise", _unit(v2.GaussianNoise(0, 0.18))),
        ("brightness", "adjust_brightness", lambda image: f.adjust_brightness(image, 1.3)),
        ("contrast", "adjust_contrast", lambda image: f.adjust_contrast(image, 0.3)),
        ("saturate", "adjust_saturation", lambda image: f.adjust_saturation(image, 2.0)),
        ("elastic_transform", "ElasticTransform", v2.ElasticTransform(21.0, 2.24)),
        ("jpeg_compression", "jpeg", lambda image: f.jpeg(image, 15)),
        ("gaussian_blur", "gaussian_blur", lambda image: f.gaussian_blur(image, [25, 25], [3, 3])),
    ]


def _unit(transform: Any) -> Call:
    return lambda image: (transform(image.float() / 255) * 255).byte()


def _kornia() -> list[tuple[str, str, Any]]:
    from kornia import augmentation as k

    return [
        ("gaussian_noise", "RandomGaussianNoise", k.RandomGaussianNoise(std=0.18, p=1)),
        ("impulse_noise", "RandomSaltAndPepperNoise", k.RandomSaltAndPepperNoise(0.09, 0.5, p=1)),
        ("motion_blur", "RandomMotionBlur", k.RandomMotionBlur(31, 45.0, 1.0, p=1)),
        ("snow", "RandomSnow", k.RandomSnow(p=1)),
        ("brightness", "RandomBrightness", k.RandomBrightness((1.3, 1.3), p=1)),
        ("contrast", "RandomContrast", k.RandomContrast((0.3, 0.3), p=1)),
        ("saturate", "RandomSaturation", k.RandomSaturation((2.0, 2.0), p=1)),
        ("jpeg_compression", "RandomJPEG", k.RandomJPEG((15.0, 15.0), p=1)),
        ("gaussian_blur", "RandomGaussianBlur", k.RandomGaussianBlur((25, 25), (3.0, 3.0), p=1)),
    ]
