"""Training by gradient steps: an attached recipe, Lightning's loop, what is kept to go on from."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medrobust.adapters import Tunable
from medrobust.datasets.sampling import FewShots
from medrobust.engine.checkpoints import WholeCheckpoints, can_go_on_from
from medrobust.engine.loader import channel_first
from medrobust.engine.quiet import quiet_lightning
from medrobust.models.base import ModelSource
from medrobust.models.own import OwnModel

from .few_shot import FewShot
from .guards import all_frozen
from .joint_classes import Head
from .objective import Objective
from .recipe import Tuning, TuningError

CHECKPOINT = "last.ckpt"

AT_ONCE = 16
"""Images that an adapter looks at, at a time."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What runs the steps: it changes no number.

    Attributes:
        trainer: Builds the Trainer from further keyword arguments.
        plugins: Of Lightning's, beside ours.
        folder: Where an unfinished training keeps its checkpoint.
        resume: Go on from it.
    """

    trainer: Callable[..., Any]
    plugins: Sequence[Any]
    folder: Path
    resume: bool


def private_copy(source: ModelSource) -> Any:
    """Load the model anew: it is going to be changed. A user's own module is copied."""
    model = source.load()
    return deepcopy(model) if isinstance(source, OwnModel) else model


def attached(
    source: ModelSource,
    recipe: Tunable,
    heads: Sequence[Head | Objective],
    drawn: Sequence[FewShots],
    tuning: Tuning,
    num_workers: int = 0,
) -> tuple[FewShot, int]:
    """Load a model, attach a recipe to it, and make the module that trains it.

    Returns:
        The module, and the number of modules of the model that were touched.

    Raises:
        TuningError: If the recipe changes the model before any step.
    """
    model = private_copy(source)
    before = _some_features(model, drawn)
    touched = recipe.attach(model, seed=tuning.seed)
    look = getattr(recipe, "look", None)  # what is made from training images, not from their labels
    if look is not None:
        look(model, _batches(drawn))
    elsewhere = getattr(recipe, "begins_elsewhere", False)  # a published form, on purpose
    if not elsewhere and not torch.equal(_some_features(model, drawn), before):
        raise TuningError(
            f"adapter {recipe.name!r} changes the features of {source.name} before any step was "
            f"taken: it must begin as the model itself."
        )
    shots, selection = [one.shots for one in drawn], [one.selection for one in drawn]
    module = FewShot(model, recipe, heads, shots, selection, tuning, num_workers=num_workers)
    return module, len(touched)


def _batches(drawn: Sequence[FewShots]) -> Iterator[Tensor]:
    """Read all shots, uint8 (n, C, H, W), a few at a time."""
    for one in drawn:
        for start in range(0, len(one.shots), AT_ONCE):
            images = one.shots.images[start : start + AT_ONCE]
            yield torch.from_numpy(channel_first(images))


@torch.no_grad()
def _some_features(model: Any, drawn: Sequence[FewShots]) -> Tensor:
    """Encode one image of each data set, with all weights frozen: what is trained rounds apart."""
    images = [torch.from_numpy(channel_first(one.shots.images[:1])) for one in drawn]
    with all_frozen(model):
        encoded: Tensor = torch.cat([model.encode_image(model.preprocess(one)) for one in images])
    return encoded


def fit(module: FewShot, loop: Loop, logger: Any = False) -> Any:
    """Train, from the checkpoint if there is one; curves go to Lightning's `logger`.

    Returns:
        The Trainer, when it is done.

    Raises:
        TuningError: As a guard raises it.
    """
    checkpoint = loop.folder / CHECKPOINT
    with tempfile.TemporaryDirectory(prefix="medrobust-") as scratch, quiet_lightning():
        trainer: Any = loop.trainer(
            **_settings(module, loop),
            logger=logger,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=scratch,
        )
        resumed = loop.resume and can_go_on_from(checkpoint)
        if not resumed:
            shutil.rmtree(loop.folder, ignore_errors=True)
        try:
            trainer.fit(module, ckpt_path=str(checkpoint) if resumed else None, weights_only=True)
        finally:
            module.stop_reading()
    module.to("cpu")
    return trainer


def _settings(module: FewShot, loop: Loop) -> dict[str, Any]:
    """Return what the recipe says of the loop."""
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

    tuning = module.tuning
    per_epoch = -(-sum(map(len, module.shots)) // tuning.batch_size)
    keeps = ModelCheckpoint(
        dirpath=loop.folder,
        filename=CHECKPOINT.removesuffix(".ckpt"),
        every_n_train_steps=tuning.save_every or max(1, per_epoch // tuning.accumulate),
        save_top_k=1,
        enable_version_counter=False,
    )
    callbacks: list[Any] = [keeps]
    chooses = tuning.choose != "last" and any(one is not None for one in module.selection)
    if tuning.patience is not None and chooses:
        callbacks.append(EarlyStopping("selection/error", patience=tuning.patience))
    return {
        "max_epochs": 1,  # one pass of Lightning's over all epochs of ours
        "accumulate_grad_batches": tuning.accumulate,
        "gradient_clip_val": tuning.clip,
        "val_check_interval": per_epoch if chooses else None,
        "limit_val_batches": None if chooses else 0,
        "num_sanity_val_steps": 0,
        "callbacks": callbacks,
        "plugins": [WholeCheckpoints(), *loop.plugins],
    }


def measured(module: FewShot, touched: int, steps: int) -> dict[str, Any]:
    """Return what is told of a training in the record of its adapter."""
    epoch, error, loss = module.selected.tolist()
    metrics: dict[str, Any] = {
        "trained parameters": sum(value.numel() for value in module.trained().values()),
        "touched modules": touched,
        "optimiser steps": steps,
    }
    if epoch >= 0:
        metrics |= {"chosen after epoch": epoch, "selection error": error, "selection loss": loss}
    return metrics
