"""What a process holds beside its objects, and how a job leaves it as it was found.

Jobs of a sweep share a process: what one of them sets globally would reach the next.
"""

import decimal
import gc
import locale
import logging
import multiprocessing
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
from medrobust.base.numba_threads import use_threads

Restore: TypeAlias = Callable[[], None]


@contextmanager
def left_as_found(*, finish_wandb: bool = True) -> Iterator[None]:
    """Put back, whatever happens inside, all that libraries and jobs set for a whole process.

    Torch: default dtype, determinism, matmul precision, cudnn, threads, gradients; the
    generators of Python, numpy and torch; logging: handlers, levels, propagation; the environment;
    the filters of warnings; numpy's answer to divisions by zero; signal handlers and hooks;
    matplotlib's backend and settings; the interpreter's limits, paths, decimals and collector of
    garbage; how processes are started; threads of our own; the locale; umask and current folder.

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
        _interpreter,
        _processes,
        use_threads,
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
    numbers = signal.valid_signals() if main else ()
    handlers = {number: signal.getsignal(number) for number in numbers}

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
    settings = settings_of_matplotlib()

    def restore() -> None:
        if settings_of_matplotlib() != settings:
            dict.update(matplotlib.rcParams, settings)

    return restore


def settings_of_matplotlib() -> dict[str, Any]:
    """Return the settings of matplotlib, which is loaded, without choosing a backend.

    Reading the one that is not chosen yet chooses one, and `dict.copy` reads like anybody.
    """
    settings = sys.modules["matplotlib"].rcParams
    return {name: dict.__getitem__(settings, name) for name in dict.keys(settings)}


def _interpreter() -> Restore:
    """Limits, paths, decimals and the collector of garbage; the locale of the C library."""
    path, recursion, switch = sys.path[:], sys.getrecursionlimit(), sys.getswitchinterval()
    digits = sys.get_int_max_str_digits()
    decimals = decimal.getcontext().copy()
    collects, thresholds, place = (
        gc.isenabled(),
        gc.get_threshold(),
        locale.setlocale(locale.LC_ALL),
    )

    def restore() -> None:
        if sys.path != path:
            sys.path[:] = path
        sys.setrecursionlimit(recursion)
        sys.setswitchinterval(switch)
        sys.set_int_max_str_digits(digits)
        decimal.setcontext(decimals)
        gc.set_threshold(*thresholds)
        (gc.enable if collects else gc.disable)()
        if locale.setlocale(locale.LC_ALL) != place:
            locale.setlocale(locale.LC_ALL, place)

    return restore


def _processes() -> Restore:
    """How processes are started, which is chosen for good by whoever asks first."""
    method = multiprocessing.get_start_method(allow_none=True)

    def restore() -> None:
        if multiprocessing.get_start_method(allow_none=True) != method:
            multiprocessing.set_start_method(method, force=True)

    return restore


def _folder() -> Restore:
    found, mask = Path.cwd(), os.umask(0o077)
    os.umask(mask)

    def restore() -> None:
        os.chdir(found)
        os.umask(mask)

    return restore


def _finish_wandb() -> None:
    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    if run is not None:
        run.finish(exit_code=1)
