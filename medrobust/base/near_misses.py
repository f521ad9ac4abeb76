"""Which of the known names was probably meant by a mistyped one."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

NEAR = 0.55
"""Likeness from which a key is taken for what was meant."""


def nearest_key(key: str, known: Sequence[str]) -> str | None:
    """Return the configuration key that `key` was probably meant to be.

    Words are compared in any order. Below a group that exists, only its keys are looked at.

    Args:
        key: As typed.
        known: Keys, those that want it with their `+`.

    Example:
        >>> nearest_key("trainer.devces", ["trainer.devices", "seed"])
        'trainer.devices'
        >>> nearest_key("dataset.columns.lable", ["dataset.label_column", "dataset.name"])
        'dataset.label_column'
    """
    head, dot, rest = key.partition(".")
    plain = [name.lstrip("+") for name in known]
    if dot and any(name == head or name.startswith(f"{head}.") for name in plain):
        start = len(head) + 1
        scored = [
            (_likeness(rest, name[start:]), typed)
            for name, typed in zip(plain, known, strict=True)
            if name.startswith(f"{head}.")
        ]
    else:
        scored = [(_likeness(key, name), typed) for name, typed in zip(plain, known, strict=True)]
    best = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= NEAR else None


def _likeness(one: str, other: str) -> float:
    """Compare two names from 0 to 1: as a whole, and word by word in any order."""
    words, others = (re.findall(r"[^._/]+", name.lower()) for name in (one, other))
    if not words or not others:
        return 0.0
    table = [[_ratio(a, b) for b in others] for a in words]
    forth: float = sum(max(row) for row in table) / len(words)
    back: float = sum(max(column) for column in zip(*table, strict=True)) / len(others)
    return (forth + back + _ratio(one, other)) / 3


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
