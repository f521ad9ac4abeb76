"""Image quality: uint8 batches in, one number an image and measure out; knows no model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .measures import MEASURES, ImageQuality, Measure, known_measures

if TYPE_CHECKING:
    from .measuring import measure

__all__ = ["MEASURES", "ImageQuality", "Measure", "known_measures", "measure"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name == "measure":
        return import_module(".measuring", __name__).measure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
