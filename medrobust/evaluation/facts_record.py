"""What the store writes of a split, and what it reads back: plain facts, and arrays by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import read_finding
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Masks, read_target
from medrobust.types import LABEL_KINDS

from .record_types import FACTS, LISTED, mislisted, mistyped

PLAIN = tuple(FACTS)
TEXTS = ("ids", "groups", "metadata")
ARRAYS = (
    *TEXTS,
    *("labels", "texts", "text_pairs", "boxes", "box_images", "box_classes"),
    *("windows", "window_images", "window_grid"),
)
"""Names that an array of a split may have."""


def arrays_of(data: SplitFacts) -> dict[str, NDArray[Any]]:
    """Name the arrays of a split that are kept: all but images and masks."""
    arrays: dict[str, NDArray[Any]] = {"ids": data.ids}
    if data.target is not None:
        arrays |= data.target.arrays()
    if data.groups is not None:
        arrays["groups"] = data.groups
    if data.metadata is not None:
        arrays["metadata"] = data.metadata
    return arrays


def facts_of(data: SplitFacts) -> dict[str, Any]:
    """Give the plain facts, under the names that release 0.1 gave them: `task` is `label_kind`."""
    facts = {name: getattr(data, name) for name in (*PLAIN, *LISTED)}
    facts |= {"task": data.label_kind, "findings": data.findings}
    if data.target is not None and data.target.kind != "labels":
        facts["target"] = data.target.kind
    if isinstance(data.target, Masks):
        facts["masks"] = data.target.digest
    return facts


def read_facts(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SplitFacts:
    """Put a split together from what was kept of it.

    Raises:
        KeyError: If a part is missing, or there is one that nobody writes.
        TypeError: If a part is of another type.
        ValueError: If parts do not fit one another.
    """
    known = {*PLAIN, *LISTED, "task", "findings", "marks", "target", "masks"}
    strange = sorted({*facts} - known) + sorted({*arrays} - {*ARRAYS})
    if strange:
        raise KeyError(f"{strange[0]} is nothing that a run writes")
    if complaint := mistyped(facts, FACTS) or mislisted(facts):
        raise TypeError(complaint)
    for name in TEXTS:
        if name in arrays and not np.issubdtype(arrays[name].dtype, np.str_):
            raise TypeError(f"{name} are {arrays[name].dtype}, not texts")
    if facts["task"] not in (*LABEL_KINDS, None):
        raise ValueError(f"task {facts['task']!r} is none of {LABEL_KINDS}")
    given: dict[str, Any] = {name: facts[name] for name in PLAIN}
    given |= {name: tuple(facts.get(name, ())) for name in LISTED}
    data = SplitFacts(
        **given,
        label_kind=facts["task"],
        findings=tuple(map(read_finding, facts.get("findings", facts.get("marks", ())))),
        ids=arrays["ids"],
        groups=arrays.get("groups"),
        metadata=arrays.get("metadata"),
        target=read_target(facts.get("target", "labels"), arrays),
    )
    data.check(len(data.ids))
    return data
