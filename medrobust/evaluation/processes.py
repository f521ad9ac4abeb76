"""Processes that help one job to encode: started here, or by torchrun or Slurm.

Lightning would start what `sys.argv` says once more for each of them, which under `-m` is the whole
sweep; these get the one job, as plain parts.
"""

import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch._C._distributed_c10d import TCPStore

from medrobust.base.reasons import reason_of
from medrobust.exceptions import ConfigurationError, MedRobustError

from .adaptation import evaluating, plan_adaptation
from .experiment import Experiment
from .extra_cells import beside
from .plan import plan
from .ranks import ALONE, PATIENCE, Ranks, launcher_of
from .resources import Resources
from .run import CellRunner
from .store import Store

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

HOST = "127.0.0.1"
START = timedelta(minutes=10)
"""How long a process may take to import everything."""


def processes_wanted(trainer: "Callable[..., Trainer]") -> int:
    """Return how many processes a builder of a Trainer asks for on this machine.

    Raises:
        ConfigurationError: If `trainer.devices` is no number or list of devices.
    """
    given: dict[str, Any] = getattr(trainer, "keywords", {})
    if not str(given.get("strategy", "auto")).startswith("ddp"):
        return 1
    devices = given.get("devices", 1)
    if isinstance(devices, list | tuple):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        return max(1, torch.cuda.device_count())
    if not str(devices).isdigit() or int(devices) < 1:
        raise ConfigurationError(
            f"trainer.devices={devices!r}: write a number, or a list as [0,1]."
        )
    return int(devices)


@contextmanager
def evaluation_ranks(experiment: Experiment) -> Iterator[tuple[Experiment, Ranks]]:
    """Give the experiment as this process runs it, and its place among those that run it.

    Processes that torchrun or Slurm has started join; else, with `trainer=ddp`, helpers are started
    for the time of this job, and this process is the first.

    Raises:
        ConfigurationError: If several machines are asked for and nothing has started processes.
        MedRobustError: If a helper fails; with its reason.
    """
    count = processes_wanted(experiment.how.trainer)
    nodes = getattr(experiment.how.trainer, "keywords", {}).get("num_nodes", 1)
    environment = launcher_of(experiment.how.trainer) if count * nodes > 1 else None
    if environment is not None:
        with _joined(environment) as ranks:
            yield _on_device(experiment, environment.local_rank()), ranks
    elif nodes > 1:
        raise ConfigurationError(
            f"trainer.num_nodes={nodes} needs a process on each machine: start them with torchrun "
            f"or srun and add trainer.strategy=ddp."
        )
    elif count == 1:
        yield experiment, ALONE
    else:
        with _helped(experiment, count) as ranks:
            yield _on_device(experiment, 0), ranks


def known_to_all(
    experiment: Experiment, resources: Resources, store: Store, ranks: Ranks
) -> Experiment:
    """Evaluate the tuned adapter in the processes, too, that have only helped to train it.

    The first has written the artifact before it came here, and the others wait for it.
    """
    if ranks.world > 1:
        distributed.barrier(group=ranks.group)
    if experiment.model.stage is None:
        return experiment
    return evaluating(experiment, plan_adaptation(experiment, resources, store))


@contextmanager
def _joined(environment: Any) -> Iterator[Ranks]:
    """Meet the processes that a launcher has started."""
    rank, world = environment.global_rank(), environment.world_size()
    if distributed.is_initialized():  # by the tuning before
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(rank, world, group)
        return
    address = f"tcp://{environment.main_address}:{environment.main_port}"
    distributed.init_process_group(
        "gloo",
        init_method="env://" if "TORCHELASTIC_RUN_ID" in os.environ else address,
        rank=rank,
        world_size=world,
        timeout=PATIENCE,
    )
    try:
        yield Ranks(rank, world, distributed.group.WORLD)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _helped(experiment: Experiment, world: int) -> Iterator[Ranks]:
    """Start the other processes, and end them when the job is done."""
    context = multiprocessing.get_context("spawn")
    reasons = context.SimpleQueue()
    meeting = TCPStore(HOST, 0, world, True, START, wait_for_workers=False)
    helpers = [
        context.Process(
            target=_help,
            args=(experiment, rank, world, meeting.port, torch.get_num_threads(), reasons),
        )
        for rank in range(1, world)
    ]
    for helper in helpers:
        helper.start()
    try:
        with _process_group(meeting, 0, world) as ranks:
            yield ranks
    except (RuntimeError, ValueError) as error:
        if reasons.empty():
            raise
        raise MedRobustError(str(reasons.get())) from error
    finally:
        for helper in helpers:
            helper.terminate()
            helper.join()


@contextmanager
def _process_group(meeting: Any, rank: int, world: int) -> Iterator[Ranks]:
    distributed.init_process_group(
        "gloo", store=meeting, rank=rank, world_size=world, timeout=PATIENCE
    )
    try:
        yield Ranks(rank, world, distributed.group.WORLD)
    finally:
        distributed.destroy_process_group()


def _help(
    experiment: Experiment, rank: int, world: int, port: int, threads: int, reasons: Any
) -> None:
    """Be one of the other processes: encode what the first one says, and nothing else."""
    logging.disable(logging.CRITICAL)  # the first process says it
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)  # as in the first: kernels may depend on it
    resources, store = Resources(), Store(experiment.where.store)
    try:
        meeting = TCPStore(HOST, port, world, False, START)
        with _process_group(meeting, rank, world) as ranks:
            own = known_to_all(_on_device(experiment, rank), resources, store, ranks)
            runner = CellRunner(own, resources, store, ranks)
            runner.run([*plan(own, resources), *beside(own, resources).plans])
    except Exception as error:
        reasons.put(f"process {rank} of trainer=ddp failed: {reason_of(error)}")
        raise SystemExit(1) from error


def _on_device(experiment: Experiment, local_rank: int) -> Experiment:
    """Return the experiment with a Trainer of one process, on the device of that rank."""
    trainer = experiment.how.trainer
    assert isinstance(trainer, partial)
    given = {k: v for k, v in trainer.keywords.items() if k not in ("strategy", "num_nodes")}
    devices = given.pop("devices", 1)
    on_gpus = given.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
    chosen = devices[local_rank] if isinstance(devices, list | tuple) else local_rank
    given["devices"] = [chosen] if on_gpus else 1
    return experiment.with_trainer(partial(trainer.func, *trainer.args, **given))
