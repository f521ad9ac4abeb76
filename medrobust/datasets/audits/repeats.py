"""Repeated pictures: within a split, in other splits of the set, in other sets; found once, kept.

A run looks by itself: at the evaluated split, at the other splits of its set, at the evaluated
splits of its other sets, and at whatever the cache has of a set that is known to share pictures.
What that would take too long for is left to `medrobust audit` and named as such.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.cache import CachedArray, cache_of, unpacking_at_most
from medrobust.datasets.image_set import DatasetSource, ImageSet
from medrobust.datasets.published.known_shares import SHARED_SOURCES
from medrobust.exceptions import DatasetNotFoundError, MedRobustError
from medrobust.types import Origin

from .findings import Looked, read_findings, read_looked, write_findings
from .perceptual import (
    Repeats,
    equal_pictures,
    hashes_of,
    kept_hashes,
    near_repeats,
)

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
EXAMPLES = 5
"""Pairs that a sentence names."""

MOST_IMAGES = 50_000
"""Of another split, beyond which a run does not look at it by itself."""

MOST_UNPACKED: Mapping[Origin, int] = MappingProxyType(
    {"phantom": 0, "public": MOST_IMAGES, "own": 5_000}
)
"""Images of another split that a run unpacks for this alone: drawing and decoding files is slow."""

MOST_PAIRS = 2_000_000_000
"""Pairs of pictures of two sets beyond which a run does not compare them by itself."""

MANY = 5_000
"""Images beyond which a run says beforehand that it looks at them."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a split is compared with.

    Attributes:
        split: Its name.
        hashes: Of its pictures.
        image_set: None where only the hashes are at hand.
    """

    split: str
    hashes: CachedArray
    image_set: ImageSet | None = None


def whole(source: DatasetSource) -> Any:
    """Return the source of all images of a set, that fetches nothing: an audit is of all of it."""
    changes = {"limit": None, "download": False}
    own = getattr(source, "__dataclass_fields__", {})
    known = {name: value for name, value in changes.items() if name in own}
    return replace(source, **known) if is_dataclass(source) else source


def look(source: DatasetSource) -> ImageSet:
    """Look for repeats of the evaluated split in its own set, unless that was done before.

    Returns:
        The split, whole; `read_findings` and `read_looked` say what was found.

    Raises:
        MedRobustError: If it cannot be opened, or the cache cannot be written.
    """
    source = whole(source)
    cache_dir = cache_of(source)
    image_set: ImageSet = source.load()
    opened, left_out = _other_splits(source, image_set)
    splits = (image_set, *opened.values())
    known = read_looked(image_set, cache_dir).get("", Looked())
    if _compared(splits, cache_dir).items() <= known.compared.items():
        return image_set
    repeats = repeats_by_split(image_set, opened, cache_dir)
    patients = (f for other in opened.values() for f in shared_patients(image_set, other))
    found = [*(f for part in repeats.values() for f in part), *patients]
    keep(image_set, found, splits, cache_dir, left_out)
    return image_set


def _other_splits(
    source: DatasetSource, image_set: ImageSet
) -> tuple[dict[str, ImageSet], dict[str, str]]:
    """Open the other splits that are at hand; of the others say why they are left out."""
    opened: dict[str, ImageSet] = {}
    left_out: dict[str, str] = {}
    for split in SPLITS:
        if split == image_set.split:
            continue
        try:
            with unpacking_at_most(MOST_UNPACKED[image_set.origin]):
                other = source.load(split)
        except DatasetNotFoundError:
            continue
        except MedRobustError as error:
            left_out[split] = error.for_records.rstrip(".")
            continue
        except OSError as error:
            left_out[split] = f"it cannot be read ({error.strerror})"
            continue
        if len(other) > MOST_IMAGES:
            left_out[split] = f"its {len(other):,} images would take a run too long"
        else:
            opened[split] = other
    return opened, left_out


def look_beside(
    image_set: ImageSet,
    others: Iterable[ImageSet],
    cache_dir: str | os.PathLike[str] | None = None,
) -> None:
    """Look for repeats of a split in other sets, unless that was done before.

    Args:
        image_set: The evaluated split, whole.
        others: Evaluated splits of the other sets of the run, whole.
        cache_dir: Where hashes and findings are kept.

    Raises:
        StoreError: If the cache cannot be written.
    """
    at_hand: dict[str, dict[str, Pictures]] = {}
    for name in (n for pair, _ in SHARED_SOURCES if image_set.name in pair for n in pair):
        if name != image_set.name:
            kept = kept_hashes(name, cache_dir)
            at_hand[name] = {split: Pictures(split, array) for split, array in kept.items()}
    for other in others:
        if other.name != image_set.name:
            pictures = Pictures(other.split, hashes_of(other, cache_dir), other)
            at_hand.setdefault(other.name, {})[other.split] = pictures
    looked = read_looked(image_set, cache_dir)
    for name, splits in at_hand.items():
        sized = [p for p in splits.values() if _pairs(image_set, p) <= MOST_PAIRS]
        known = looked.get(name, Looked())
        left_out = {
            f"{name}/{split}": f"{_pairs(image_set, p):,} pairs would take a run too long"
            for split, p in splits.items()
            if p not in sized and f"{name}/{split}" not in known.compared
        }
        done = {f"{name}/{p.split}": p.hashes.digest for p in sized}.items() <= (
            known.compared.items()
        )
        if splits and not (done and left_out == known.left_out):
            compare_with_set(image_set, name, sized, cache_dir, left_out)


def _pairs(image_set: ImageSet, pictures: Pictures) -> int:
    return len(image_set) * len(pictures.hashes.open())


def compare_with_set(
    image_set: ImageSet,
    name: str,
    others: Sequence[Pictures],
    cache_dir: str | os.PathLike[str] | None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> list[Finding]:
    """Say how many pictures of a split repeat pictures of another set, and keep what was found.

    Args:
        image_set: The split.
        name: Of the other set.
        others: Its splits.
        cache_dir: Where hashes and findings are kept.
        left_out: "NAME/SPLIT" -> why it is not among them.

    Raises:
        StoreError: If the cache cannot be written.
    """
    hashes = hashes_of(image_set, cache_dir).open()
    found = [
        finding
        for other in others
        for finding in _repeated(
            image_set,
            f"one of {name}/{other.split}",
            other.image_set,
            near_repeats(hashes, other.hashes.open()),
            which=f"{image_set.name}/{image_set.split}",
        )
    ]
    compared = {f"{name}/{other.split}": other.hashes.digest for other in others}
    looked = Looked(compared, left_out)
    write_findings(image_set, found, cache_dir, looked=looked, beside=name)
    return found


def repeats_by_split(
    image_set: ImageSet,
    opened: Mapping[str, ImageSet],
    cache_dir: str | os.PathLike[str] | None,
) -> dict[str, list[Finding]]:
    """Say how many pictures of a split repeat others of it, or of another split, or show nothing.

    Args:
        image_set: The split.
        opened: The splits of its set, itself among them or not.
        cache_dir: Where hashes are kept.

    Returns:
        Split -> findings, the split itself first.
    """
    count = sum(map(len, opened.values()))
    if count > MANY:
        log.info("%s: looking for repeated pictures, once for these data", image_set.name)
    hashes = hashes_of(image_set, cache_dir).open()
    blank = int((~hashes.any(axis=1)).sum())
    own = f"an earlier one of {image_set.split}"
    said = f"{counted(blank, 'image')} of {image_set.split} {agreeing(blank, 'shows')}"
    grey = Finding("further remarks", f"{said} one grey only")
    found = {
        image_set.split: [
            *_repeated(image_set, own, image_set, near_repeats(hashes)),
            *([grey] if blank else []),
        ]
    }
    for split, other in opened.items():
        if split != image_set.split:
            repeats = near_repeats(hashes, hashes_of(other, cache_dir).open())
            found[split] = _repeated(image_set, f"one of {split}", other, repeats)
    return found


def keep(
    image_set: ImageSet,
    found: Sequence[Finding],
    splits: Iterable[ImageSet],
    cache_dir: str | os.PathLike[str] | None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Keep what was found of a split in its own set, but for what opening it says again.

    Raises:
        StoreError: If the cache cannot be written.
    """
    earlier = read_findings(image_set, cache_dir)
    by_itself = set(image_set.findings) - set(earlier)
    write_findings(
        image_set,
        [finding for finding in found if finding not in by_itself],
        cache_dir,
        looked=Looked(_compared(splits, cache_dir), left_out),
    )


def _compared(
    splits: Iterable[ImageSet], cache_dir: str | os.PathLike[str] | None
) -> dict[str, str]:
    return {split.split: hashes_of(split, cache_dir).digest for split in splits}


def _repeated(
    one: ImageSet, what: str, other: ImageSet | None, repeats: Repeats, *, which: str = ""
) -> list[Finding]:
    if not len(repeats):
        return []
    rows, partners = (part[:EXAMPLES].tolist() for part in (repeats.rows, repeats.partners))
    names = partners if other is None else other.ids[partners].tolist()
    pairs = [f"{one.ids[row]}={name}" for row, name in zip(rows, names, strict=True)]
    pairs += ["…"] * (len(repeats) > EXAMPLES)
    verb = agreeing(len(repeats), "repeats")
    said = f"{counted(len(repeats), 'image')} of {which or one.split} nearly {verb} {what}"
    if other is None:
        return [Finding("repeated images", said, tuple(pairs), "id=row")]
    equal = equal_pictures(one, other, repeats)
    return [Finding("repeated images", f"{said}, {equal} identical", tuple(pairs))]


def shared_patients(image_set: ImageSet, other: ImageSet) -> tuple[Finding, ...]:
    """Say how many patients of a split are in another split too."""
    if image_set.groups is None or other.groups is None:
        return ()
    return patients_in_two(image_set.groups, other.groups, image_set.split, other.split)


def patients_in_two(
    here: NDArray[Any], there: NDArray[Any], split: str, other: str
) -> tuple[Finding, ...]:
    """Say how many patients are in two splits; the same finding, whichever is named first.

    Args:
        here: Patient of each image of the split, by name or number.
        there: Patients of the other split.
        split: Name of the split.
        other: Name of the other split.
    """
    both = np.intersect1d(here, there)
    if not len(both):
        return ()
    named = sorted(((split, here), (other, there)), key=lambda pair: split_order(pair[0]))
    parts = [
        f"{name} ({counted(int(np.isin(groups, both).sum()), 'image')})" for name, groups in named
    ]
    said = f"{counted(len(both), 'patient')} {agreeing(len(both), 'is')} in two splits"
    return (Finding("patients in two splits", f"{said}: {' and '.join(parts)}"),)


def split_order(split: str) -> tuple[int, str]:
    """Return what splits are sorted by: train, val, test, then others by name.

    Example:
        >>> sorted(["mine", "test", "train", "val"], key=split_order)
        ['train', 'val', 'test', 'mine']
    """
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)
