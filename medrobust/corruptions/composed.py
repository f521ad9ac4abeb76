"""Two corruptions of an image, one after the other, as one column."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .config import Corruption
from .suites import PAIRS, THEN

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

Images = TypeVar("Images")


@dataclass(frozen=True, slots=True)
class ComposedCorruption:
    """The second corruption of what the first one leaves; in no table.

    Both are of pictures, or both of stored values. Each has the draws that it has alone, so that a
    composed picture begins as the picture of the first one does.

    Attributes:
        computed: Always: from the clean images.
        first: Expanded, as is the second.
        second: Of another name.
        levels: Severity of each, 1 to 5.
    """

    computed: ClassVar[bool] = True

    first: Corruption
    second: Corruption
    levels: tuple[int, int]

    @property
    def name(self) -> str:
        """Of both, in their order."""
        return f"{self.first.name}{THEN}{self.second.name}"

    @property
    def suite(self) -> str:
        """That of the first, and that they are two."""
        return f"{self.first.suite}{PAIRS}"

    @property
    def level(self) -> int:
        """The higher severity of the two, what cells are filed under."""
        return max(self.levels)

    def random(self, severity: int) -> bool:
        """Say whether draws are used."""
        return self.first.random(self.levels[0]) or self.second.random(self.levels[1])

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels: those of both, in their order.

        Args:
            severity: Of no effect.
            shape: As in `Corruption.identity`.
        """
        parts = zip((self.first, self.second), self.levels, strict=True)
        return {
            "name": self.name,
            "levels": list(self.levels),
            "composed": [one.identity(level, shape) for one, level in parts],
        }

    def images(self, clean: Images, severity: int) -> Images:
        """Return what is read to be corrupted: the clean images."""
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
        """Corrupt a batch twice; see `corrupt`. Stored values are shown once, at the end."""
        if self.first.domain == "stored":
            pair = zip((self.first, self.second), self.levels, strict=True)
            steps = [one.step(level, seed=seed, stream=stream) for one, level in pair]
            return self.first.of_stored(images, steps, index)
        for one, level in zip((self.first, self.second), self.levels, strict=True):
            images = one(images, severity=level, seed=seed, stream=stream, index=index)
        return images
