"""What is learned where it is no cross-entropy over class texts, and what it is learned from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.models.patches import PatchFeatures

from .recipe import Features, Tuning
from .shots import ShotPart


@dataclass(frozen=True)
class Seen:
    """What the model says of the images of one data set within a batch.

    Attributes:
        features: float32 (n, D).
        patches: Of the blocks that an adapter has branches at, and of those that a head reads;
            without levels, if there are none.
        published: Whether the adapter is of a published form, with its losses.
    """

    features: Tensor
    patches: PatchFeatures
    published: bool = False


@runtime_checkable
class Objective(Protocol):
    """Module of a head that says itself what is lost.

    It may have `blocks`, whose patch features it reads.

    Attributes:
        wants_masks: Whether it reads masks.
    """

    wants_masks: bool

    def losses(self, seen: Seen, part: ShotPart) -> Tensor:
        """Return the loss of each image, float32 (n,)."""
        ...

    def judged(self, seen: Seen, part: ShotPart) -> tuple[Tensor, Tensor]:
        """Return how wrong each image's answer is, from 0 to 1, and its loss: (n,) each."""
        ...


def seen(
    adapter: Any,
    model: Any,
    pixels: Tensor,
    counts: Sequence[int],
    features: Features,
    read: Sequence[int] = (),
) -> list[Seen]:
    """Encode pixels of several data sets in one pass, with what the branches of an adapter say.

    Args:
        adapter: Attached to the model.
        model: Encodes.
        pixels: Of all sets, one after the other.
        counts: Images of each set.
        features: "unit", or "raw" where the model has such.
        read: Blocks that heads read.
    """
    blocks = tuple(sorted({*getattr(model, "branch_blocks", ()), *read}))
    patches = PatchFeatures([])
    if blocks:
        encoded, patches = model.encode_image_and_patches(pixels, blocks)
    if features == "raw" and hasattr(model, "embed_image"):
        encoded = model.embed_image(pixels).float()
    elif not blocks:
        encoded = model.encode_image(pixels)
    published = getattr(adapter, "begins_elsewhere", False)
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [
        Seen(encoded[end - count : end], patches.rows(end - count, end), published)
        for end, count in zip(ends, counts, strict=True)
    ]


def wants_masks(heads: Iterable[Any]) -> bool:
    """Say whether any head reads masks."""
    return any(isinstance(head, Objective) and head.wants_masks for head in heads)


def read_blocks(heads: Iterable[Any]) -> list[int]:
    """Return the blocks whose patch features heads read, each once."""
    return sorted({block for head in heads for block in getattr(head, "blocks", ())})


def check_masks_stay(heads: Iterable[Any], tuning: Tuning) -> None:
    """Refuse corruptions as augmentation where masks are read, which they would not move.

    Raises:
        ConfigurationError: Naming both keys.
    """
    if tuning.corrupt is not None and wants_masks(heads):
        raise ConfigurationError(
            "tuning.corrupt may move pixels and leaves masks where they are: leave it out; "
            "task=anomaly also learns without masks, by task.maps=false."
        )
