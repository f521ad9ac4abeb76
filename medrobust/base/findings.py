"""What is known to be wrong with a set of images: found by checks and audits, carried by tables."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

Topic: TypeAlias = Literal[
    "label order",
    "repeated images",
    "patients in two splits",
    "named in a training list",
    "DICOM window",
    "files not in the table",
    "files passed over",
    "header against pixels",
    "further remarks",
]
"""What a finding is about: the rows of the audit section, in their order."""

TOPICS: tuple[Topic, ...] = get_args(Topic)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the reader of a table must know of its images.

    Attributes:
        topic: What it is about.
        sentence: As it stands below a table.
        pairs: Images that it names, "id=id" or "id=row", for the audit section.
        pairs_are: What the pairs consist of.
        audit_only: As it should be, or long: it stands in the audit section alone.
    """

    topic: Topic
    sentence: str
    pairs: tuple[str, ...] = ()
    pairs_are: Literal["ids", "id=row"] = "ids"
    audit_only: bool = False

    def __str__(self) -> str:
        """Write it whole.

        Example:
            >>> str(Finding("repeated images", "2 images repeat one of val", ("0=7", "1=8")))
            '2 images repeat one of val (ids 0=7, 1=8)'
        """
        if not self.pairs:
            return self.sentence
        return f"{self.sentence} ({self.pairs_are} {', '.join(self.pairs)})"

    def record(self) -> dict[str, Any]:
        """Give plain values for a JSON file, those at their default left out."""
        plain = asdict(self) | {"pairs": list(self.pairs)}
        defaults = {"pairs": [], "pairs_are": "ids", "audit_only": False}
        return {name: value for name, value in plain.items() if value != defaults.get(name)}


def read_finding(kept: Any) -> Finding:
    """Read what a JSON file keeps of a finding: its record, or the sentence of release 0.1.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(kept, str):
        return _of_sentence(kept)
    if not isinstance(kept, Mapping):
        raise TypeError(f"{kept!r} is no finding")
    found = Finding(**{**kept, "pairs": tuple(kept.get("pairs", ()))})
    words = [found.topic, found.sentence, found.pairs_are, *found.pairs]
    plain = all(isinstance(word, str) for word in words) and isinstance(found.audit_only, bool)
    if not plain or found.topic not in TOPICS:
        raise TypeError(f"{dict(kept)} is no finding")
    return found


_WORDS: Mapping[Topic, tuple[str, ...]] = {
    "label order": ("label order", "fit the order"),
    "repeated images": ("repeat", "hold the same", "hold slices"),
    "patients in two splits": ("in two splits", "patients of"),
    "DICOM window": ("no usable window",),
    "files not in the table": ("not in the table",),
}
"""Topic -> words by which a sentence of release 0.1 belongs to it; the first that fits counts."""

_AUDIT_ONLY = ("its VOI table was used", "bits were taken as they are")
_PAIRS = re.compile(r"(?P<sentence>.*) \((?P<are>ids|id=row) (?P<pairs>[^)]*)\)", re.DOTALL)


def _of_sentence(sentence: str) -> Finding:
    """Sort a sentence of release 0.1 by its words.

    Example:
        >>> _of_sentence("1 image of test nearly repeats one of val, 0 identical (ids 0=7)").pairs
        ('0=7',)
    """
    topic = next(
        (topic for topic, words in _WORDS.items() if any(word in sentence for word in words)),
        TOPICS[-1],
    )
    audit_only = any(word in sentence for word in _AUDIT_ONLY)
    found = _PAIRS.fullmatch(sentence)
    if found is None:
        return Finding(topic, sentence, audit_only=audit_only)
    are: Literal["ids", "id=row"] = "ids" if found["are"] == "ids" else "id=row"
    pairs = tuple(found["pairs"].split(", "))
    return Finding(topic, found["sentence"], pairs, are, audit_only)
