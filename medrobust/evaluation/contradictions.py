"""Whether what a cell says of itself agrees with itself: fingerprints, names and data.

A seal says that a record is as it was written; this says that it is a record of that very cell,
which counts where there is no seal, and where whole folders were moved.
"""

from collections.abc import Mapping
from typing import Any

from medrobust.base.split_facts import SplitFacts

from .cells import CellKey, CellSpec


def contradiction(key: CellKey, data: SplitFacts, stated: tuple[str, str]) -> str | None:
    """Say which parts of a cell contradict one another, or return None.

    Args:
        key: Its name, encoding and head, as the record has them.
        data: Facts of the split that it names.
        stated: Fingerprint of the cell, and of the encoding, as the record has them.
    """
    of_encoding = key.encoding_fingerprint
    own = key.fingerprint_of(of_encoding)
    if stated != (own, of_encoding):
        return f"its encoding and head are those of the cell {own[:12]}"
    names = (key.spec.dataset, key.spec.split)
    if names != (data.name, data.split):
        return f"it is named after {'/'.join(map(str, names))}, and has data of {data.name}"
    for part, value in (("data", data.fingerprint), ("seed", key.spec.seed)):
        if part in key.encoding and key.encoding[part] != value:
            return f"its {part} is not that of its encoding"
    return _of_corruption(key.spec, key.encoding.get("corruption"))


def _of_corruption(spec: CellSpec, identity: Any) -> str | None:
    if not isinstance(identity, Mapping):
        return None
    clean = identity.get("name") == "clean"
    if clean != (spec.severity == 0) or clean != (spec.corruption == "clean"):
        return "its corruption is not that of its encoding"
    if "kernel" in identity and identity.get("name") != spec.corruption:
        return "its corruption is not that of its encoding"
    if identity.get("severity", spec.severity) != spec.severity:
        return "its severity is not that of its encoding"
    return None
