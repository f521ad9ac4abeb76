"""Severity equalisation: levels at which every corruption changes validation images as much.

For each corruption and level the severity is searched at which the median SSIM over validation
images is nearest to a stated target. Test images choose nothing.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from medrobust.corruptions import Corruption
from medrobust.corruptions.continuous import (
    HARMLESS,
    Between,
    ContinuousCorruption,
    Equalisation,
    Level,
    corrupt_at,
)
from medrobust.corruptions.suites import SEVERITIES
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError
from medrobust.types import Float64Array

from .columns import Column

if TYPE_CHECKING:
    import torch

    from medrobust.datasets.image_set import DatasetSource, ImageSet

    from .experiment import Experiment
    from .plan import DatasetPlan
    from .resources import Resources

log = logging.getLogger(__name__)

PARTS = 64
"""Into which a severity is divided: levels lie at whole numbers of them."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

RISING = 0.005
"""By how much SSIM may rise from a severity to the next and still count as falling."""

BATCH = 32


def equalised(
    experiment: "Experiment",
    resources: "Resources",
    source: "DatasetSource",
    columns: Sequence[Column],
) -> tuple[Column, ...]:
    """Move the levels of each corruption to where the run asks for them; else leave all as it is.

    Raises:
        ConfigurationError: If there are no validation images, a column has no severities in
            between, or it cannot reach a target; all that cannot are named.
    """
    asked = experiment.data.equalise
    if asked is None or not columns:
        return tuple(columns)
    if isinstance(asked, Between):
        return _between(asked.at, experiment, columns)
    try:
        validation = resources.image_set(source, "val")
    except DatasetNotFoundError as error:
        raise ConfigurationError(
            f"severity.equalise is set on validation images, and data set {source.name!r} has "
            f"none. Choose published severities, as severity=all."
        ) from error
    found, complaints = [], []
    for column in columns:
        one = _of_column(column, validation, asked, experiment)
        complaints += [one] if isinstance(one, str) else []
        found += [] if isinstance(one, str) else [one]
    if complaints:
        raise ConfigurationError(
            f"severity.equalise on {source.name}: {'; '.join(complaints)}. Leave these out "
            f"(corruption=NAME, with -m a list), take milder targets (severity=ssim_mild), or "
            f"state your own (severity.equalise.targets=[...])."
        )
    for one in found:
        log.info("%s", sentence(one))
    return tuple(found)


def _between(
    at: float, experiment: "Experiment", columns: Sequence[Column]
) -> tuple[ContinuousCorruption, ...]:
    """Put all columns at one severity between the published ones.

    Raises:
        ConfigurationError: If a column has none, all of them named, or another level is asked for.
    """
    level = math.ceil(at)
    if experiment.data.severities != (level,):
        raise ConfigurationError(
            f"severity.levels={list(experiment.data.severities)} beside severity {at:g}: a run has "
            f"one severity between the published ones, of level {level}. Write severity={at:g}."
        )
    complaints = [reason for column in columns if (reason := _fixed(column))]
    if complaints:
        raise ConfigurationError(
            f"severity={at:g}: {'; '.join(complaints)}. Leave these out (corruption=NAME, with -m "
            f"a list), or choose published severities, as severity={level}."
        )
    placed = (Level(level, at),)
    found = [ContinuousCorruption(one, placed, f"{at:g}") for one in columns if _published(one)]
    for one in found:
        log.info("%s", sentence(one))
    return tuple(found)


def sentence(column: ContinuousCorruption) -> str:
    """Say where the levels of a column lie."""
    levels = ", ".join(
        f"{one.level} at {one.severity:g}"
        if one.target is None
        else f"{one.level} at {one.severity:.2f} (SSIM {one.quantiles[2]:.3f} of {one.target:g})"
        for one in column.levels
    )
    return f"{column.name} ({column.suite}): {levels}"


def sentences(plans: "Sequence[DatasetPlan]") -> list[str]:
    """Say for each equalised column of a job where its levels lie."""
    columns = [column for planned in plans for column in planned.columns]
    return [sentence(column) for column in columns if isinstance(column, ContinuousCorruption)]


def records(columns: Sequence[Column], dataset: str) -> list[dict[str, Any]]:
    """Return what run.json says of equalised columns: severities, targets, reached quantiles."""
    return [
        {"dataset": dataset, "suite": column.suite, "corruption": column.name, **asdict(level)}
        for column in columns
        if isinstance(column, ContinuousCorruption)
        for level in column.levels
    ]


def _of_column(
    column: Column, validation: "ImageSet", asked: Equalisation, experiment: "Experiment"
) -> ContinuousCorruption | str:
    """Equalise one column, or say why it cannot be."""
    reason = _fixed(column)
    if reason or not _published(column):
        return reason
    if column.domain != "picture":
        return f"{column.name} is on stored values, which are set to no SSIM"
    device = str(_device(experiment))
    wanted = tuple(sorted(experiment.data.severities))
    targets = tuple(asked.targets[level - 1] for level in wanted)
    key = (validation.fingerprint, column, wanted, targets, asked.images, asked.tolerance)
    return _solved(_Known(key, validation), experiment.data.seed, device)


def _published(column: Column) -> TypeGuard[Corruption]:
    return isinstance(column, Corruption)


def _fixed(column: Column) -> str:
    """Say why a column has no severities in between; empty where it has."""
    if not _published(column):
        return f"{column.name} is read from files, whose severities are fixed"
    if column.region is not None:
        return f"{column.name} is in a region, whose share of the image differs"
    if column.entry.kernel not in HARMLESS:
        return f"{column.name} has no severities between the published ones"
    return ""


class _Known:
    """What decides a solution, beside the images that it is found on: equal keys are equal."""

    def __init__(self, key: tuple[Any, ...], validation: "ImageSet") -> None:
        self.key, self.validation = key, validation

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.key == other.key


@lru_cache(maxsize=256)
def _solved(known: _Known, seed: int, device: str) -> ContinuousCorruption | str:
    _, column, wanted, targets, count, tolerance = known.key
    curve = _Curve(column, known.validation, count, seed, device)
    medians = {level: float(np.median(curve(level * PARTS, level))) for level in SEVERITIES}
    path = [1.0, *medians.values()]
    if any(b > a + RISING for a, b in pairwise(path)):
        shown = ", ".join(f"{value:.3f}" for value in path[1:])
        return f"SSIM under {column.name} does not fall with severity ({shown})"
    levels = []
    for level, target in zip(wanted, targets, strict=True):
        place, values = nearest(lambda at, level=level: curve(at, level), target)  # type: ignore[misc]
        reached = float(np.median(values))
        if abs(reached - target) > tolerance:
            if target < (least := min(path)):
                return f"{column.name} reaches a median SSIM of {least:.3f}, and not {target:g}"
            return (
                f"{column.name} comes no nearer to a median SSIM of {target:g} than {reached:.3f}"
            )
        quantiles = tuple(round(float(q), 6) for q in np.quantile(values, QUANTILES))
        levels.append(Level(level, place / PARTS, target, quantiles))
    return ContinuousCorruption(column, tuple(levels))


def nearest(curve: Callable[[int], Float64Array], target: float) -> tuple[int, Float64Array]:
    """Search where the median of a falling curve is nearest to a target.

    Args:
        curve: Place, a whole number of parts of a severity from 1 on, -> values of the images.
        target: Of the median.

    Returns:
        The place, and the values there.

    Example:
        >>> nearest(lambda place: np.array([1 - place / 320]), 0.75)
        (80, array([0.75]))
    """
    low, high = 0, PARTS * SEVERITIES[-1]  # above the target at `low`, if anywhere
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.median(curve(middle)) > target else (low, middle)
    places = [place for place in (low, high) if place > 0]
    values = {place: curve(place) for place in places}
    best = min(places, key=lambda place: abs(float(np.median(values[place])) - target))
    return best, values[best]


class _Curve:
    """SSIM of validation images under one corruption at any severity.

    Args:
        column: The corruption.
        validation: The split.
        count: Images that are looked at, spread over it.
        seed: Of the draws.
        device: That corrupts and measures.
    """

    def __init__(
        self, column: Corruption, validation: "ImageSet", count: int, seed: int, device: str
    ) -> None:
        from medrobust.engine.loader import StoredImages

        rows = np.unique(np.linspace(0, len(validation) - 1, min(count, len(validation))).round())
        read = StoredImages(validation).__getitems__([int(row) for row in rows])
        self._column, self._seed, self._stream = column, seed, validation.stream
        self._clean, self._index = read.images.to(device), read.index
        self._known: dict[tuple[int, int], Float64Array] = {}

    def __call__(self, place: int, level: int) -> Float64Array:
        """Measure at a place, with the draws of a level: float64 (N,)."""
        key = (place, level)
        if key not in self._known:
            self._known[key] = self._measured(place / PARTS, level)
        return self._known[key]

    def _measured(self, severity: float, level: int) -> Float64Array:
        import torch

        from medrobust.quality import measure

        found = []
        with torch.inference_mode():
            for start in range(0, len(self._clean), BATCH):
                rows = slice(start, start + BATCH)
                clean = self._clean[rows]
                keyed = (self._seed, self._stream, level)
                shown = corrupt_at(
                    self._column, clean, severity, keyed=keyed, index=self._index[rows]
                )
                if shown.shape[1] != clean.shape[1]:  # grey=rgb gives three channels
                    clean = clean.expand_as(shown)
                values: Mapping[str, torch.Tensor] = measure(shown, ["ssim"], clean=clean)
                found.append(values["ssim"].cpu().numpy())
        return np.concatenate(found)


def _device(experiment: "Experiment") -> "torch.device":
    from .image_cells import device_of

    return device_of(experiment)
