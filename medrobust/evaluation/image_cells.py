"""Cells of images and no model: measures of clean and corrupted images, beside those of a run.

The same plan, store, resume and fingerprints, with the model left out: a sweep over models has them
once. They are small, so that they are neither claimed nor shared between processes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from medrobust.base.redaction import without_paths
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError

from .environment import describe_device, versions
from .experiment import Experiment
from .plan import DatasetPlan, PlannedCell
from .run.encoding import Done, OnCell
from .store import CellKey, Store

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from medrobust.datasets.image_set import ImageSet
    from medrobust.quality import ImageQuality
    from medrobust.quality.niqe import SiteModel

    from .resources import Resources

MODEL = "images"
"""Who answers, in tables: the images themselves."""

BATCH = 32
"""Images measured at a time; changes no number."""


def image_plans(
    experiment: Experiment, plans: Sequence[DatasetPlan], resources: "Resources"
) -> list[DatasetPlan]:
    """Name the cells of images for every condition of a job; none unless quality is asked for.

    Args:
        experiment: The job.
        plans: Of its models.
        resources: Opens the validation split, where a measure is fitted on it.

    Raises:
        InvalidImageError: If images are too small for a measure.
        ConfigurationError: If a measure is fitted on validation images and there are none, or needs
            files and no folder is named.
        WeightsNotFoundError: If that folder lacks a file.
    """
    quality = experiment.data.quality
    if quality is None:
        return []
    for one in plans:
        quality.check_size(*one.image_set.images.shape[1:3])
    return [_of_images(one, experiment, quality, resources) for one in plans]


def _of_images(
    planned: DatasetPlan, experiment: Experiment, quality: "ImageQuality", resources: "Resources"
) -> DatasetPlan:
    site = _site(planned, experiment, resources) if quality.of_a_site else None
    return replace(planned, cells=_cells(planned, quality, site), site=site)


def _site(planned: DatasetPlan, experiment: Experiment, resources: "Resources") -> "ImageSet":
    """Open the validation split of a data set."""
    name = planned.image_set.name
    (source,) = (one for one in experiment.data.datasets if one.name == name)
    try:
        return resources.image_set(source, "val")
    except DatasetNotFoundError as error:
        raise ConfigurationError(
            f"niqe is fitted on clean validation images, and data set {name!r} has none: leave it "
            f"out of quality.measures."
        ) from error


def _cells(
    planned: DatasetPlan, quality: "ImageQuality", site: "ImageSet | None"
) -> tuple[PlannedCell, ...]:
    """Leave the model out of each condition, once."""
    head = quality.head_of(None if site is None else site.fingerprint)
    found: dict[str, PlannedCell] = {}
    for cell in planned.cells:
        key = _key(cell.key, planned.image_set, head)
        found.setdefault(f"{key.spec.suite} {key.fingerprint}", replace(cell, key=key))
    return tuple(found.values())


def _key(of_model: CellKey, image_set: "ImageSet", head: Mapping[str, Any]) -> CellKey:
    height, width, *channels = image_set.images.shape[1:]
    encoding: dict[str, Any] = {
        "images": {"size": [height, width], "channels": channels[0] if channels else 1},
        **{
            part: of_model.encoding[part]
            for part in ("data", "corruption", "seed", "stream")
            if part in of_model.encoding
        },
    }
    spec = replace(of_model.spec, model=MODEL, adapter="none")
    return CellKey(spec, encoding, head, of_model.data)


def run_image_cells(
    experiment: Experiment,
    plans: Sequence[DatasetPlan],
    store: Store,
    on_cell: OnCell = lambda done: None,
) -> None:
    """Measure what the store lacks.

    Args:
        experiment: The job.
        plans: From `image_plans`.
        store: Where the cells go.
        on_cell: Hears of each cell when it is in the store.

    Raises:
        StoreError: If a finished cell is damaged, or the store cannot be written.
        MedRobustError: As reading or corrupting the images raises it.
    """
    for plan in plans:
        store.write_data(plan.record)
        for cell in plan.cells:
            began = time.perf_counter()
            missing = not (
                experiment.where.resume and (store.has(cell.key) or store.adopt(cell.key))
            )
            if missing:
                _compute(experiment, plan, cell, store)
            on_cell(Done(cell, computed=missing, seconds=time.perf_counter() - began))


def _compute(experiment: Experiment, plan: DatasetPlan, cell: PlannedCell, store: Store) -> None:
    began, device = time.perf_counter(), device_of(experiment)
    arrays = {"measures": measured(experiment, plan.image_set, cell, device, site=plan.site)}
    record = {
        "status": "done",
        "config": without_paths(experiment.config),
        "versions": versions(),
        "device": describe_device(device),
        "seconds": round(time.perf_counter() - began, 4),
    }
    store.write(cell.key, arrays, record, replace=not experiment.where.resume)


def measured(
    experiment: Experiment,
    image_set: "ImageSet",
    cell: PlannedCell,
    device: "torch.device",
    *,
    site: "ImageSet | None" = None,
) -> "NDArray[Any]":
    """Measure the images of a cell, float64 (N, M), in the order of the split."""
    import numpy as np
    import torch

    from medrobust.quality import measure

    names = cell.key.head["measures"]
    found = []
    model = None if site is None else _fitted(_Images(site))
    quality = experiment.data.quality
    local_dir = None if quality is None else quality.local_dir
    with torch.inference_mode():
        for clean, images in _pairs(experiment, image_set, cell, device):
            values: Mapping[str, torch.Tensor] = measure(
                images, names, clean=clean, site=model, local_dir=local_dir
            )
            found.append(torch.stack([values[name] for name in names], dim=1).cpu().numpy())
    return np.concatenate(found)


class _Images:
    """A split that is equal to one of the same fingerprint."""

    def __init__(self, image_set: "ImageSet") -> None:
        self.image_set = image_set

    def __hash__(self) -> int:
        return hash(self.image_set.fingerprint)

    def __eq__(self, other: object) -> bool:
        own = self.image_set.fingerprint
        return isinstance(other, _Images) and other.image_set.fingerprint == own


@lru_cache(maxsize=8)
def _fitted(site: _Images) -> "SiteModel":
    """Describe clean validation images, spread evenly over the split, on the CPU."""
    import numpy as np
    import torch

    from medrobust.engine.loader import StoredImages
    from medrobust.quality.measures import SITE_IMAGES
    from medrobust.quality.niqe import fit_site
    from medrobust.quality.windows import luma

    count = len(site.image_set)
    rows = np.unique(np.linspace(0, count - 1, min(SITE_IMAGES, count)).round())
    with torch.inference_mode():
        read = StoredImages(site.image_set).__getitems__([int(row) for row in rows])
        return fit_site(luma(read.images))


def _pairs(
    experiment: Experiment, image_set: "ImageSet", cell: PlannedCell, device: "torch.device"
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Yield batches of clean images and of what the cell shows, uint8 (n, C, H, W)."""
    from medrobust.engine.loader import StoredImages

    column, severity = cell.corruption, cell.key.spec.severity
    clean_images = StoredImages(image_set)
    shown = clean_images
    if column is not None and not column.computed:
        shown = StoredImages(column.images(image_set, severity))
    for start in range(0, len(image_set), BATCH):
        rows = range(start, min(start + BATCH, len(image_set)))
        read = clean_images.__getitems__(rows)
        clean = read.images.to(device)
        images = clean if shown is clean_images else shown.__getitems__(rows).images.to(device)
        if column is not None:
            images = column(
                images,
                severity=severity,
                seed=experiment.data.seed,
                stream=image_set.stream,
                index=read.index,
            )
        yield clean, images


def device_of(experiment: Experiment) -> "torch.device":
    """Return the GPU where there is one and the Trainer may use it, else the CPU."""
    import torch

    accelerator = (experiment.config.get("trainer") or {}).get("accelerator")
    on_gpu = torch.cuda.is_available() and accelerator != "cpu"
    return torch.device("cuda", 0) if on_gpu else torch.device("cpu")
