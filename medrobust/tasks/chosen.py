"""Which images and places a scorer keeps: a draw of each image's own, whatever comes with it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.base.wording import agreeing, counted, part_of
from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.types import Int64Array


def generator(seed: int, index: int) -> np.random.Generator:
    """Return the random numbers of one image; -1 is no image."""
    words = np.array([seed % 2**64, index % 2**64], np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def spread(
    index: Int64Array, at_most: int, seed: int, patients: NDArray[np.str_] | None = None
) -> Int64Array:
    """Return at most so many images: those with the smallest draws, ascending by index.

    Of a patient the image with the smallest draw comes first, and the next one only when every
    patient has given as many: few images are those of many patients.

    Args:
        index: int64 (N,), of the images.
        at_most: How many.
        seed: Of the draws.
        patients: (N,), of whom each image is; None: each is of another one.

    Example:
        >>> spread(np.arange(6), 3, 0, np.array(list("aaaabc"))).tolist()
        [0, 4, 5]
    """
    order = np.argsort(index, kind="stable")
    ordered: Int64Array = index[order]
    if len(ordered) <= at_most:
        return ordered
    draws = np.array([generator(seed, int(one)).random() for one in ordered])
    by_draw = np.argsort(draws, kind="stable")
    if patients is not None:
        given: Counter[str] = Counter()
        turns = []
        for one in patients[order][by_draw].tolist():
            turns.append(given[one])
            given[one] += 1
        by_draw = by_draw[np.argsort(turns, kind="stable")]
    return np.sort(ordered[by_draw[:at_most]])


class Kept:
    """States of chosen images, put in order of their index when all are there.

    Args:
        index: int64 (N,), of the images that are wanted, each once.
    """

    def __init__(self, index: Int64Array) -> None:
        if not len(index) or len(np.unique(index)) < len(index):
            raise ConfigurationError(
                f"normal images are needed, each once: of {counted(len(index), 'image')} "
                f"{len(np.unique(index))} differ."
            )
        self._place = {int(one): place for place, one in enumerate(np.sort(index))}
        self._states: dict[int, dict[int, Tensor]] = {}

    def wants(self, index: int) -> bool:
        """Say whether an image is one of them."""
        return index in self._place

    def put(self, block: int, index: int, states: Tensor) -> None:
        """Keep what is chosen of an image, on the CPU.

        Raises:
            ConfigurationError: If the image was there before.
        """
        kept = self._states.setdefault(block, {})
        if index in kept:
            raise ConfigurationError(f"the normal image {index} was added twice.")
        kept[index] = states.detach().to("cpu", torch.float32, copy=True)

    def ordered(self) -> dict[int, list[Tensor]]:
        """Return block -> states of each image, ascending by index.

        Raises:
            ConfigurationError: If an image is missing, or nothing was added.
        """
        for kept in self._states.values():
            if missing := sorted(self._place.keys() - kept.keys()):
                raise ConfigurationError(
                    f"{part_of(len(missing), len(self._place), 'normal image')} "
                    f"{agreeing(len(missing), 'was')} never added, the first of index {missing[0]}."
                )
        if not self._states:
            raise ConfigurationError("no normal image was added.")
        return {
            block: [kept[index] for index in self._place] for block, kept in self._states.items()
        }


def check_batch(index: Sequence[int], states: Tensor) -> None:
    """Refuse states that are not one row an image, or not numbers.

    Raises:
        ConfigurationError: Naming both shapes.
        NotFiniteError: If some are not finite.
    """
    if states.ndim != 3 or len(states) != len(index):
        raise ConfigurationError(
            f"states of places must be ({len(index)}, P, D) for {counted(len(index), 'image')}; "
            f"these are {tuple(states.shape)}."
        )
    broken = int((~torch.isfinite(states).flatten(1).all(dim=1)).sum())
    if broken:
        raise NotFiniteError(
            f"places of {part_of(broken, len(states), 'normal image')} are not finite: the "
            f"weights, the precision or the preprocessing do not suit these images."
        )
