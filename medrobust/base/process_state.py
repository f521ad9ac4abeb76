"""What a process holds beside its objects, and how a job leaves it as it was found.

Jobs of a sweep share a process: what one of them sets globally would reach the next.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

Restore: TypeAlias = Callable[[], None]


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put back, whatever happens inside, all that libraries and jobs set for a whole process.

    Torch: default dtype, determinism, matmul precision, cudnn, threads, gradients; the generators
    of Python, numpy and torch; logging: handlers, levels, propagation; the environment; the filters
    of warnings; the current folder. An open run of Weights & Biases is finished as failed.
    """
    restores = [_torch(), _generators(), _logging(), _environment(), _warnings(), _folder()]
    try:
        yield
    finally:
        _finish_wandb()
        for restore in restores:
            restore()


class _Flag(NamedTuple):
    get: Callable[[], Any]
    set: Callable[[Any], object]


def _torch() -> Restore:
    import torch
    from torch.backends import cudnn

    def attribute(owner: Any, name: str) -> _Flag:
        return _Flag(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))

    flags = [
        _Flag(torch.get_default_dtype, torch.set_default_dtype),
        _Flag(
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
        ),
        _Flag(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _Flag(torch.get_num_threads, torch.set_num_threads),
        _Flag(torch.is_grad_enabled, torch.set_grad_enabled),
        attribute(cudnn, "benchmark"),
        attribute(cudnn, "deterministic"),
        attribute(cudnn, "enabled"),
    ]
    found = [flag.get() for flag in flags]

    def restore() -> None:
        for flag, value in zip(flags, found, strict=True):
            if flag.get() != value:
                flag.set(value)

    return restore


def _generators() -> Restore:
    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        for device, state in enumerate(cuda):
            torch.cuda.set_rng_state(state, device)

    return restore


def _logging() -> Restore:
    def loggers() -> list[logging.Logger]:
        named = logging.Logger.manager.loggerDict.values()
        return [logging.getLogger(), *(one for one in named if isinstance(one, logging.Logger))]

    found = {
        one: (one.level, one.handlers[:], one.propagate, one.disabled, one.filters[:])
        for one in loggers()
    }
    disabled = logging.root.manager.disable

    def restore() -> None:
        for one in loggers():
            fresh: tuple[Any, ...] = (logging.NOTSET, [], True, False, [])
            level, handlers, one.propagate, one.disabled, filters = found.get(one, fresh)
            one.setLevel(level)
            one.handlers[:], one.filters[:] = handlers, filters
        logging.disable(disabled)

    return restore


def _environment() -> Restore:
    found = dict(os.environ)

    def restore() -> None:
        if dict(os.environ) != found:
            os.environ.clear()
            os.environ.update(found)

    return restore


def _warnings() -> Restore:
    found, show = warnings.filters[:], warnings.showwarning

    def restore() -> None:
        if warnings.filters != found:
            warnings.filters[:] = found  # type: ignore[index]  # a list, typed as a sequence
            warnings._filters_mutated()  # type: ignore[attr-defined]  # as catch_warnings does
        warnings.showwarning = show

    return restore


def _folder() -> Restore:
    found = Path.cwd()
    return lambda: os.chdir(found)


def _finish_wandb() -> None:
    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    if run is not None:
        run.finish(exit_code=1)
