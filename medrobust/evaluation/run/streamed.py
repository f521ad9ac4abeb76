"""Encodings to passes, those of methods that look first, go on, or see conditions mixed, too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medrobust.engine.passes import Encoded
from medrobust.evaluation.plan import PlannedCell
from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import ImageEncoder
from medrobust.tasks.base import StreamHead

from .answering import Answering, Stream, answering
from .encoding import Encoding
from .mixed import MixedStream, Mixing
from .passes import EncodingPass


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
        mixture = one.encoding.first.mixture
        if mixture is not None:
            return [answering(Mixing, one, MixedStream(head, one.encoding.image_set, mixture))]
        if head.goes_on:
            return self._going_on(one, head)
        stream = Stream(head, one.encoding.image_set)
        last = answering(Answering, one, stream)
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
                answering(Again, one, stream),
                encoding=Encoding(one.encoding.image_set, cell, ()),
                show=frozenset(),
            )
            for cell in unseen
        ]
        return [*again, answering(GoingOn, one, stream)]
