"""A small tuning: 20 phantoms of the second site, the small demonstration model."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning
import torch
from grouped import grouped

from medrobust.adapters import Lora
from medrobust.corruptions import Corruption
from medrobust.datasets import Phantoms
from medrobust.evaluation.experiment import Experiment
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip, PromptSet
from medrobust.tasks.lookup import task_of
from medrobust.tuning import Tuning

PROMPTS = PromptSet(name="plain", templates=["an image of {}"])


class FailsElsewhere(Phantoms):
    """Opens in the process of the tests, and fails in those that it starts."""

    def load(self, *arguments: Any) -> Any:
        """Open the split."""
        if multiprocessing.parent_process() is not None:
            raise ConfigurationError("there is no such disk here")
        return super().load(*arguments)


def tuning(**options: Any) -> Tuning:
    """A recipe of six steps."""
    settings: dict[str, Any] = {"shots": 1, "epochs": 2, "batch_size": 8, "warmup": 0.0}
    return Tuning(partial(torch.optim.AdamW, lr=1e-3), **(settings | options))


def experiment(store: Path, *, devices: int = 1, **options: Any) -> Experiment:
    """An experiment that tunes and then evaluates two cells."""
    trainer: dict[str, Any] = {"accelerator": "cpu", "precision": "32-true", "devices": devices}
    if devices > 1:
        trainer["strategy"] = "ddp_spawn"
    parts: dict[str, Any] = {
        "model": PhantomClip(name="phantomclip_small", variant="small", micro_batch=8),
        "datasets": (Phantoms(name="phantoms_site_b", site="b", per_class=2),),
        "corruption": Corruption("brightness"),
        "severities": (5,),
        "prompts": PROMPTS,
        "store": store,
        "trainer": partial(pytorch_lightning.Trainer, **trainer),
        "precision": "32-true",
        "task": task_of("classification"),
        "adapter": Lora(rank=4, alpha=8),
        "tuning": tuning(),
        "reference": "phantomclip_small",
    }
    return grouped(**(parts | options))
