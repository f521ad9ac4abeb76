"""The stage before the plan: an adapter is tuned once, kept as an artifact, and found afterwards.

Tuning opens the pool and what chooses the epoch. It never opens the test split, unless
`tuning.choose=best_on_test` or `tuning.leave_out_repeats` asks for it by name; of own data it reads
whose images are in it, and leaves those patients out.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.adapters.artifact import Tuned, artifact_files, probe_files
from medrobust.adapters.base import NoAdapter, Tunable
from medrobust.adapters.linear_probe import LinearProbe
from medrobust.base.fingerprints import fingerprint
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.audits.perceptual import hashes_of, near_repeats
from medrobust.datasets.cache import cache_of
from medrobust.datasets.image_set import ImageSet, NamesPatients
from medrobust.datasets.sampling import FewShots, few_shots
from medrobust.engine.checkpoints import WholeCheckpoints, can_go_on_from
from medrobust.engine.loader import channel_first, evaluation_loader
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import ImageModel
from medrobust.models.encoding import MicroBatcher
from medrobust.models.own import OwnModel
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead
from medrobust.tasks.base import HeadDescription
from medrobust.tuning.few_shot import FewShot
from medrobust.tuning.recipe import Tuning, TuningError
from medrobust.types import Float32Array

from .environment import versions
from .experiment import Experiment
from .left_overs import TRAINING
from .locks import Claims
from .ranks import OneProcess, launcher_of, wants_several
from .resources import Resources
from .run import quiet_lightning
from .store import Store

if TYPE_CHECKING:
    from medrobust.datasets.image_set import DatasetSource

log = logging.getLogger(__name__)

Curves: TypeAlias = Callable[..., AbstractContextManager[Any]]
"""Opens a logger of Lightning's for the fingerprint `of`, or gives False; closes it in any case."""

FORMAT = 1
CHECKPOINT = "last.ckpt"
PAUSE = 0.5
"""Seconds between two looks whether another process has finished an adapter."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """An adapter that is to be made, or found.

    Attributes:
        fingerprint: Of base model, shots and recipe.
        folder: Where it lies once it is made.
        name: In tables and in the store: recipe, amount and draw.
        drawn: Shots and selection part of each data set.
        protocol: What the reader of its figures must know of how it was tuned.
        heads: What the class texts of each data set are, as in the cells.
    """

    fingerprint: str
    folder: Path
    name: str
    drawn: tuple[FewShots, ...]
    heads: tuple[HeadDescription, ...]
    protocol: tuple[str, ...] = ()


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


def no_curves(*, of: str) -> AbstractContextManager[Any]:
    """Draw no curves of a tuning."""
    return nullcontext(False)


def adapted(
    experiment: Experiment, resources: Resources, store: Store, curves: Curves = no_curves
) -> Experiment:
    """Return the experiment that evaluates the tuned adapter, made now or found in the store.

    Args:
        experiment: With `tuning`, and an adapter that can be tuned.
        resources: Keeps the model as published.
        store: Keeps the artifact.
        curves: Opens a logger of Lightning's for loss, rate and selection error while it is tuned.

    Raises:
        ConfigurationError: If there is nothing to tune or nothing to tune on.
        TuningError: If a guard stops it.
    """
    if isinstance(experiment.model.adapter, NoAdapter) and experiment.model.adapter.baseline:
        return replace(experiment, model=replace(experiment.model, tuning=None))
    wanted = plan_adaptation(experiment, resources, store)
    for sentence in wanted.protocol:
        log.info("%s", sentence)
    if _is_there(experiment, wanted):
        return evaluating(experiment, wanted)
    with Claims(store.root, sharing=launcher_of(experiment.how.trainer) is None) as claims:
        _wait_for_others(experiment, wanted, claims)
        if not _is_there(experiment, wanted):
            files = make(experiment, resources, store, wanted, curves)
            if files is None:
                return experiment  # another process writes it
            store.write_adapter(wanted.fingerprint, files, replace=not experiment.where.resume)
            shutil.rmtree(progress_folder(store, wanted), ignore_errors=True)
    return evaluating(experiment, wanted)


def _is_there(experiment: Experiment, wanted: Adaptation) -> bool:
    return experiment.where.resume and wanted.folder.exists()


def _wait_for_others(experiment: Experiment, wanted: Adaptation, claims: Claims) -> None:
    """Wait while another job tunes this very adapter; what it leaves unfinished is ours."""
    if claims.take(wanted.fingerprint):
        return
    log.info("waiting for %s, which another process tunes", wanted.name)
    while not (_is_there(experiment, wanted) or claims.take(wanted.fingerprint)):
        time.sleep(PAUSE)


def evaluating(experiment: Experiment, wanted: Adaptation) -> Experiment:
    """Return the experiment with the finished artifact as its adapter."""
    assert experiment.model.tuning is not None
    share = experiment.model.tuning.interpolation
    tuned = Tuned(str(wanted.folder), name=wanted.name, interpolation=share)
    return replace(experiment, model=replace(experiment.model, adapter=tuned, tuning=None))


def plan_adaptation(experiment: Experiment, resources: Resources, store: Store) -> Adaptation:
    """Draw the shots and name the artifact, before anything is trained.

    Raises:
        ConfigurationError: If there is nothing to tune or nothing to tune on.
    """
    tuning, recipe = _tuning(experiment), experiment.model.adapter
    sources = _sources(experiment, tuning)
    evaluated = _hashes(experiment, resources) if tuning.leave_out_repeats else []
    draws = [_draw(source, tuning, evaluated, resources) for source in sources]
    drawn = tuple(one for one, _ in draws)
    protocol = _protocol(experiment, tuning, [pool for _, pools in draws for pool in pools])
    heads = tuple(_head(experiment, resources, one) for one in drawn)
    base = experiment.model.published
    what = [
        FORMAT,
        resources.encoder_description(base),
        recipe.description(),
        tuning.description() if isinstance(recipe, Tunable) else [tuning.seed],
        [[d.shots.fingerprint, d.selection and d.selection.fingerprint] for d in drawn],
        [{k: v for k, v in head.items() if k != "name"} for head in heads],
    ]
    print_ = fingerprint(what)
    name = f"{recipe.name} {tuning.amount_label} draw {tuning.shot_seed}"
    return Adaptation(print_, store.adapter_folder(print_), name, drawn, heads, protocol)


def _tuning(experiment: Experiment) -> Tuning:
    adapter, tuning = experiment.model.adapter, experiment.model.tuning
    if tuning is None or not isinstance(adapter, Tunable | LinearProbe):
        raise ConfigurationError(
            f"tuning=few_shot tunes an adapter, and adapter={adapter.name} is none that "
            f"can be tuned. Add adapter=lora, norm, full or linear_probe."
        )
    return tuning


def _sources(experiment: Experiment, tuning: Tuning) -> "list[DatasetSource]":
    """Return the data sets to tune on."""
    names = [source.name for source in experiment.data.datasets]
    wanted = names if tuning.datasets is None else list(tuning.datasets)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ConfigurationError(
            f"tuning.datasets={wanted}: the data sets of this run are {', '.join(names)}."
        )
    return [source for source in experiment.data.datasets if source.name in wanted]


def _draw(
    source: "DatasetSource",
    tuning: Tuning,
    evaluated: Sequence[Float32Array],
    resources: Resources,
) -> tuple[FewShots, list[Repeated]]:
    """Draw the shots of one data set and what chooses the epoch; say what its pools repeat."""
    keeps = tuning.leave_out_repeats is not True
    pool, of_pool, notes = _apart(source, tuning.pool, evaluated, keeps=keeps)
    other, found = None, [of_pool]
    if tuning.select_from is not None:
        other, of_other, more = _apart(source, tuning.select_from, evaluated, keeps=keeps)
        found.append(of_other)
        notes += more
    for note in notes:
        log.info("%s: %s", source.name, note)
    drawn = few_shots(pool, **tuning.amount, seed=tuning.shot_seed, select_from=other)
    if tuning.choose == "best_on_test":
        drawn = replace(drawn, selection=resources.image_set(source))
    told = tuple(_sentence([one], keeps=keeps) for one in found if evaluated)
    return replace(drawn, notes=(*drawn.notes, *notes, *told)), found


def _protocol(experiment: Experiment, tuning: Tuning, found: Sequence[Repeated]) -> tuple[str, ...]:
    """Say what the reader of the tuned model's figures must know."""
    told = []
    if tuning.leave_out_repeats:
        told.append(_sentence(found, keeps=tuning.leave_out_repeats == "count"))
    if tuning.choose == "best_on_test":
        splits = dict.fromkeys(source.split for source in experiment.data.datasets)
        told.append(
            f"{experiment.model.adapter.name}: its epoch was chosen by the errors of the evaluated "
            f"split ({', '.join(splits)}), so that these are too low"
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


def _hashes(experiment: Experiment, resources: Resources) -> list[Float32Array]:
    """Hash the pictures of every evaluated split; nothing else of them is used."""
    return [
        hashes_of(resources.image_set(source), cache_of(source)).open()
        for source in experiment.data.datasets
    ]


def _apart(
    source: "DatasetSource", split: str, evaluated: Sequence[Float32Array], *, keeps: bool
) -> tuple[ImageSet, Repeated, tuple[str, ...]]:
    """Open a pool without what it shares with evaluated splits, and say what was taken out.

    Raises:
        ConfigurationError: If no image is left.
    """
    pool, notes = _without_patients(source.load(split), source)
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


def _head(experiment: Experiment, resources: Resources, drawn: FewShots) -> HeadDescription:
    published = resources.side(experiment.model.published)
    trains_head = isinstance(experiment.model.adapter, LinearProbe)
    task = experiment.model.task
    return task.tuned_head(drawn.shots, published, trains_head=trains_head)


def progress_folder(store: Store, wanted: Adaptation) -> Path:
    """Return where an unfinished training keeps its checkpoint."""
    return store.adapter_folder(wanted.fingerprint).with_name(f".{wanted.fingerprint}{TRAINING}")


def make(
    experiment: Experiment,
    resources: Resources,
    store: Store,
    wanted: Adaptation,
    curves: Curves = no_curves,
) -> dict[str, bytes] | None:
    """Tune, and return the files of the artifact; None in a process that is not the first.

    Raises:
        TuningError: If a guard stops it.
    """
    started = time.perf_counter()
    if isinstance(experiment.model.adapter, LinearProbe):
        return _fit_probe(experiment, resources, wanted, started)
    recipe = experiment.model.adapter
    assert isinstance(recipe, Tunable)
    assert experiment.model.tuning is not None
    heads = class_heads(experiment, resources, wanted)
    model = private_copy(experiment)
    before = _some_features(model, wanted.drawn)
    touched = recipe.attach(model, seed=experiment.model.tuning.seed)
    if not torch.equal(_some_features(model, wanted.drawn), before):
        raise TuningError(
            f"adapter {recipe.name!r} changes the features of {experiment.model.source.name} "
            f"before any step was taken: it must begin as the model itself."
        )
    module = FewShot(
        model,
        recipe,
        heads,
        [one.shots for one in wanted.drawn],
        [one.selection for one in wanted.drawn],
        experiment.model.tuning,
        num_workers=experiment.how.num_workers,
    )
    with curves(of=wanted.fingerprint) as logger:
        trainer = fit(experiment, module, progress_folder(store, wanted), logger)
    if trainer.global_rank != 0:
        return None
    epoch, error, loss = module.selected.tolist()
    metrics: dict[str, Any] = {
        "trained parameters": sum(value.numel() for value in module.trained().values()),
        "touched modules": len(touched),
        "optimiser steps": trainer.global_step,
    }
    if epoch >= 0:
        metrics |= {"chosen after epoch": epoch, "selection error": error, "selection loss": loss}
    record = _record(experiment, resources, wanted, metrics, started)
    return artifact_files(recipe, model, recipe.state(model), record)


def class_heads(
    experiment: Experiment, resources: Resources, wanted: Adaptation
) -> list[ZeroShotHead | IdentityHead]:
    """Encode the class texts of each data set once, by the model as published."""
    published = experiment.model.published
    heads: list[Any] = [
        resources.head(published, head, drawn.shots)
        for head, drawn in zip(wanted.heads, wanted.drawn, strict=True)
    ]
    return [head.module for head in heads]


def private_copy(experiment: Experiment) -> Any:
    """Load the model anew: it is going to be changed. A user's own module is copied."""
    model = experiment.model.source.load()
    return deepcopy(model) if isinstance(experiment.model.source, OwnModel) else model


@torch.no_grad()
def _some_features(model: Any, drawn: Sequence[FewShots]) -> Tensor:
    """Encode one image of each data set."""
    images = [torch.from_numpy(channel_first(one.shots.images[:1])) for one in drawn]
    encoded: Tensor = torch.cat([model.encode_image(model.preprocess(one)) for one in images])
    return encoded


def fit(experiment: Experiment, module: FewShot, folder: Path, logger: Any = False) -> Any:
    """Train, from the checkpoint in `folder` if there is one; curves go to Lightning's `logger`.

    Raises:
        TuningError: As a guard raises it.
    """
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

    tuning = module.tuning
    per_epoch = -(-sum(map(len, module.shots)) // tuning.batch_size)
    keeps = ModelCheckpoint(
        dirpath=folder,
        filename=CHECKPOINT.removesuffix(".ckpt"),
        every_n_train_steps=tuning.save_every or max(1, per_epoch // tuning.accumulate),
        save_top_k=1,
        enable_version_counter=False,
    )
    callbacks: list[Any] = [keeps]
    chooses = tuning.choose != "last" and any(one is not None for one in module.selection)
    if tuning.patience is not None and chooses:
        callbacks.append(EarlyStopping("selection/error", patience=tuning.patience))
    alone = [] if wants_several(experiment.how.trainer) else [OneProcess()]
    checkpoint = folder / CHECKPOINT
    with tempfile.TemporaryDirectory(prefix="medrobust-") as scratch, quiet_lightning():
        trainer: Any = experiment.how.trainer(
            max_epochs=1,  # one pass of Lightning's over all epochs of ours
            accumulate_grad_batches=tuning.accumulate,
            gradient_clip_val=tuning.clip,
            val_check_interval=per_epoch if chooses else None,
            limit_val_batches=None if chooses else 0,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[WholeCheckpoints(), *alone],
            logger=logger,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=scratch,
        )
        resumed = experiment.where.resume and can_go_on_from(checkpoint)
        if not resumed:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            trainer.fit(module, ckpt_path=str(checkpoint) if resumed else None, weights_only=True)
        finally:
            module.stop_reading()
    module.to("cpu")
    return trainer


def _fit_probe(
    experiment: Experiment, resources: Resources, wanted: Adaptation, started: float
) -> dict[str, bytes]:
    """Encode the shots once and fit a linear classifier for each data set."""
    recipe = experiment.model.adapter
    assert isinstance(recipe, LinearProbe)
    model = resources.model(experiment.model.published)
    if not isinstance(model, ImageModel):
        raise ConfigurationError(
            f"adapter=linear_probe needs image features, and {experiment.model.source.name} is a "
            f"classifier that gives none."
        )
    heads = {}
    for one in wanted.drawn:
        features = encode(model, one.shots, experiment)
        labels = torch.from_numpy(one.shots.labels)
        kind, classes = one.shots.label_kind, len(one.shots.class_names)
        assert kind is not None  # a set without labels has no shots
        heads[one.shots.name] = recipe.fit(features, labels, kind, classes)
    metrics = {"trained parameters": sum(v.numel() for h in heads.values() for v in h.buffers())}
    return probe_files(heads, _record(experiment, resources, wanted, metrics, started))


def encode(model: ImageModel, image_set: Any, experiment: Experiment) -> Tensor:
    """Encode a set on the CPU or wherever the model is: float32 (N, D)."""
    batcher = MicroBatcher(model, experiment.model.source.micro_batch)
    loader = evaluation_loader(image_set, batch_size=experiment.how.images_at_once(), num_workers=0)
    features = [one for batch in loader for one in batcher.push(batch.images)]
    return torch.cat([*features, *batcher.flush()]).float().cpu()


def _record(
    experiment: Experiment,
    resources: Resources,
    wanted: Adaptation,
    metrics: Mapping[str, Any],
    started: float,
) -> dict[str, Any]:
    report = resources.model(experiment.model.published).report
    assert experiment.model.tuning is not None
    recipe, prompts = experiment.model.adapter.description(), experiment.model.prompts
    return {
        "fingerprint": wanted.fingerprint,
        "name": wanted.name,
        "label": f"{experiment.model.adapter.name} {experiment.model.tuning.amount_label}",
        "kind": recipe["kind"],
        "recipe": recipe,
        "task": experiment.model.tuning.description(),
        "base": {
            "name": experiment.model.source.name,
            "weights": experiment.model.source.weights_fingerprint(),
            "source": report.source,
            "revision": report.revision,
            "license": report.license,
        },
        "prompts": {"name": prompts.name, **prompts.description()},
        "data": [
            one.record()
            | {
                "license": one.shots.license,
                "fingerprint": one.shots.fingerprint,
                "class_names": list(one.shots.class_names),
            }
            for one in wanted.drawn
        ],
        "protocol": list(wanted.protocol),
        "metrics": dict(metrics),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": versions(),
    }
