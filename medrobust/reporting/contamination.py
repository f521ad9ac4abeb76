"""Which training data hold pictures of which data sets: facts of `training_lists.json`.

Names there are those of `trained_on` in conf/model. Each entry says how its publisher lists what it
holds (image by image, by set or split, or not at all), the data sets whose pictures are known to be
among it, those that are suspected to, and from where that is known. Only what is known marks a row;
a collection without a list may hold anything.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["known", "suspected", "not listed", "unknown"]
"""What the lists say of a data set: its pictures are among them; they may be; they are not, and all
training data have lists; or there are training data without a list."""


@cache
def training_lists() -> Mapping[str, Mapping[str, Any]]:
    """Return name of training data -> how it is listed, from where, and what is known of it."""
    content: Mapping[str, Mapping[str, Any]] = json.loads(
        (files(__package__) / "training_lists.json").read_text(encoding="utf-8")
    )
    return content


def seen(dataset: str, trained_on: Iterable[str]) -> tuple[str, ...]:
    """Return the training data that hold pictures of a data set, or are that set by its own name.

    Example:
        >>> seen("chestmnist", ["mimic_cxr", "nih_chestxray14"]), seen("ward", ["ward"])
        (('nih_chestxray14',), ('ward',))
    """
    return tuple(name for name in trained_on if name == dataset or dataset in _of(name, "known"))


def verdict(dataset: str, trained_on: Iterable[str]) -> Verdict:
    """Say what the lists of a model's training data tell of a data set.

    Example:
        >>> [verdict("chestmnist", [name]) for name in ("nih_chestxray14", "chexpert", "wit_400m")]
        ['known', 'not listed', 'unknown']
        >>> verdict("octmnist", ["lvm_med_55"])
        'suspected'
    """
    names = list(trained_on)
    if seen(dataset, names):
        return "known"
    if any(dataset in _of(name, "suspected") for name in names):
        return "suspected"
    listed = [training_lists().get(name, {}).get("list", "none") != "none" for name in names]
    return "not listed" if names and all(listed) else "unknown"


def naming(dataset: str, trained_on: Iterable[str]) -> tuple[str, ...]:
    """Return the training data that are known or suspected to hold pictures of a data set."""
    return tuple(
        name
        for name in trained_on
        if name == dataset or dataset in _of(name, "known") | _of(name, "suspected")
    )


def _of(name: str, kind: str) -> frozenset[str]:
    return frozenset(training_lists().get(name, {}).get(kind, ()))
