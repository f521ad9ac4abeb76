"""What the engine asks of whoever wants a split encoded, and what it leaves behind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from torch import Tensor

from medrobust.types import Int64Array, UInt8Array, UInt8Batch

if TYPE_CHECKING:
    from medrobust.models.encoding import ImageEncoder
    from medrobust.models.patches import PatchFeatures

Rows: TypeAlias = Mapping[str, Tensor]
"""Name -> what a head keeps of each image, (n, ...)."""


class PatchReader(Protocol):
    """Reduces patch features, micro-batch by micro-batch, to what it keeps of each image.

    Attributes:
        blocks: Which it reads, numbered from 1.
    """

    @property
    def blocks(self) -> Sequence[int]:
        """Which it reads, numbered from 1."""
        ...

    def reduce(self, features: Tensor, patches: "PatchFeatures") -> Rows:
        """Return (m, ...) under each name, from features (m, D) and patch features of images."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one pass over a split leaves behind.

    Attributes:
        features: (N, D), on the device of the encoder, in the order of the split.
        shown: Row -> the corrupted image, uint8 (C, H, W), for the rows asked for.
        rows: Name of a patch reader -> what it kept of each image, in the order of the split.
        notes: What the records of its cells say of it, plain.
        failed: Name of a patch reader -> what it raised, so that it kept nothing.
    """

    features: Tensor
    shown: Mapping[int, UInt8Array] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)


class Images(Protocol):
    """What is read of a set of images."""

    @property
    def images(self) -> UInt8Array:
        """uint8 (N, H, W) or (N, H, W, 3)."""
        ...

    @property
    def index(self) -> Int64Array:
        """int64 (N,), what the corruption draws are keyed by."""
        ...

    def __len__(self) -> int: ...


class Pass(Protocol):
    """One pass over a split, from stored images to features.

    These are all that the engine calls, in this order: `wanted` once, right before the first batch
    is read; `read` where images are read; `corrupt` for each batch, while earlier ones are encoded;
    `encoder` and `patch_readers` before its first batch is; `finished` once, in the thread that
    encodes. Passes follow one another in their order, and the first steps of the next one overlap
    the last ones of the one before.
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
    def read(self) -> Callable[[], Images]:
        """What opens the images; it goes to the processes that read, and holds no more than that.

        Not a method, so that the rest of the pass stays where it is.
        """
        ...

    def corrupt(self, images: UInt8Batch, index: Tensor) -> UInt8Batch:
        """Return what becomes of uint8 (n, C, H, W), whose draws are keyed by int64 (n,)."""
        ...

    def encoder(self, model: "ImageEncoder") -> "ImageEncoder":
        """Return what encodes: the model, or what adapts it while images come."""
        ...

    @property
    def patch_readers(self) -> Mapping[str, PatchReader]:
        """Name -> who reads patch features; none where features suffice."""
        ...

    def finished(self, encoded: Encoded) -> None:
        """Take the features, once the last image is encoded."""
        ...
