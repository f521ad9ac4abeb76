"""What a process holds beside its objects, and how a job leaves it as it was found.

Jobs of a sweep share a process: what one of them sets globally would reach the next.
"""

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from medrobust.base import torch_settings

Restore: TypeAlias = Callable[[], None]

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGPIPE")
    if hasattr(signal, name)
]
"""Signals that trainers and loggers wait for."""


@contextmanager
def left_as_found(*, finish_wandb: bool = True) -> Iterator[None]:
    """Put back, whatever happens inside, all that libraries and jobs set for a whole process.

    Torch: default dtype, determinism, matmul precision, cudnn, threads, gradients; the
    generators of Python, numpy and torch; logging: handlers, levels, propagation; the environment;
    the filters of warnings; numpy's answer to divisions by zero; signal handlers and hooks;
    matplotlib's backend and settings; the current folder.

    Args:
        finish_wandb: Whether an open run of Weights & Biases is finished as failed: of a job that
            is over, not of a caller who goes on with it.
    """
    states = (
        torch_settings.remember,
        _rank,
        _generators,
        _logging,
        _environment,
        _warnings,
        _numpy,
        _hooks,
        _matplotlib,
    )
    restores = [remember() for remember in (*states, _folder)]
    try:
        yield
    finally:
        if finish_wandb:
            _finish_wandb()
        for restore in restores:
            restore()


def _rank() -> Restore:
    """The rank that Lightning takes this process for, where it is loaded."""
    module = sys.modules.get("lightning_utilities.core.rank_zero")
    only = getattr(module, "rank_zero_only", None)
    if not hasattr(only, "rank"):
        return lambda: None
    rank = only.rank  # type: ignore[union-attr]  # it was asked above
    return lambda: setattr(only, "rank", rank)


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
            if one.level != level:  # setting it walks all loggers, of which there are hundreds
                one.setLevel(level)
            one.handlers[:], one.filters[:] = handlers, filters
        if logging.root.manager.disable != disabled:
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
    layout = warnings.formatwarning

    def restore() -> None:
        if warnings.filters != found:
            warnings.filters[:] = found  # type: ignore[index]  # a list, typed as a sequence
            warnings._filters_mutated()  # type: ignore[attr-defined]  # as catch_warnings does
        warnings.showwarning, warnings.formatwarning = show, layout

    return restore


def _numpy() -> Restore:
    import numpy as np

    answers, printing = np.geterr(), np.get_printoptions()

    def restore() -> None:
        np.seterr(**answers)
        if np.get_printoptions() != printing:
            np.set_printoptions(**printing)

    return restore


def _hooks() -> Restore:
    hooks = (sys.excepthook, sys.unraisablehook, threading.excepthook)
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if main else {}

    def restore() -> None:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        for number, handler in handlers.items():
            # None is a handler that was not set from Python, and cannot be set from there.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return restore


def _matplotlib() -> Restore:
    """Matplotlib, where it is loaded: else there is nothing to lose."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or not hasattr(matplotlib, "rcParams"):
        return lambda: None
    settings = dict.copy(matplotlib.rcParams)  # by the class: reading the backend chooses one

    def restore() -> None:
        if dict.copy(matplotlib.rcParams) != settings:
            dict.update(matplotlib.rcParams, settings)

    return restore


def _folder() -> Restore:
    found = Path.cwd()
    return lambda: os.chdir(found)


def _finish_wandb() -> None:
    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    if run is not None:
        run.finish(exit_code=1)
