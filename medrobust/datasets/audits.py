"""Audits: what may be wrong with a set, in sentences; the light ones run whenever it is opened."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.datasets.findings import read_findings, write_findings
from medrobust.datasets.image_set import DatasetSource, ImageSet
from medrobust.datasets.known_shares import KNOWN_SHARES, SHARED_SOURCES
from medrobust.datasets.label_order import log_likelihood
from medrobust.datasets.perceptual import Repeats, equal_pictures, hashes_of, near_repeats
from medrobust.exceptions import DatasetNotFoundError, MedRobustError
from medrobust.types import Int64Array

SPLITS = ("train", "val", "test")
EXAMPLES = 5
"""Pairs that a report names."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The whole report of one set.

    Attributes:
        name: Of the set.
        facts: Sentences that describe it.
        findings: Sentences that a reader of its results must know; none if all is well.
        splits: Split -> the images, as opened.
    """

    name: str
    facts: tuple[str, ...]
    findings: tuple[str, ...]
    splits: Mapping[str, ImageSet]


def audit(
    source: DatasetSource,
    *,
    pictures: bool = True,
    splits: Sequence[str] = SPLITS,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Audit:
    """Open all splits of a set and look for what spoils its numbers.

    Args:
        source: The set.
        pictures: Compare the pictures too, which reads all of them once.
        splits: Splits that it may have; those it has not are named.
        cache_dir: Where hashes and findings are kept.

    Returns:
        The report. Findings about the evaluated split are also kept in the cache, so that every
        later table of it carries them.

    Raises:
        StoreError: If the cache cannot be written.
    """
    facts: list[str] = []
    findings: list[str] = []
    opened: dict[str, ImageSet] = {}
    for split in splits:
        try:
            opened[split] = source.load(split)
        except DatasetNotFoundError as error:
            facts.append(f"no split {split}: {error}")
        except MedRobustError as error:
            findings.append(f"{split} cannot be used: {error}")
    for image_set in opened.values():
        facts += describe(image_set)
    of_patients = [
        sentence
        for one, other in combinations(opened.values(), 2)
        for sentence in shared_patients(other, one)
    ]
    findings += [
        mark
        for image_set in opened.values()
        for mark in image_set.marks
        if mark not in read_findings(image_set, cache_dir)
    ]
    findings += of_patients
    if pictures:
        for name in opened:
            sentences = repeated_pictures(opened, name, cache_dir)
            findings += sentences
            about = [s for s in of_patients if f" of {name} (" in s]
            earlier = read_findings(opened[name], cache_dir)
            by_itself = set(opened[name].marks) - set(earlier)
            write_findings(
                opened[name], [s for s in (*sentences, *about) if s not in by_itself], cache_dir
            )
    return Audit(source.name, tuple(facts), tuple(dict.fromkeys(findings)), opened)


def describe(image_set: ImageSet) -> list[str]:
    """Say what a split holds: images, classes, patients, and how its counts fit known orders."""
    side = "×".join(str(length) for length in image_set.images.shape[1:])
    several = image_set.labels.ndim == 2
    classes = len(image_set.class_names)
    counts = (
        image_set.labels.sum(axis=0)
        if several
        else np.bincount(image_set.labels, minlength=classes)
    )
    shares = ", ".join(
        f"{name} {count} ({100 * count / len(image_set):.1f} %)"
        for name, count in zip(image_set.class_names, counts.tolist(), strict=True)
    )
    patients = "" if image_set.groups is None else f", {len(np.unique(image_set.groups))} patients"
    lines = [
        f"{image_set.split}: {len(image_set)} images of {side}{patients}, {image_set.task}",
        f"{image_set.split}: {shares}",
    ]
    return [*lines, *_fit_of_known_shares(image_set, counts)]


def _fit_of_known_shares(image_set: ImageSet, counts: Int64Array) -> list[str]:
    known = KNOWN_SHARES.get(image_set.name)
    names = image_set.class_names
    if known is None or image_set.split not in known.splits or set(known.counts) != set(names):
        return []
    own = log_likelihood(counts, known, names)
    gains = ", ".join(
        f"{order} 10^{(log_likelihood(counts, known, classes) - own) / np.log(10):.1f}"
        for order, classes in known.orders.items()
    )
    expected = np.array([known.counts[name] for name in names], dtype=np.float64)
    away = 100 * (counts / counts.sum() - expected / expected.sum())
    most = int(np.abs(away).round(6).argmax())
    furthest = f"{names[most]}, {away[most]:+.1f} points"
    return [
        f"{image_set.split}: likelihood of known label orders, own order = 1: {gains}",
        f"{image_set.split}: furthest from the known shares: {furthest}",
    ]


def shared_patients(image_set: ImageSet, other: ImageSet) -> tuple[str, ...]:
    """Say how many patients of a split are in another split too."""
    if image_set.groups is None or other.groups is None:
        return ()
    return shared_group_marks(image_set.groups, other.groups, image_set.split, other.split)


def shared_group_marks(
    here: NDArray[Any], there: NDArray[Any], split: str, other: str
) -> tuple[str, ...]:
    """Say how many patients of a split are in another split too.

    Args:
        here: Patient of each image of the split, by name or number.
        there: Patients of the other split.
        split: Name of the split.
        other: Name of the other split.
    """
    images = np.isin(here, np.unique(there))
    if not images.any():
        return ()
    patients = len(np.unique(here[images]))
    return (f"{patients} patients of {split} ({images.sum()} images) are in {other} too",)


def repeated_pictures(
    opened: Mapping[str, ImageSet], split: str, cache_dir: str | os.PathLike[str] | None
) -> list[str]:
    """Say how many pictures of a split repeat others of it, or of an earlier split."""
    image_set = opened[split]
    hashes = hashes_of(image_set, cache_dir)
    sentences = _sentence(image_set, image_set, near_repeats(hashes))
    for other in opened:
        if other == split:
            break
        theirs = hashes_of(opened[other], cache_dir)
        sentences += _sentence(image_set, opened[other], near_repeats(hashes, theirs))
    blank = int((~hashes.any(axis=1)).sum())
    return [*sentences, *([f"{blank} images of {split} show one grey only"] if blank else [])]


def between_sets(
    one: Audit, other: Audit, cache_dir: str | os.PathLike[str] | None = None
) -> list[str]:
    """Say how many pictures of one set repeat pictures of another one.

    Each split of both keeps what was found of it in the cache, so that its later tables carry it.

    Raises:
        StoreError: If the cache cannot be written.
    """
    kept: dict[str, list[str]] = {}
    for a in one.splits.values():
        for b in other.splits.values():
            here, there = hashes_of(a, cache_dir), hashes_of(b, cache_dir)
            found = near_repeats(here, there)
            back = near_repeats(there, here) if len(found) else found
            kept.setdefault(a.fingerprint, []).extend(_sentence(a, b, found))
            kept.setdefault(b.fingerprint, []).extend(_sentence(b, a, back))
    for audited, beside in ((one, other), (other, one)):
        for image_set in audited.splits.values():
            sentences = kept.get(image_set.fingerprint, [])
            write_findings(image_set, sentences, cache_dir, beside=beside.name)
    known = [what for pair, what in SHARED_SOURCES if pair == {one.name, other.name}]
    said = [s for a in one.splits.values() for s in kept.get(a.fingerprint, [])]
    return [*(f"{one.name} and {other.name} hold {what}" for what in known), *said]


def _sentence(one: ImageSet, other: ImageSet, repeats: Repeats) -> list[str]:
    if not len(repeats):
        return []
    equal = equal_pictures(one, other, repeats)
    same_set = one.name == other.name
    where = other.split if same_set else f"{other.name}/{other.split}"
    which = one.split if same_set else f"{one.name}/{one.split}"
    what = f"an earlier one of {where}" if one is other else f"one of {where}"
    pairs = ", ".join(
        f"{one.ids[row]}={other.ids[partner]}"
        for row, partner in zip(
            repeats.rows[:EXAMPLES].tolist(), repeats.partners[:EXAMPLES].tolist(), strict=True
        )
    )
    return [
        f"{len(repeats)} images of {which} nearly repeat {what}, {equal} of them in every pixel "
        f"(ids {pairs}{', …' if len(repeats) > EXAMPLES else ''})"
    ]
