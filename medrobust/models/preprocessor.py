"""The `preprocessor_config.json` of transformers, read as a `Preprocess`."""

from pathlib import Path
from typing import Any, TypeAlias

from medrobust.exceptions import WeightsMismatchError

from .preprocess import Fit, Preprocess
from .resample import Interpolation
from .settings import check_number, read_settings

FILTERS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Numbers of Pillow's filters."""

Channels: TypeAlias = tuple[float, float, float]

DEFAULT_FILTER = 3


def read_preprocess(path: Path, image_size: int | None) -> Preprocess:
    """Read how a model of transformers wants its images.

    Two forms are known: the shortest side resized and the centre cropped (CLIP, DINOv2), and both
    sides squashed to the input size (SigLIP, ViT).

    Args:
        path: `preprocessor_config.json`, or `processor_config.json`, which holds it.
        image_size: Side of the input that the model's own configuration states; None: the model
            takes any (DINOv2 is trained at another size than it is used at).

    Raises:
        WeightsMismatchError: If it asks for something else, or for another input size.
    """
    values = read_settings(path)
    inner = values.get("image_processor")  # of a processor_config.json
    values = inner if isinstance(inner, dict) else values
    for key in ("rescale_factor", "resample"):
        check_number(values, key, path.name)
    cropped = values.get("do_center_crop", "crop_size" in values)
    size, crop = values.get("size"), values.get("crop_size") if cropped else None
    kind = values.get("resample", DEFAULT_FILTER)
    fit, resize, side = _fit(size, crop)
    asked = all(values.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize"))
    scaled = abs(values.get("rescale_factor", 1 / 255) * 255 - 1) < 1e-6
    known = kind in FILTERS and image_size in (side, None) and asked and scaled
    if side is None or resize is None or resize < side or not known:
        raise WeightsMismatchError(
            f"{path.name} asks for size {size}, crop {crop} and resampling {kind}, for a model of "
            f"{image_size} pixels: only a resize (bilinear 2 or bicubic 3) with a centre crop or "
            f"a squash to that size, and normalisation, are known."
        )
    return Preprocess(
        side,
        *channels(values.get("image_mean"), values.get("image_std"), path.name),
        interpolation=FILTERS[kind],
        fit=fit,
        resize=None if resize == side else resize,
    )


def channels(mean: Any, std: Any, file: str) -> tuple[Channels, Channels]:
    """Check the normalisation that a file asks for.

    Args:
        mean: Three numbers of [0, 1].
        std: Three numbers of (0, 1].
        file: Where they were read, for the message.

    Raises:
        WeightsMismatchError: If they are something else.
    """
    for name, values in (("mean", mean), ("std", std)):
        listed = values if isinstance(values, list | tuple) else []
        numbers = [v for v in listed if isinstance(v, int | float) and not isinstance(v, bool)]
        sound = all(0 <= v <= 1 and (name == "mean" or v > 0) for v in numbers)
        if len(listed) != 3 or len(numbers) != 3 or not sound:
            large = any(v > 1 for v in numbers)
            hint = " These seem to be of pixels from 0 to 255: divide by 255." if large else ""
            raise WeightsMismatchError(
                f"{file} asks for the {name} {values} of an image's channels, where three numbers "
                f"from 0 to 1 are needed{'' if name == 'mean' else ', none of them 0'}.{hint} "
                f"Fetch it again, or correct it."
            )
    return tuple(mean), tuple(std)


def _fit(size: Any, crop: Any) -> tuple[Fit, int | None, int | None]:
    """Return the fit, the side that is resized to, and the side that comes out."""
    if crop is not None:
        return "shortest", _side(size), _side(crop)
    squashed = not isinstance(size, dict) or "shortest_edge" not in size
    return ("squash" if squashed else "shortest"), _side(size), _side(size)


def _side(value: Any) -> int | None:
    """Return the side of a size, which is written as a number or as a table of equal sides."""
    sides = set(value.values()) if isinstance(value, dict) else {value}
    side = sides.pop() if len(sides) == 1 else None
    return side if isinstance(side, int) else None
