"""Whether what a store says of itself is what was written: seals, fingerprints and names.

A seal is a digest over the canonical form of a record, so that no byte of it changes unseen.
Records of release 0.1 have none: of theirs, what fingerprints and names decide is checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts

SEAL, SEALED = "seal", "sealed"
"""Keys of the digest and of the word that there is one: no flipped bit takes both away."""


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its seal, in the place of an earlier one.

    Example:
        >>> breach(sealed({"a": 1})), breach({"a": 1}), breach({**sealed({"a": 1}), "a": 2})
        (None, None, 'its record is not the one that was sealed')
    """
    content = {name: value for name, value in record.items() if name != SEAL} | {SEALED: True}
    return {**content, SEAL: fingerprint(content)}


def breach(record: Mapping[str, Any]) -> str | None:
    """Say that a record is not what was sealed; None where it is, or has no seal."""
    if SEAL not in record and SEALED not in record:
        return None
    if record.get(SEALED) is True and sealed(record)[SEAL] == record.get(SEAL):
        return None
    return "its record is not the one that was sealed"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a cell says of itself.

    Attributes:
        spec: Its name: a `CellSpec`.
        data: Facts of the split that it names.
        encoding: What decides its features.
        stated: Fingerprint of the cell, and of the encoding, as the record has them.
        computed: The same, of the encoding and the head that the record holds.
    """

    spec: Any
    data: SplitFacts
    encoding: Mapping[str, Any]
    stated: tuple[str, str]
    computed: tuple[str, str]

    def contradiction(self) -> str | None:
        """Say which of its parts contradict one another, or return None."""
        if self.stated != self.computed:
            return f"its encoding and head are those of the cell {self.computed[0][:12]}"
        names = (self.spec.dataset, self.spec.split)
        if names != (self.data.name, self.data.split):
            return f"it is named after {'/'.join(names)}, and has data of {self.data.name}"
        for part, own in self._beside().items():
            if part in self.encoding and self.encoding[part] != own:
                return f"its {part} is not that of its encoding"
        return self._of_corruption()

    def _beside(self) -> dict[str, Any]:
        return {"data": self.data.fingerprint, "seed": self.spec.seed}

    def _of_corruption(self) -> str | None:
        identity = self.encoding.get("corruption")
        if not isinstance(identity, Mapping):
            return None
        clean = identity.get("name") == "clean"
        if clean != (self.spec.severity == 0) or clean != (self.spec.corruption == "clean"):
            return "its corruption is not that of its encoding"
        if "kernel" in identity and identity.get("name") != self.spec.corruption:
            return "its corruption is not that of its encoding"
        if identity.get("severity", self.spec.severity) != self.spec.severity:
            return "its severity is not that of its encoding"
        return None
