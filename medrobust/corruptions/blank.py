"""Images that show nothing: what a model says of them does not come from a picture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from medrobust import keys

from .suites import SANITY

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

Images = TypeVar("Images")

VERSION = 1
GREY = 128
"""Every value of a blank image: middle grey."""


@dataclass(frozen=True, slots=True)
class NotAnImage:
    """Stands in the place of a `Corruption`: every image of a set becomes one that shows nothing.

    Attributes:
        computed: Always: from the shape of the clean images.
        name: "blank" (one grey) or "noise" (every value drawn on its own, 0 to 255 equally likely).
        suite: Always "sanity".
    """

    computed: ClassVar[bool] = True

    name: Literal["blank", "noise"]
    suite: str = SANITY

    def random(self, severity: int) -> bool:
        """Say whether draws are used: only then do seed and stream matter."""
        return self.name == "noise"

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels, besides seed, stream and index."""
        if self.name == "blank":
            return {"name": "blank image", "version": VERSION, "grey": GREY}
        return {"name": "noise image", "version": VERSION, "keys": keys.FORMAT}

    def images(self, clean: Images, severity: int) -> Images:
        """Return what is read to be replaced: the clean images."""
        return clean

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Return images of the same shape, dtype and device that show nothing.

        Args:
            images: uint8 (N, C, H, W); read for its shape alone.
            severity: Of no effect.
            seed: Of the noise.
            stream: Data set and split, for the noise.
            index: int64 (N,), row of each image in its source split.
        """
        import torch

        if self.name == "blank":
            return torch.full_like(images, GREY)
        draws = keys.Draws(keys.derive_key(seed, stream, "noise image", 0), index.cpu())
        count = images[0].numel()
        words = draws.words(-(-count // 4), images.device)
        parts = [words >> shift & 0xFF for shift in (0, 8, 16, 24)]
        values = torch.stack(parts, dim=2).reshape(len(images), -1)[:, :count]
        return values.to(torch.uint8).reshape(images.shape)


SANITY_IMAGES = (NotAnImage("blank"), NotAnImage("noise"))
