"""Streams in which a method sees the images of all conditions of a table in one order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medrobust.base.fingerprints import fingerprint
from medrobust.tasks.base import MIXED

from .columns import Column

DECIDING = ("corruption", "seed", "stream")
"""Keys of an encoding that say which condition its images are under."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The conditions of a stream, each once, sorted by digest: the order of a table is no matter.

    Attributes:
        digests: Of the conditions.
        conditions: Corruption and severity of each; None and 0 for clean.
        digest: Of all of them, as the encodings of its cells hold it.
        stream: Fingerprint of what one pass answers: the conditions, the images and the method.
    """

    digests: tuple[str, ...]
    conditions: tuple[tuple[Column | None, int], ...]
    digest: str
    stream: str

    def place(self, encoding: Mapping[str, Any]) -> int:
        """Return which of its conditions an encoding is of."""
        return self.digests.index(condition_digest(encoding))


def condition_digest(encoding: Mapping[str, Any]) -> str:
    """Fingerprint the condition that the images of an encoding are under."""
    return fingerprint({key: encoding[key] for key in DECIDING if key in encoding})


def mixture_of(
    encodings: Sequence[Mapping[str, Any]], conditions: Sequence[tuple[Column | None, int]]
) -> Mixture:
    """Mix the conditions of encodings that differ in nothing else.

    Args:
        encodings: What decides the answers, one a condition; some may be equal.
        conditions: Corruption and severity of each.

    Example:
        >>> two = [{"corruption": {"name": name}, "data": "x"} for name in ("fog", "clean")]
        >>> mixture_of(two, [(None, 1), (None, 0)]).stream == mixture_of(
        ...     two[::-1], [(None, 0), (None, 1)]
        ... ).stream
        True
    """
    known = dict(zip(map(condition_digest, encodings), conditions, strict=True))
    digests = tuple(sorted(known))
    digest = fingerprint(list(digests))
    common = {key: value for key, value in encodings[0].items() if key not in DECIDING}
    stream = fingerprint({**common, MIXED: digest})
    return Mixture(digests, tuple(known[one] for one in digests), digest, stream)
