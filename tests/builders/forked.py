"""Runs a job in a child of this process, which has imported already what takes seconds."""

import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO

import torch


def forked(
    job: Callable[[], object], meanwhile: Callable[[int], object] = lambda child: None
) -> SimpleNamespace:
    """Return `returncode`, `stdout` and `stderr` of a child that runs `job` and ends with it.

    The parent does `meanwhile` with the child's number before it waits.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, from 3.12 on
            child = os.fork()
        if not child:
            os._exit(_status(job, out, err))
        try:
            meanwhile(child)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return SimpleNamespace(returncode=status, stdout=_read(out), stderr=_read(err))


def _status(job: Callable[[], object], out: IO[str], err: IO[str]) -> int:
    """Run the job as a program of its own does: its streams, its status, its traceback."""
    torch.set_num_threads(1)  # those of OpenMP are not in the child
    warnings.simplefilter("ignore")
    for number, name, file in ((1, "stdout", out), (2, "stderr", err)):
        os.dup2(file.fileno(), number)
        setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
    try:
        job()
        status = 0
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else int(bool(done.code))
    except BaseException:  # whatever it is, it may not go on in the tests of the parent
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
