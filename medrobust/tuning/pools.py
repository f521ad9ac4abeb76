"""Images to tune on: pools without what they share with evaluated splits, and shots from them.

The test split is never opened, unless `tuning.choose=best_on_test` or `tuning.leave_out_repeats`
asks for it by name; of own data it is read whose images are in it, and those patients are left out.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.audits.perceptual import hashes_of, near_repeats
from medrobust.datasets.cache import cache_of
from medrobust.datasets.image_set import ImageSet, NamesPatients
from medrobust.datasets.sampling import FewShots, few_shots
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float32Array

from .stage import Stage

if TYPE_CHECKING:
    from medrobust.datasets.image_set import DatasetSource

    from .recipe import Tuning

log = logging.getLogger(__name__)

Opened: TypeAlias = "Callable[[DatasetSource], ImageSet]"
"""Opens the evaluated split of a data set."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Images of a pool that show the same as an image of an evaluated split.

    Attributes:
        dataset: Of the pool.
        split: Of the pool.
        rows: How many there are.
        of: Images of the pool.
    """

    dataset: str
    split: str
    rows: int
    of: int


def draw_shots(
    datasets: "Sequence[DatasetSource]", stage: Stage, opened: Opened
) -> tuple[tuple[FewShots, ...], tuple[str, ...]]:
    """Draw the shots of each data set to tune on, and what chooses the epoch.

    Args:
        datasets: All that are evaluated.
        stage: What is tuned, and how.
        opened: Opens what is evaluated, where the recipe asks for it.

    Returns:
        Shots and selection part of each data set; what the reader of the tuned model's figures must
        know of them, in sentences.

    Raises:
        ConfigurationError: If there is nothing to tune on.
    """
    how = stage.how
    evaluated: list[Float32Array] = []
    sources = _tuned_on(datasets, how)
    if how.leave_out_repeats:  # pictures are hashed, and nothing else of these splits is used
        evaluated = [hashes_of(opened(one), cache_of(one)).open() for one in datasets]
    draws = [_draw(source, how, evaluated, opened) for source in sources]
    found = [pool for _, pools in draws for pool in pools]
    splits = dict.fromkeys(source.split for source in datasets)
    drawn = tuple(one for one, _ in draws)
    return drawn, (*_fewer(stage, drawn), *_protocol(stage, list(splits), found))


def _fewer(stage: Stage, drawn: Sequence[FewShots]) -> Iterator[str]:
    """Say of which data sets shots are fewer than their name says, or none is left to choose by."""
    for one in drawn:
        counts = one.shots.class_counts
        if stage.how.shots is not None and counts and min(counts) < stage.how.shots:
            yield (
                f"{stage.recipe.name}: {one.shots.name} has fewer than the {stage.how.shots} shots "
                f"a class that were asked for: {counted(len(one.shots), 'image')} used "
                f"({one.shots.counted})"
            )
        if one.selection is None and stage.how.choose == "best" and not stage.recipe.trains_head:
            yield (
                f"{stage.recipe.name}: no image of {one.shots.name} is left to choose the epoch "
                f"by; without any, the last one is kept. tuning.select_from=val chooses by others"
            )


def _tuned_on(datasets: "Sequence[DatasetSource]", how: "Tuning") -> "list[DatasetSource]":
    """Return the data sets to tune on."""
    names = [source.name for source in datasets]
    wanted = names if how.datasets is None else list(how.datasets)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ConfigurationError(
            f"tuning.datasets={wanted}: the data sets of this run are {', '.join(names)}."
        )
    return [source for source in datasets if source.name in wanted]


def _draw(
    source: "DatasetSource", how: "Tuning", evaluated: Sequence[Float32Array], opened: Opened
) -> tuple[FewShots, list[Repeated]]:
    """Draw the shots of one data set and what chooses the epoch; say what its pools repeat."""
    keeps = how.leave_out_repeats is not True
    pool, of_pool, notes = _apart(source, how.pool, evaluated, keeps=keeps)
    other, found = None, [of_pool]
    if how.select_from is not None:
        other, of_other, more = _apart(source, how.select_from, evaluated, keeps=keeps)
        found.append(of_other)
        notes += more
    for note in notes:
        log.info("%s: %s", source.name, note)
    drawn = few_shots(pool, **how.amount, seed=how.shot_seed, select_from=other)
    if how.choose == "best_on_test":
        drawn = replace(drawn, selection=opened(source))
    told = tuple(_sentence([one], keeps=keeps) for one in found if evaluated)
    return replace(drawn, notes=(*drawn.notes, *notes, *told)), found


def _protocol(stage: Stage, splits: Sequence[str], found: Sequence[Repeated]) -> tuple[str, ...]:
    """Say what the reader of the tuned model's figures must know."""
    told = []
    if stage.how.leave_out_repeats:
        told.append(_sentence(found, keeps=stage.how.leave_out_repeats == "count"))
    if stage.how.choose == "best_on_test":
        told.append(
            f"{stage.recipe.name}: its epoch was chosen by the errors of the evaluated split "
            f"({', '.join(splits)}), so that these are too low"
        )
    return tuple(told)


def _sentence(found: Sequence[Repeated], *, keeps: bool) -> str:
    """Say how many images of pools repeat an image of an evaluated split, and where they are."""
    rows, of = sum(one.rows for one in found), sum(one.of for one in found)
    which = [f"{one.dataset}/{one.split} {one.rows} of {one.of}" for one in found if one.rows]
    where = ", ".join(which or dict.fromkeys(f"{one.dataset}/{one.split}" for one in found))
    return (
        f"{rows} of {of} images to tune on show the same as an image of an evaluated split and "
        f"were left {'in' if keeps else 'out'} ({where})"
    )


def _apart(
    source: "DatasetSource", split: str, evaluated: Sequence[Float32Array], *, keeps: bool
) -> tuple[ImageSet, Repeated, tuple[str, ...]]:
    """Open a pool without what it shares with evaluated splits, and say what was taken out.

    Raises:
        ConfigurationError: If no image is left.
    """
    opened = replace(source.load(split), other_split=source.load)
    pool, notes = _without_patients(opened, source)
    pool, found = _without_repeats(pool, evaluated, keeps=keeps, cache_dir=cache_of(source))
    return pool, found, notes


def _without_patients(pool: ImageSet, source: "DatasetSource") -> tuple[ImageSet, tuple[str, ...]]:
    """Take out the patients of own data who stand in the evaluated split, too."""
    if pool.groups is None or pool.split == source.split or not isinstance(source, NamesPatients):
        return pool, ()
    theirs = source.patients_of(source.split)
    if theirs is None or not (shared := np.isin(pool.groups, theirs)).any():
        return pool, ()
    patients = len(np.unique(pool.groups[shared]))
    images = int(np.isin(theirs, pool.groups).sum())
    note = (
        f"{counted(patients, 'patient')} of the {source.split} split "
        f"({counted(images, 'image')}) {agreeing(patients, 'is')} also in {pool.split}: "
        f"{counted(int(shared.sum()), 'image')} of {pool.split} left out of tuning"
    )
    return _kept(pool, ~shared, note, "without patients"), (note,)


def _without_repeats(
    pool: ImageSet, evaluated: Sequence[Float32Array], *, keeps: bool, cache_dir: str | None
) -> tuple[ImageSet, Repeated]:
    """Take out the images that show the same as one of an evaluated split, or count them only."""
    free = np.ones(len(pool), dtype=bool)
    own = hashes_of(pool, cache_dir).open() if evaluated else None
    for others in evaluated:
        assert own is not None
        free[near_repeats(own, others).rows] = False
    found = Repeated(pool.name, pool.split, int((~free).sum()), len(pool))
    if keeps or not evaluated:
        return pool, found
    return _kept(pool, free, _sentence([found], keeps=False), "without repeats"), found


def _kept(pool: ImageSet, free: NDArray[np.bool_], note: str, why: str) -> ImageSet:
    """Take the free images of a pool; its fingerprint says why."""
    if not free.any():
        raise ConfigurationError(f"{note}: none is left of {pool.name} to tune on.")
    kept = np.flatnonzero(free)
    print_ = fingerprint([pool.fingerprint, why, pool.ids[kept].tolist()])
    return pool.take(kept, fingerprint=print_)
