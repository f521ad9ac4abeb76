"""Image quality as a task: nothing answers, and what a cell holds are measures of its images."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.estimates import Estimate, Metric
from medrobust.metrics.intervals import mean_interval
from medrobust.quality import MEASURES
from medrobust.tasks.agreement import ALLOWED, Agreement, Move, agreement_of_arrays
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Task,
    Terms,
)
from medrobust.types import Float64Array, Int64Array

LOSS = "ssim_loss"
"""1 - SSIM: what a matrix shows, since less is better as for every error."""

PEAK = 255.0**2


def _metrics() -> dict[str, Metric]:
    found = {LOSS: Metric("1 − SSIM", higher_is_better=False, share=False)}
    for name, measure in MEASURES.items():
        unit = f" [{measure.unit}]" if measure.unit else ""
        better = measure.higher_is_better is True
        found[name] = Metric(measure.title + unit, higher_is_better=better, share=False)
    return found


class ImageQuality(Task):
    """Measures of clean and corrupted images; `quality=default` adds their cells to a run."""

    kind = "image_quality"
    level = "image"
    arrays = MappingProxyType({"measures": ArraySpec("float64", ("image", "measure"))})
    metrics = MappingProxyType(_metrics())
    losses = tuple(metrics)
    offered = losses
    of_models = False

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Refuse: no model answers it.

        Raises:
            ConfigurationError: Saying how it is asked.
        """
        _no_model()

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Refuse, as `heads` does."""
        _no_model()

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare measures: no tower runs, so that one tolerance holds on all devices."""
        return agreement_of_arrays(cell.arrays, again, ALLOWED["same kind"])

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Average each measure over the images, with its interval over images or patients.

        PSNR is that of the mean squared error, for the mean of PSNR is infinite where one image is
        unchanged. A measure without a value for one image has none for the cell.
        """
        columns = cell.arrays["measures"].T
        named = dict(zip(cell.head["measures"], columns, strict=True))
        if "ssim" in named:
            named = {LOSS: 1 - named["ssim"], **named}
        estimates, terms = {}, {}
        for name, values in named.items():
            if name == "psnr":
                estimates[name] = _psnr(values, cell.patients)
            elif np.isfinite(values).all():
                estimates[name] = _mean(values, cell.patients)
                terms[name] = Terms(values)
            else:
                estimates[name] = Estimate(None, note="an image has no value of it")
        return Scores(estimates, terms)


def _no_model() -> NoReturn:
    raise ConfigurationError(
        "image quality is asked of images and not of a model: add quality=default to a run, and "
        "leave its task as it is."
    )


def _mean(values: Float64Array, patients: Int64Array | None) -> Estimate:
    low, high = mean_interval(values, patients)
    mean = float(values.mean())
    return Estimate(mean, min(low, mean), max(high, mean))


def _psnr(values: Float64Array, patients: Int64Array | None) -> Estimate:
    """Turn PSNR of images into that of their mean squared error; none where nothing differs."""
    squared = _mean(PEAK / 10 ** (values / 10), patients)
    if not squared.value:
        return Estimate(None, note="no image differs from its clean one, so that it is infinite")
    low, value, high = (
        float(10 * np.log10(PEAK / each)) if each and each > 0 else None
        for each in (squared.high, squared.value, squared.low)
    )
    note = "" if high is not None else "the mean squared error may be 0, where it is infinite"
    return Estimate(value, low, high, note)


TASK = ImageQuality()
