"""Choosing samples: every choice orders samples by a keyed hash of their id.

A sample's place in the order depends on the seed and its own id alone: not on the library, the
machine, the order of the table or the samples beside it. Smaller choices lie inside larger ones.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.numbering import numbered
from medrobust.base.targets import Labels
from medrobust.base.wording import part_of
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array

from .image_set import ImageSet


def draw_order(names: list[str], seed: int, purpose: str) -> Float64Array:
    """Give each name its place in [0, 1) in the order of a draw.

    Args:
        names: Ids of samples, or of groups.
        seed: Of the draw.
        purpose: Keeps draws for different ends apart.

    Returns:
        float64 (N,), equal for equal names: the first 52 bits of SHA-256, exact on every machine.
    """
    prefix = f"medrobust {purpose} {seed}\\n".encode()
    heads = [hashlib.sha256(prefix + name.encode()).digest()[:8] for name in names]
    whole = np.frombuffer(b"".join(heads), dtype=">u8") >> np.uint64(12)
    places: Float64Array = whole.astype(np.float64) / 2.0**52
    return places


def strata(image_set: ImageSet) -> Int64Array:
    """Return the stratum of each image: its class, or its whole row of labels for label sets.

    Images that are judged by something else are all in one.
    """
    if not isinstance(image_set.target, Labels):
        return np.zeros(len(image_set), np.int64)
    if image_set.labels.ndim == 1:
        return image_set.labels
    return np.unique(image_set.labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def limited(image_set: ImageSet, limit: int | None, seed: int = 0) -> ImageSet:
    """Take a stratified part of at most `limit` images, marked as such in every table.

    Args:
        image_set: Returned as it is when it has no more images than that, or `limit` is None.
        limit: Number of images.
        seed: Of the draw.

    Raises:
        ConfigurationError: If `limit` is smaller than 1.
    """
    if limit is None or limit >= len(image_set):
        return image_set
    if limit < 1:
        raise ConfigurationError(f"dataset.limit={limit} must be at least 1.")
    rows = stratified_rows(image_set, limit, seed)
    return image_set.take(
        rows,
        fingerprint=fingerprint([image_set.fingerprint, "limit", limit, seed]),
        findings=(Finding("further remarks", f"subset of {limit} of {len(image_set)} images"),),
    )


def stratified_rows(image_set: ImageSet, count: int, seed: int) -> Int64Array:
    """Draw `count` rows so that strata keep their shares, rows in ascending order.

    Images are taken in the order of (place in the draw within their stratum, as a share of it),
    which gives every stratum its share to within one image.
    """
    order = draw_order(image_set.ids.tolist(), seed, "subset")
    kinds = strata(image_set)
    share = np.empty(len(order))
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        place = np.empty(len(rows))
        place[np.argsort(order[rows], kind="stable")] = np.arange(len(rows))
        share[rows] = (place + 0.5) / len(rows)
    first = np.lexsort((order, share))[:count]
    return np.sort(first).astype(np.int64)


@dataclass(frozen=True, slots=True)
class FewShots:
    """What tuning may see.

    Attributes:
        shots: The images to train on; read when asked for.
        selection: Images to choose a model by, none of them a shot or of a shot's patient; None
            where nothing is left of the pool.
        notes: What the reader of a table should know (a class with fewer images than asked for).
    """

    shots: ImageSet
    selection: ImageSet | None
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return plain values for the store: the ids that were drawn, and from which splits."""
        chosen = self.selection
        return {
            "dataset": self.shots.name,
            "pool": self.shots.split,
            "shots": self.shots.ids.tolist(),
            "selection_split": None if chosen is None else chosen.split,
            "selection": [] if chosen is None else chosen.ids.tolist(),
            "notes": list(self.notes),
        }


def few_shots(
    pool: ImageSet,
    *,
    fraction: float | None = None,
    shots: int | None = None,
    seed: int = 0,
    select_from: ImageSet | None = None,
) -> FewShots:
    """Draw images to tune on, and others to select a model by.

    A fraction keeps the shares of the classes (each class has at least one image) and takes
    patients whole as far as that allows: 10 % of the images are about 10 % of the patients. `shots`
    images a class come from as many patients as possible. For label sets a fraction keeps the
    shares of the combinations of labels, and `shots` images show each label, and none; images
    that are judged by texts, or by masks alone, are of one class. Draws with one seed nest: 10 %
    lie inside 30 %, two shots inside four. Each choice depends on seed, ids and labels alone, so it
    is the same on every machine and in any order of the rows.

    The selection part has the size of the shots and comes from the other images of the pool, or
    from `select_from`; images of patients who have a shot are left out of it.

    Args:
        pool: Split that shots come from.
        fraction: Share of the pool, above 0 and at most 1; or
        shots: Images a class.
        seed: Of the draw (`tuning.shot_seed`).
        select_from: Another split for the selection part, such as val.

    Raises:
        ConfigurationError: If a split is "test", or not exactly one of `fraction` and `shots` is
            given, or out of its range.
    """
    _check_request(pool, select_from, fraction, shots)
    chosen = _drawn(pool, fraction, shots, seed, "shots")
    request = ["few shots", fraction, shots, seed]
    taken = pool.take(chosen, fingerprint=fingerprint([pool.fingerprint, *request]))
    source = select_from or pool
    free = np.ones(len(source), dtype=bool)
    if source.split == pool.split:
        free &= ~np.isin(source.ids, taken.ids)
    if taken.groups is not None and source.groups is not None:
        free &= ~np.isin(source.groups, taken.groups)
    notes = _shortage(pool, chosen, shots)
    left = np.flatnonzero(free)
    if not len(left):
        return FewShots(taken, None, (*notes, f"no image of {source.split} is left for selection"))
    rest = source.take(left, fingerprint=fingerprint([source.fingerprint, "left", *request]))
    size = fraction if fraction is None else min(1.0, len(chosen) / len(rest))
    rows = _drawn(rest, size, shots, seed, "selection")
    print_ = fingerprint([source.fingerprint, taken.fingerprint, "selection", *request])
    return FewShots(taken, rest.take(rows, fingerprint=print_), notes)


def _check_request(
    pool: ImageSet, select_from: ImageSet | None, fraction: float | None, shots: int | None
) -> None:
    for image_set, key in ((pool, "tuning.pool"), (select_from, "tuning.select_from")):
        if image_set is not None and image_set.split == "test":
            raise ConfigurationError(
                f"{key}=test: the test split is only ever evaluated. Choose train or val."
            )
    if (fraction is None) == (shots is None):
        raise ConfigurationError(
            f"tuning.fraction={fraction} and tuning.shots={shots}: give one of the two."
        )
    if fraction is not None and not 0 < fraction <= 1:
        raise ConfigurationError(f"tuning.fraction={fraction} must be above 0 and at most 1.")
    if shots is not None and shots < 1:
        raise ConfigurationError(f"tuning.shots={shots} must be at least 1.")


def _drawn(
    image_set: ImageSet, fraction: float | None, shots: int | None, seed: int, purpose: str
) -> Int64Array:
    """Draw rows, in ascending order."""
    labels = image_set.labels if isinstance(image_set.target, Labels) else strata(image_set)
    multi_label = labels.ndim == 2
    draw = _Draw(image_set, seed, purpose, whole_patients=fraction is not None)
    if fraction is not None:
        kinds = strata(image_set)
        turn, size = draw.turns(kinds)
        if multi_label:
            wanted = max(1, int(fraction * len(kinds) + 0.5))
            order = np.lexsort((draw.place, (turn + 0.5) / size))
            return np.sort(order[:wanted])
        return np.flatnonzero(turn < np.maximum(1, np.floor(fraction * size + 0.5)))
    assert shots is not None
    if not multi_label:
        return np.flatnonzero(draw.turns(labels)[0] < shots)
    shown = np.column_stack([labels, ~labels.any(axis=1)])
    picked_ones = [
        np.flatnonzero((column == 1) & (draw.turns(column)[0] < shots)) for column in shown.T
    ]
    return np.unique(np.concatenate(picked_ones))


class _Draw:
    """The order in which a draw takes the images of each stratum."""

    def __init__(
        self, image_set: ImageSet, seed: int, purpose: str, *, whole_patients: bool
    ) -> None:
        self.place = draw_order(image_set.ids.tolist(), seed, purpose)
        groups = image_set.ids if image_set.groups is None else image_set.groups
        names, self.group = np.unique(groups, return_inverse=True)
        self.group_place = draw_order(names.tolist(), seed, f"{purpose}, patients")[self.group]
        self.whole_patients = whole_patients

    def turns(self, kinds: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return each image's turn within its stratum, from 0, and the size of that stratum."""
        by_patient = [self.place, self.group, self.group_place]
        if not self.whole_patients:  # one image of every patient first, then a second one
            pairs = numbered(kinds, self.group)
            by_patient.append(_turns_within(pairs, np.lexsort((self.place,))))
        order = np.lexsort(by_patient)
        of_stratum = numbered(kinds)
        sizes = np.bincount(of_stratum).astype(np.int64)
        return _turns_within(of_stratum, order), sizes[of_stratum]


def _turns_within(kinds: Int64Array, order: Int64Array) -> Int64Array:
    """Count each image within its kind, in the given order."""
    turn = np.empty(len(kinds), dtype=np.int64)
    grouped = order[np.argsort(kinds[order], kind="stable")]
    firsts = np.searchsorted(kinds[grouped], kinds[grouped])
    turn[grouped] = np.arange(len(kinds)) - firsts
    return turn


def _shortage(pool: ImageSet, rows: Int64Array, shots: int | None) -> tuple[str, ...]:
    """Name the classes that have fewer images than asked for, or none."""
    if not isinstance(pool.target, Labels):
        return ()
    wanted = shots or 1
    labels = pool.labels[rows]
    classes = len(pool.class_names)
    found = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
    return tuple(
        f"{pool.class_names[number]}: {part_of(found[number], wanted, 'image')} in {pool.split}"
        for number in np.flatnonzero(found < wanted)
    )
