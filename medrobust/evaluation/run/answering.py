"""Passes in which a method answers the images while they come, in an order of their own."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from medrobust.engine.passes import Encoded
from medrobust.engine.stream import StreamEncoder
from medrobust.models.encoding import ImageEncoder
from medrobust.tasks.base import StreamHead

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
        self.index = image_set.index[self.order]
        self.looks = head.looks

    def encoder(self, model: ImageEncoder, *, looking: bool) -> StreamEncoder:
        """Return it at the first image, before a look or before answers."""
        if self._encoder is None:
            self._encoder = StreamEncoder(
                model, index=self.index, **self._head.stream(model, self._image_set)
            )
        return self._encoder.begin_pass(looking=looking)

    @property
    def notes(self) -> dict[str, Any]:
        """What the record says: the share of images used, and how often a method learned.

        Each where it does not go without saying.
        """
        if self._encoder is None:
            return {}
        used, learned = self._encoder.used, self._encoder.learned
        notes = {"used": None if used is None else round(used, 6), "learned": learned}
        return {name: value for name, value in notes.items() if value is not None}


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


Kind = TypeVar("Kind", bound=Answering)


def answering(kind: type[Kind], one: EncodingPass, stream: Stream) -> Kind:
    """Return a pass over the images of an encoding in the order of its method."""
    order, count = stream.order, len(one.encoding.image_set)
    shown = {int(row) for place, row in enumerate(one.rows) if place in one.show}
    show = frozenset(place for place, row in enumerate(order.tolist()) if row % count in shown)
    given = {name: getattr(one, name) for name in EncodingPass.__dataclass_fields__}
    return kind(**{**given, "rows": order, "show": show}, stream=stream)
