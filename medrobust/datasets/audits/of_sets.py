"""The whole audit of a set, in sentences: what a run finds by itself, and what takes longer."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medrobust.base.findings import Finding
from medrobust.base.wording import counted
from medrobust.datasets.image_set import DatasetSource, ImageSet
from medrobust.datasets.published.known_shares import KNOWN_SHARES, SHARED_SOURCES
from medrobust.datasets.published.label_order import log_likelihood
from medrobust.exceptions import DatasetNotFoundError, MedRobustError
from medrobust.types import Int64Array

from .findings import read_findings
from .perceptual import hashes_of
from .repeats import (
    SPLITS,
    Pictures,
    compare_with_set,
    keep,
    repeats_by_split,
    shared_patients,
    whole,
)


@dataclass(frozen=True, slots=True)
class Audit:
    """The whole report of one set.

    Attributes:
        name: Of the set.
        facts: Sentences that describe it.
        findings: What a reader of its results must know; none if all is well.
        splits: Split -> the images, as opened.
    """

    name: str
    facts: tuple[str, ...]
    findings: tuple[Finding, ...]
    splits: Mapping[str, ImageSet]


def audit(
    source: DatasetSource,
    *,
    pictures: bool = True,
    splits: Sequence[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Audit:
    """Open all splits of a set and look for what spoils its numbers.

    Args:
        source: The set; all of it, whatever its `limit`.
        pictures: Compare the pictures too, which reads all of them once.
        splits: Splits that it may have; those it has not are named. None: those of its table, if
            it has one, else train, val and test.
        cache_dir: Where hashes and findings are kept.

    Returns:
        The report. Findings about the evaluated split are also kept in the cache, so that every
        later table of it carries them.

    Raises:
        StoreError: If the cache cannot be written.
        MedRobustError: If the table of own data cannot be read.
    """
    source = whole(source)
    facts: list[str] = []
    findings: list[Finding] = []
    opened: dict[str, ImageSet] = {}
    for split in splits or _splits_of(source):
        try:
            opened[split] = source.load(split)
        except DatasetNotFoundError as error:
            facts.append(f"split {split} is left out: {error}")
        except MedRobustError as error:
            said = f"{split} cannot be used: {error}"
            findings.append(Finding("further remarks", said))
    for image_set in opened.values():
        facts += describe(image_set)
    of_patients = [
        (pair, finding)
        for pair in combinations(opened, 2)
        for finding in shared_patients(opened[pair[1]], opened[pair[0]])
    ]
    findings += [
        finding
        for image_set in opened.values()
        for finding in image_set.findings
        if finding not in read_findings(image_set, cache_dir)
    ]
    findings += [finding for _, finding in of_patients]
    if pictures:
        for name, image_set in opened.items():
            found = repeats_by_split(image_set, opened, cache_dir)
            later = list(opened)[list(opened).index(name) + 1 :]
            findings += [f for other, part in found.items() if other not in later for f in part]
            about = [finding for pair, finding in of_patients if name in pair]
            of_split = [*(f for part in found.values() for f in part), *about]
            keep(image_set, of_split, opened.values(), cache_dir)
    return Audit(source.name, tuple(facts), tuple(dict.fromkeys(findings)), opened)


def _splits_of(source: DatasetSource) -> Sequence[str]:
    in_table = getattr(source, "splits_in_table", None)
    return SPLITS if in_table is None else in_table()


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
    patients = (
        ""
        if image_set.groups is None
        else f", {counted(len(np.unique(image_set.groups)), 'patient')}"
    )
    size = counted(len(image_set), "image")
    lines = [
        f"{image_set.split}: {size} of {side}{patients}, {image_set.label_kind}",
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


def between_sets(
    one: Audit, other: Audit, cache_dir: str | os.PathLike[str] | None = None
) -> list[Finding]:
    """Say how many pictures of one set repeat pictures of another one.

    Each split of both keeps what was found of it in the cache, so that its later tables carry it.

    Raises:
        StoreError: If the cache cannot be written.
    """
    found: dict[str, list[Finding]] = {one.name: [], other.name: []}
    for audited, beside in ((one, other), (other, one)):
        splits = [
            Pictures(split, hashes_of(image_set, cache_dir), image_set)
            for split, image_set in beside.splits.items()
        ]
        for image_set in audited.splits.values():
            found[audited.name] += compare_with_set(image_set, beside.name, splits, cache_dir)
    known = [what for pair, what in SHARED_SOURCES if pair == {one.name, other.name}]
    shared = [
        Finding("repeated images", f"{one.name} and {other.name} hold {what}") for what in known
    ]
    return [*shared, *found[one.name]]
