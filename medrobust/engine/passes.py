"""What the engine asks of whoever wants a split encoded, and what it leaves behind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from medrobust.types import UInt8Array, UInt8Batch

if TYPE_CHECKING:
    from medrobust.datasets.image_set import ImageSet


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one pass over a split leaves behind.

    Attributes:
        features: (N, D), on the device of the encoder, in the order of the split.
        shown: Row -> the corrupted image, uint8 (C, H, W), for the rows asked for.
    """

    features: Tensor
    shown: Mapping[int, UInt8Array] = field(default_factory=dict)


class Pass(Protocol):
    """One pass over a split, from stored images to features.

    These four are all that the engine calls, in this order: `wanted` once, right before the first
    batch is read; `read` where images are read; `corrupt` for each batch, while earlier ones are
    encoded; `finished` once, in the thread that encodes. Passes follow one another in their order,
    and the first steps of the next one overlap the last ones of the one before.
    """

    @property
    def count(self) -> int:
        """Images."""
        ...

    @property
    def show(self) -> frozenset[int]:
        """Rows whose corrupted image is kept to be shown."""
        ...

    @property
    def clean(self) -> bool:
        """Whether it reads the clean images, which are the same in all passes that do."""
        ...

    def wanted(self) -> bool:
        """Say whether the pass is still wanted; False leaves it out."""
        ...

    @property
    def read(self) -> "Callable[[], ImageSet]":
        """What opens the images; it goes to the processes that read, and holds no more than that.

        Not a method, so that the rest of the pass stays where it is.
        """
        ...

    def corrupt(self, images: UInt8Batch, index: Tensor) -> UInt8Batch:
        """Return what becomes of uint8 (n, C, H, W), whose draws are keyed by int64 (n,)."""
        ...

    def finished(self, encoded: Encoded) -> None:
        """Take the features, once the last image is encoded."""
        ...
