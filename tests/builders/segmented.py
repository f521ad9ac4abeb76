"""Images whose grey says what they show, and a segmenter that reads it: a truth for every mask."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning
import torch
from torch import Tensor, nn

from medrobust.base.fingerprints import fingerprint
from medrobust.base.targets import Masks
from medrobust.corruptions import Corruption
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.experiment import AskedModel, Data, Experiment, How, Where
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store
from medrobust.models import OwnSegmenter, PromptSet
from medrobust.tasks.base import Cell

CLASSES = ("background", "disc", "bar")
GREYS = np.array([40, 120, 220], np.uint8)
SIZE = 64


def masks(count: int) -> np.ndarray:
    """Draw a disc in every other image and a bar in every third: uint8 (N, SIZE, SIZE)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    drawn = np.zeros((count, SIZE, SIZE), np.uint8)
    for row, mask in enumerate(drawn):
        if row % 3 == 0:
            mask[40:54, 8 : 40 + row % 10] = 2
        if row % 2 == 0:
            mask[(y - 20 - row % 7) ** 2 + (x - 30) ** 2 < 11**2] = 1
    return drawn


def segmented(
    split: str = "test", count: int = 13, spacing: Any = None, name: str = "greys"
) -> ImageSet:
    """Return a set of these images, other splits of it within reach."""
    drawn = masks(count)
    return ImageSet(
        name=name,
        split=split,
        images=np.repeat(GREYS[drawn][..., None], 3, axis=3),
        target=Masks(drawn, "drawn", spacing),
        class_names=CLASSES,
        ids=np.array([f"{split}/{row}" for row in range(count)]),
        index=np.arange(count, dtype=np.int64),
        fingerprint=fingerprint(["greys", split, count, str(spacing)]),
        groups=np.array([f"{split}/p{row // 2}" for row in range(count)]),
        origin="public",
        other_split=lambda other: segmented(other, count, spacing, name),
    )


class ByGrey(nn.Module):
    """Logits of pixels by how near their grey is to that of each class."""

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__()
        self.wrong = wrong
        greys = torch.from_numpy(GREYS.astype(np.float32)) / 255 + wrong
        self.register_buffer("greys", greys[None, :, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, 3, H, W)."""
        return -((pixels.mean(dim=1, keepdim=True) - self.greys) ** 2)


class Given:
    """A data source that is open already."""

    def __init__(self, image_set: ImageSet) -> None:
        self.image_set = image_set
        self.name, self.split, self.suite = image_set.name, image_set.split, None

    def load(self, split: str | None = None) -> ImageSet:
        """Return a split."""
        if split in (None, self.split):
            return self.image_set
        return self.image_set.other_split(split)

    def __repr__(self) -> str:
        return self.image_set.fingerprint


def run(folder: Path, task: Any, *given: Any, **chosen: Any) -> dict[tuple[str, int], Cell]:
    """Evaluate a segmenter and return its cells by corruption and severity."""
    found = _read(folder, task, *given, **chosen)
    return {(cell.spec.corruption, cell.spec.severity): _given(cell) for cell in found}


def heads_of(folder: Path, task: Any, *given: Any, **chosen: Any) -> dict[str, Cell]:
    """Evaluate a segmenter of several heads and return their clean cells by name."""
    found = _read(folder, task, *given, **chosen)
    return {cell.head["name"]: _given(cell) for cell in found if cell.spec.severity == 0}


def _given(cell: Any) -> Cell:
    return Cell(cell.fingerprint, cell.arrays, cell.head, cell.data)


def _read(
    folder: Path,
    task: Any,
    image_set: ImageSet | None = None,
    source: Any = None,
    *,
    corruption: str = "contrast",
    severities: tuple[int, ...] = (1,),
    batch_size: int = 5,
) -> Any:
    given = image_set or segmented()
    experiment = Experiment(
        data=Data((Given(given),), Corruption(corruption), severities, validation=False),
        model=AskedModel(
            source or OwnSegmenter(ByGrey()), task, PromptSet("plain", ["a picture of {}"])
        ),
        where=Where(folder),
        how=How(
            partial(pytorch_lightning.Trainer, accelerator="cpu", default_root_dir=str(folder)),
            batch_size,
        ),
    )
    resources, store = Resources(), Store(folder)
    plans = plan(experiment, resources)
    runner = CellRunner(experiment, resources, store)
    runner.run(plans, lambda done: None)
    runner.complain()
    return read_cells(store, plans)


def without_masks(image_set: ImageSet) -> ImageSet:
    """Return the same images with nothing in their masks."""
    target = Masks(np.zeros_like(np.asarray(image_set.target.values)), "empty")
    return replace(image_set, target=target)
