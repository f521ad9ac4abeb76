"""What encodes where a method adapts the model while images come: answers in place of features."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from medrobust.models.base import ImagePreprocess
from medrobust.models.encoding import ImageEncoder, images_that_count
from medrobust.types import FeatureBatch, Int64Array, PixelBatch, UInt8Batch


class Session(Protocol):
    """What a method learns in a cell; see `medrobust.adapters.online.adapting.Session`."""

    seen: int
    used: int | None
    learned: int | None

    def look(self, images: UInt8Batch, index: Int64Array) -> None:
        """See a micro-batch before any is answered."""
        ...

    def observe(self, images: UInt8Batch, index: Int64Array) -> Tensor:
        """Learn of a micro-batch, and answer it."""
        ...


class AsStored:
    """Leaves images as they are stored: a session preprocesses them itself."""

    def __call__(self, images: UInt8Batch) -> PixelBatch:
        """Return `images`."""
        return images

    def description(self) -> dict[str, Any]:
        """Return nothing: the model's own preprocessing is in the fingerprint."""
        return {}


class StreamEncoder:
    """Hands the micro-batches of a pass to a session, with the keys of their images.

    Gradients are on inside, whatever is outside: a Trainer that tests turns them off.

    Args:
        model: Whose device counts.
        begin: Makes a session.
        index: int64 (N,), keys of the images in the order in which they come.
        anew: Whether each micro-batch has a session of its own.
        looking: Whether images are only shown, and not answered.

    Attributes:
        sessions: Those that have answered, in their order.
    """

    def __init__(
        self, model: ImageEncoder, begin: Callable[[], Session], index: Int64Array, *, anew: bool
    ) -> None:
        self.preprocess: ImagePreprocess = AsStored()
        self.device = model.device
        self.sessions: list[Session] = []
        self.looking = False
        self._begin, self._index, self._anew = begin, index, anew
        self._at = 0
        self._counts = 0, 0, 0

    def begin_pass(self, *, looking: bool) -> "StreamEncoder":
        """Begin with the first image again, to look at all or to answer them."""
        self._at, self.looking = 0, looking
        self._counts = counts(self.sessions)
        return self

    def encode_image(self, pixels: PixelBatch) -> FeatureBatch:
        """Return what the session answers, (m, K), or a column of nothing while it looks."""
        count = images_that_count(len(pixels))
        index = self._index[self._at : self._at + count]
        self._at += count
        with torch.inference_mode(mode=False), torch.enable_grad():
            images = pixels.clone()
            if self.looking:
                self._session.look(images, index)
                return torch.zeros(count, 1)
            if self._anew:
                self.sessions.append(self._begin())
            session = self._session
            answers = session.observe(images, index).detach()
            session.seen += count
        return answers

    @property
    def _session(self) -> Session:
        if not self.sessions:
            with torch.inference_mode(mode=False):
                self.sessions.append(self._begin())
        return self.sessions[-1]

    @property
    def used(self) -> float | None:
        """Return the share of images of this pass that were learned of; None without a choice."""
        if all(session.used is None for session in self.sessions):
            return None
        used, seen, _ = self._since
        return used / seen if seen else None

    @property
    def learned(self) -> int | None:
        """Return how often it was learned in this pass; None where that goes without saying."""
        if all(session.learned is None for session in self.sessions):
            return None
        return self._since[2]

    @property
    def _since(self) -> tuple[int, int, int]:
        """Return the counts of this pass alone."""
        (a, b, c), (d, e, f) = counts(self.sessions), self._counts
        return a - d, b - e, c - f


def counts(sessions: Sequence[Session]) -> tuple[int, int, int]:
    """Count images that changed what sessions know, all answered ones, and times of learning."""
    return (
        sum(one.used or 0 for one in sessions),
        sum(one.seen for one in sessions),
        sum(one.learned or 0 for one in sessions),
    )
