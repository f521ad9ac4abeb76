"""The stage before the plan: an adapter is tuned once, kept as an artifact, and found later."""

import copy
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from medrobust.adapters import HeadRecipe, Tunable, Tuned
from medrobust.adapters.artifact import artifact_files, probe_files
from medrobust.adapters.stored_heads import fitted_head
from medrobust.tuning.planned import PlannedAdapter, adapter_fingerprint
from medrobust.tuning.pools import draw_shots
from medrobust.tuning.probe import check_gives_features, fit_probes, measured_heads
from medrobust.tuning.training import Loop, attached, fit, measured

from .environment import versions
from .experiment import AskedModel, Experiment
from .left_overs import TRAINING
from .locks import Claims
from .ranks import OneProcess, launcher_of, wants_several
from .resources import Resources
from .store import Store
from .stored_adapters import adapter_record

log = logging.getLogger(__name__)

Curves: TypeAlias = Callable[..., AbstractContextManager[Any]]
"""Opens a logger of Lightning's for the fingerprint `of`, or gives False; closes it in any case."""

PAUSE = 0.5
"""Seconds between two looks whether another process has finished an adapter."""


def no_curves(*, of: str) -> AbstractContextManager[Any]:
    """Draw no curves of a tuning."""
    return nullcontext(False)


def adapted(
    experiment: Experiment, resources: Resources, store: Store, curves: Curves = no_curves
) -> Experiment:
    """Return the experiment that evaluates the tuned adapter, made now or found in the store.

    Args:
        experiment: With a stage of tuning, or without, as which it comes back.
        resources: Keeps the model as published.
        store: Keeps the artifact.
        curves: Opens a logger of Lightning's for loss, rate and selection error while it is tuned.

    Raises:
        ConfigurationError: If there is nothing to tune on.
        TuningError: If a guard stops it.
    """
    if experiment.model.stage is None:
        return experiment
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


def _is_there(experiment: Experiment, wanted: PlannedAdapter) -> bool:
    return experiment.where.resume and wanted.folder.exists()


def _wait_for_others(experiment: Experiment, wanted: PlannedAdapter, claims: Claims) -> None:
    """Wait while another job tunes this very adapter; what it leaves unfinished is ours."""
    if claims.take(wanted.fingerprint):
        return
    log.info("waiting for %s, which another process tunes", wanted.name)
    while not (_is_there(experiment, wanted) or claims.take(wanted.fingerprint)):
        time.sleep(PAUSE)


def evaluating(experiment: Experiment, wanted: PlannedAdapter) -> Experiment:
    """Return the experiment with the finished artifact as its adapter.

    Raises:
        StoreError: If a file of it is not the one that was written.
    """
    share = wanted.stage.how.interpolation
    adapter_record(wanted.folder)
    tuned = Tuned(str(wanted.folder), name=wanted.name, interpolation=share)
    return replace(experiment, model=replace(experiment.model, adapter=tuned, stage=None))


def plan_adaptation(experiment: Experiment, resources: Resources, store: Store) -> PlannedAdapter:
    """Draw the shots and name the artifact, before anything is trained.

    Raises:
        ConfigurationError: If there is nothing to tune on, or nothing can be tuned for the task.
    """
    asked, stage = experiment.model, experiment.model.stage
    assert stage is not None
    drawn, protocol = draw_shots(experiment.data.datasets, stage, resources.image_set)
    side = resources.side(asked)
    fits_head = stage.recipe.trains_head or stage.how.head is not None
    heads = tuple(asked.task.tuned_head(one.shots, side, trains_head=fits_head) for one in drawn)
    name = adapter_fingerprint(resources.encoder_description(asked), stage, drawn, heads)
    return PlannedAdapter(stage, name, store.adapter_folder(name), drawn, heads, protocol)


def progress_folder(store: Store, wanted: PlannedAdapter) -> Path:
    """Return where an unfinished training keeps its checkpoint."""
    return store.adapter_folder(wanted.fingerprint).with_name(f".{wanted.fingerprint}{TRAINING}")


def make(
    experiment: Experiment,
    resources: Resources,
    store: Store,
    wanted: PlannedAdapter,
    curves: Curves = no_curves,
) -> dict[str, bytes] | None:
    """Tune, and return the files of the artifact; None in a process that is not the first.

    Raises:
        TuningError: If a guard stops it.
    """
    if wanted.stage.recipe.trains_head:
        return _fit_probe(experiment, resources, wanted)
    return _train(experiment, resources, wanted, progress_folder(store, wanted), curves)


def _train(
    experiment: Experiment,
    resources: Resources,
    wanted: PlannedAdapter,
    folder: Path,
    curves: Curves,
) -> dict[str, bytes] | None:
    """Train by gradient steps, in as many processes as the Trainer has."""
    started, asked, how = time.perf_counter(), experiment.model, experiment.how
    recipe, on_top = cast(Tunable, wanted.stage.recipe), wanted.stage.how.head
    if on_top is not None:
        asking = f"tuning.head={on_top}"
        check_gives_features(resources.model(asked), asking, asked.source.name)
    heads = class_heads(asked, resources, wanted)
    module, touched = attached(
        asked.source, recipe, heads, wanted.drawn, wanted.stage.how, how.num_workers
    )
    alone = [] if wants_several(how.trainer) else [OneProcess()]
    loop = Loop(how.trainer, alone, folder, resume=experiment.where.resume)
    with curves(of=wanted.fingerprint) as logger:
        trainer = fit(module, loop, logger)
    if trainer.global_rank != 0:
        return None
    metrics = measured(module, touched, trainer.global_step)
    model, state, fitted = module.model, recipe.state(module.model), None
    if on_top is not None:
        fitted = _fit_on_top(experiment, copy.deepcopy(model), recipe, wanted)
        metrics |= measured_heads(fitted, of="head")
    record = _record(asked, resources, wanted, metrics, started)
    return artifact_files(recipe, model, state, record, fitted)


def _fit_on_top(
    experiment: Experiment, model: Any, recipe: Tunable, wanted: PlannedAdapter
) -> dict[str, Any]:
    """Fit a head for each data set on the shots as the tuned tower sees them.

    Args:
        experiment: Says how images are read.
        model: Tuned; its updates are folded in.
        recipe: Of the updates.
        wanted: Says which head, and the shots.
    """
    source, name = experiment.model.source, wanted.stage.how.head
    assert name is not None
    recipe.merge(model)
    return fit_probes(
        fitted_head(name),
        model.eval().requires_grad_(False),
        wanted.drawn,
        source.name,
        micro_batch=source.micro_batch,
        batch_size=experiment.how.images_at_once(),
    )


def class_heads(asked: AskedModel, resources: Resources, wanted: PlannedAdapter) -> list[Any]:
    """Encode the class texts of each data set once, by the model as published."""
    heads: list[Any] = [
        resources.head(asked, head, drawn.shots)
        for head, drawn in zip(wanted.heads, wanted.drawn, strict=True)
    ]
    return [head.module for head in heads]


def _fit_probe(
    experiment: Experiment, resources: Resources, wanted: PlannedAdapter
) -> dict[str, bytes]:
    """Encode the shots once and fit a head for each data set."""
    started, asked = time.perf_counter(), experiment.model
    heads = fit_probes(
        cast(HeadRecipe, wanted.stage.recipe),
        resources.model(asked),
        wanted.drawn,
        asked.source.name,
        micro_batch=asked.source.micro_batch,
        batch_size=experiment.how.images_at_once(),
    )
    metrics = measured_heads(heads)
    return probe_files(heads, _record(asked, resources, wanted, metrics, started))


def _record(
    asked: AskedModel,
    resources: Resources,
    wanted: PlannedAdapter,
    metrics: dict[str, Any],
    started: float,
) -> dict[str, Any]:
    report = resources.model(asked).report
    base = {
        "name": asked.source.name,
        "weights": asked.source.weights_fingerprint(),
        "source": report.source,
        "revision": report.revision,
        "license": report.license,
    }
    prompts = {"name": asked.prompts.name, **asked.prompts.description()}
    return wanted.record(base, prompts) | {
        "metrics": metrics,
        "seconds": round(time.perf_counter() - started, 2),
        "versions": versions(),
    }
