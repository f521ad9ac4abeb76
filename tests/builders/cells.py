"""A small job on phantoms, with corruptions that a test can stop at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from grouped import changed, grouped
from pytorch_lightning import Trainer
from torch import Tensor

from medrobust.corruptions import Corruption
from medrobust.datasets import Phantoms
from medrobust.evaluation.experiment import Experiment
from medrobust.models import PhantomClip, PromptSet
from medrobust.tasks.lookup import task_of


@dataclass(frozen=True)
class Columns:
    """Several corruptions as one choice of conf/corruption."""

    columns: tuple[Any, ...]

    def expand(self, registry: str | None, modality: str | None = None) -> tuple[Any, ...]:
        return self.columns


@dataclass(frozen=True)
class Wrapped:
    """A corruption that calls `before` with the images of each batch first."""

    before: Callable[[Tensor], None] = field(compare=False)
    name: str = "brightness"
    suite: str = "imagenet_c"
    computed: bool = True

    @property
    def inner(self) -> Corruption:
        return Corruption(self.name, self.suite)

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        return self.inner.identity(severity, shape)

    def random(self, severity: int) -> bool:
        return self.inner.random(severity)

    def images(self, clean: Any, severity: int) -> Any:
        return clean

    def __call__(self, images: Tensor, **keywords: Any) -> Tensor:
        self.before(images)
        return self.inner(images, **keywords)


def experiment(folder: Path, *columns: Any, **changes: Any) -> Experiment:
    given = grouped(
        model=PhantomClip("small", micro_batch=4),
        datasets=(Phantoms(per_class=1, limit=10),),
        corruption=Columns(columns or (Corruption("brightness"),)),
        severities=(1,),
        prompts=PromptSet(name="plain", templates=["{}"]),
        store=folder,
        trainer=partial(Trainer, accelerator="cpu", devices=1, default_root_dir=folder),
        precision="32-true",
        task=task_of("classification"),
    )
    return changed(given, **changes)


COLUMNS = tuple(Corruption(name) for name in ("contrast", "brightness", "pixelate", "saturate"))
"""Of a plan that two processes share."""
