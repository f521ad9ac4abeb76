"""Passes in which a method answers the images while they come, in an order of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from medrobust.engine.passes import Encoded
from medrobust.engine.stream import StreamEncoder
from medrobust.evaluation.plan import PlannedCell
from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import ImageEncoder
from medrobust.tasks.base import StreamHead

from .encoding import Encoding
from .passes import EncodingPass


class Stream:
    """What the passes of one encoding share: the encoder with its session, made when it begins.

    Args:
        head: Its method answers.
        image_set: The split.
    """

    def __init__(self, head: StreamHead, image_set: Any) -> None:
        self._head, self._image_set = head, image_set
        self._encoder: StreamEncoder | None = None
        self.order = head.order(image_set)
        self.looks = head.looks

    def encoder(self, model: ImageEncoder, *, looking: bool) -> StreamEncoder:
        """Return it at the first image, before a look or before answers."""
        if self._encoder is None:
            index = self._image_set.index[self.order]
            self._encoder = StreamEncoder(
                model, index=index, **self._head.stream(model, self._image_set)
            )
        return self._encoder.begin_pass(looking=looking)

    @property
    def notes(self) -> dict[str, Any]:
        """What the record says: the share of images that were used, where some are chosen."""
        used = None if self._encoder is None else self._encoder.used
        return {} if used is None else {"used": round(used, 6)}


@dataclass(frozen=True, slots=True)
class Answering(EncodingPass):
    """A pass whose images come in the order of a method, which answers them.

    Attributes:
        stream: What it shares with the look before it.
    """

    stream: Stream | None = None

    @property
    def shared(self) -> Stream:
        """What the passes of the encoding share."""
        assert self.stream is not None
        return self.stream

    @property
    def clean(self) -> bool:
        """Never: other passes read images in another order."""
        return False

    def wanted(self) -> bool:
        """Begin with it, or go on where its look has begun."""
        if self.shared.looks:
            return self.queue.has_begun(self.encoding)
        return self.queue.begin(self.encoding)

    def encoder(self, model: ImageEncoder) -> ImageEncoder:
        """Answer by the method."""
        return self.shared.encoder(model, looking=False)

    def finished(self, encoded: Encoded) -> None:
        """Put the answers into the order of the split, and let them be written."""
        places = torch.from_numpy(np.argsort(self.rows))
        shown = {int(self.rows[place]): image for place, image in encoded.shown.items()}
        features = encoded.features[places.to(encoded.features.device)]
        whole = Encoded(features, shown, encoded.rows, self.shared.notes, encoded.failed)
        self.queue.done(self.encoding)
        self.writer.write(self.encoding, whole)


@dataclass(frozen=True, slots=True)
class Looking(Answering):
    """A pass that shows a method all images before it answers the first one."""

    def wanted(self) -> bool:
        """Begin with it, unless another process has or computes it."""
        return self.queue.begin(self.encoding)

    def encoder(self, model: ImageEncoder) -> ImageEncoder:
        """Look at images."""
        return self.shared.encoder(model, looking=True)

    def finished(self, encoded: Encoded) -> None:
        """Nothing: the next pass answers."""


@dataclass(frozen=True, slots=True)
class GoingOn(Answering):
    """A pass whose method goes on to the images of the next one with what it has learned."""

    def wanted(self) -> bool:
        """Begin with it; where another process has it, the session must see its images, too."""
        self.queue.begin(self.encoding)
        return True

    def finished(self, encoded: Encoded) -> None:
        """Let the answers be written, if they are this process's."""
        if self.queue.has_begun(self.encoding):
            super(GoingOn, self).finished(encoded)


@dataclass(frozen=True, slots=True)
class Again(Answering):
    """A pass over images whose answers are stored already: the session sees them again."""

    def wanted(self) -> bool:
        """Always: what comes after it depends on it."""
        return True

    def finished(self, encoded: Encoded) -> None:
        """Nothing: the cell is there."""


class Streams:
    """Turns encodings into passes, and remembers sessions that go on from one to the next."""

    def __init__(self) -> None:
        self._live: dict[str, Stream] = {}

    def passes(self, one: EncodingPass) -> Sequence[EncodingPass]:
        """Return the passes of an encoding: itself, or those in which a method answers its images.

        Raises:
            ConfigurationError: If several processes share its images.
        """
        head = one.encoding.stream_head
        if head is None:
            return [one]
        if one.ranks.world > 1:
            raise ConfigurationError(
                "a method that adapts the model while images come sees them one after another: "
                "several processes cannot share a cell. Take trainer.devices=1, or leave it out of "
                "adapter.online."
            )
        if head.goes_on:
            return self._going_on(one, head)
        stream = Stream(head, one.encoding.image_set)
        last = _answering(Answering, one, stream)
        if not stream.looks:
            return [last]
        first = {name: getattr(last, name) for name in Answering.__dataclass_fields__}
        return [replace(Looking(**first), show=frozenset()), last]

    def _going_on(self, one: EncodingPass, head: StreamHead) -> Sequence[EncodingPass]:
        """Return the pass, behind those whose images its session has not seen yet."""
        unseen: list[PlannedCell] = []
        before = one.encoding.first.after
        while before is not None and before.key.encoding_fingerprint not in self._live:
            unseen.insert(0, before)
            before = before.after
        if before is None:
            stream = Stream(head, one.encoding.image_set)
        else:
            stream = self._live.pop(before.key.encoding_fingerprint)
        self._live[one.encoding.fingerprint] = stream
        again = [
            replace(
                _answering(Again, one, stream),
                encoding=Encoding(one.encoding.image_set, cell, ()),
                show=frozenset(),
            )
            for cell in unseen
        ]
        return [*again, _answering(GoingOn, one, stream)]


Kind = TypeVar("Kind", bound=Answering)


def _answering(kind: type[Kind], one: EncodingPass, stream: Stream) -> Kind:
    """Return a pass over the images of an encoding in the order of its method."""
    order = stream.order
    shown = {int(row) for place, row in enumerate(one.rows) if place in one.show}
    show = frozenset(place for place, row in enumerate(order.tolist()) if row in shown)
    given = {name: getattr(one, name) for name in EncodingPass.__dataclass_fields__}
    return kind(**{**given, "rows": order, "show": show}, stream=stream)
