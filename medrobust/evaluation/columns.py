"""What every column of a table can say and do, whether its images are computed or read."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from medrobust.datasets.image_set import ImageSet
    from medrobust.types import IndexBatch, UInt8Batch


class Column(Protocol):
    """Corrupted images of a split: computed, read from published files, or showing nothing."""

    @property
    def name(self) -> str:
        """Of the corruption."""
        ...

    @property
    def suite(self) -> str | None:
        """Where its parameters come from; with the name it identifies the column."""
        ...

    @property
    def computed(self) -> bool:
        """Whether the clean images are read and corrupted; else corrupted ones are read."""
        ...

    def random(self, severity: int) -> bool:
        """Say whether draws are used: only then do seed and stream matter."""
        ...

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels, besides seed, stream and index.

        Args:
            severity: 1 to 5.
            shape: Height and width of the images.
        """
        ...

    def images(self, clean: "ImageSet", severity: int) -> "ImageSet":
        """Return what is read: the clean images, or those of a file."""
        ...

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Corrupt what was read, uint8 (N, C, H, W); of a file nothing is left to do."""
        ...
