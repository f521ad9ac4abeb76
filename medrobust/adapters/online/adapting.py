"""The seam of all ways to adapt a model while images come: begin, observe, and nothing stays.

A method is plain values. `begin` makes a session for one cell, which keeps whatever it learns: the
weights that it changes are copies of its own, which the model has only while it answers one
micro-batch (`lent.lent`). So nothing has to be put back, after an error neither, and the model is
to the bit what it was. `observe` takes the micro-batches of the cell in their order and answers
each.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from medrobust.models.encoding import images_that_count
from medrobust.types import FeatureBatch, Int64Array, LogitBatch, PixelBatch, UInt8Batch

from .base import Begins, Needs, Online


class Scene(Protocol):
    """What a session may use of the cell that it answers."""

    @property
    def model(self) -> Any:
        """As it is without the method, in eval mode, on its device."""
        ...

    @property
    def head(self) -> Any:
        """Its classifier there: `logits(features)`, which gradients pass."""
        ...

    @property
    def texts(self) -> Sequence[Sequence[str]]:
        """Sentences of each class, in label order; none of a model without a text side."""
        ...

    @property
    def stream(self) -> str:
        """Name of data set and split, for draws."""
        ...

    @property
    def source(self) -> Callable[[str, int], Iterator[UInt8Batch]]:
        """Yields micro-batches of clean images of another split: its name, how many in all."""
        ...

    @property
    def kept(self) -> dict[str, Any]:
        """What one session leaves for all later ones; it depends on no image of a cell."""
        ...


def answered(scene: Scene, pixels: PixelBatch) -> LogitBatch:
    """Answer the images of a micro-batch that count, float32 (m, K), by the model as it is now.

    All of them are encoded, those that pad it too, so that shapes are those of other cells.
    """
    features: FeatureBatch = scene.model.encode_image(pixels)
    answers: LogitBatch = scene.head.logits(features[: images_that_count(len(pixels))])
    return answers


class Session(ABC):
    """What a method has learned in a cell.

    Attributes:
        seen: Images that were answered.
        used: Images that changed what it knows; None where nothing is chosen.
        learned: How often it learned; None where it always does, or is not asked to.
    """

    seen: int = 0
    used: int | None = None
    learned: int | None = None

    def look(self, images: UInt8Batch, index: Int64Array) -> None:
        """See a micro-batch before any is answered, if the method asks for it by `looks`."""
        raise NotImplementedError(f"{type(self).__name__} looks at no images before it answers")

    @abstractmethod
    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Learn of a micro-batch, and answer it.

        Args:
            images: uint8 (n, C, H, W) as stored, corrupted, on the device of the model; of the last
                one, padding at its end, which does not count.
            index: int64 (m,), the keys of those that count, for draws.

        Returns:
            float32 (m, K).
        """

    def use(self, count: int) -> None:
        """Count images that changed what the session knows."""
        self.used = (self.used or 0) + count


@dataclass(frozen=True, slots=True)
class Adapting(Online):
    """Changes the model, or what is made of its answers, image by image.

    Attributes:
        looks: Whether all images of a cell are shown before the first one is answered.
    """

    needs: ClassVar[Needs] = "images"
    protocols: ClassVar[tuple[Begins, ...]] = ("per_cell", "episodic", "continual", "mixed")
    looks: ClassVar[bool] = False

    @property
    def ordered(self) -> bool:
        """Which images share a micro-batch decides, and which came before, if any decides."""
        return not self.idle

    @property
    def idle(self) -> bool:
        """Whether its parameters leave the model as it is: then it is the model to the bit."""
        return False

    @property
    def begins_anew(self) -> Begins:
        """Return its protocol, the only one where it has no key."""
        found: Begins = getattr(self, "protocol", self.protocols[0])
        return found

    def source(self) -> tuple[str, int] | None:
        """Return of which other split it reads how many clean images; None: of none."""
        return None

    def check(self, model: Any) -> None:
        """Refuse a model that lacks what it changes.

        Raises:
            ConfigurationError: Naming the method.
        """
        return

    @abstractmethod
    def begin(self, scene: Scene) -> Session:
        """Begin with a cell."""


def entropies(logits: LogitBatch) -> Tensor:
    """Return the entropy of each row's probabilities in nats, (n,), which gradients pass."""
    chances = logits.log_softmax(dim=1)
    return -(chances.exp() * chances).sum(dim=1)
