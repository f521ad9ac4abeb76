"""What the benchmarks of whole jobs share: plain experiments, a random ViT-B/16, written tables."""

import os
import platform
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corruptions import processor

PAGES = Path(__file__).parent.parent / "docs" / "performance"


@dataclass(frozen=True)
class Given:
    """A source of images that are open already."""

    image_set: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.image_set, name)

    def load(self, split: str | None = None) -> Any:
        """Return the images."""
        return self.image_set


@dataclass(frozen=True)
class RandomVit:
    """Source of a CLIP vision transformer with random weights, and of phantomclip's text side."""

    name: str = "random_vit_b16"
    micro_batch: int = 32
    kind: str = "vit_b16"

    def weights_fingerprint(self) -> str:
        """Return a constant: the seed is one."""
        return "0" * 64

    def load(self) -> Any:
        """Build the model."""
        from benchmarks.tuning import model_of

        return model_of(self.kind)


@dataclass(frozen=True)
class Columns:
    """Several corruptions as one choice of conf/corruption."""

    columns: tuple[Any, ...]

    def expand(self, registry: str | None, modality: str | None = None) -> tuple[Any, ...]:
        """Return them."""
        return self.columns


def experiment(
    model: Any, source: Any, corruption: Any, severities: tuple[int, ...], store: Path
) -> Any:
    """Return a job on the CPU, as a configuration would."""
    from pytorch_lightning import Trainer

    from medrobust.evaluation.experiment import AskedModel, Data, Experiment, How, Where
    from medrobust.models import PromptSet
    from medrobust.tasks.lookup import task_of

    prompts = PromptSet(name="phantoms", templates=["a {modality} of {}"])
    return Experiment(
        data=Data((source,), corruption, severities),
        model=AskedModel(model, task_of("classification"), prompts),
        where=Where(store),
        how=How(partial(Trainer, accelerator="cpu", devices=1, default_root_dir=store)),
    )


def image_set(images: Any) -> Any:
    """Make a set of twenty classes of uint8 images (N, H, W, 3)."""
    from medrobust.datasets import ImageSet

    count = len(images)
    return ImageSet(
        name="synthetic",
        split="test",
        images=images,
        labels=np.arange(count) % 20,
        label_kind="multi-class",
        class_names=tuple(f"class {number}" for number in range(20)),
        ids=np.array([str(row) for row in range(count)]),
        index=np.arange(count),
        fingerprint=f"{count:064x}",
        modality="picture",
    )


def machine() -> str:
    """Name the machine and how busy it is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; load of the "
        f"last 1, 5 and 15 minutes {load}."
    )


def publish(title: str, name: str, text: str, *, write: bool) -> None:
    """Print a page, and write it to docs/performance if asked."""
    page = (
        f"# {title}\n\nWritten by `python -m benchmarks {name} --write`. "
        f"Machine: {machine()}\n\n{text}\n"
    )
    print(page, flush=True)
    if write:
        PAGES.mkdir(parents=True, exist_ok=True)
        (PAGES / f"{name}.md").write_text(page, encoding="utf-8")
