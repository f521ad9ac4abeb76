"""A job leaves the process as it found it, and gives the same bits alone and as the tenth."""

import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from run_entry import medrobust

from medrobust.base.process_state import left_as_found
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.jobs import run as jobs

ROOT = logging.getLogger()
LOGGER = logging.getLogger("medrobust.some.test")

DISTURBED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "default dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        torch.get_default_dtype,
    ),
    "determinism": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.get_deterministic_debug_mode,
    ),
    "matmul precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "threads": (
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        torch.get_num_threads,
    ),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "cudnn": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: torch.backends.cudnn.benchmark,
    ),
    "python's generator": (lambda: random.seed(1), random.getstate),
    "numpy's generator": (
        lambda: np.random.seed(1),  # noqa: NPY002
        lambda: np.random.get_state()[1].tolist(),  # noqa: NPY002
    ),
    "torch's generator": (lambda: torch.manual_seed(1), lambda: torch.get_rng_state().tolist()),
    "handlers": (lambda: ROOT.addHandler(logging.NullHandler()), lambda: ROOT.handlers[:]),
    "levels": (lambda: LOGGER.setLevel(logging.CRITICAL), lambda: LOGGER.level),
    "logging off": (lambda: logging.disable(logging.ERROR), lambda: logging.root.manager.disable),
    "environment": (lambda: os.environ.update(LOCAL_RANK="3"), lambda: dict(os.environ)),
    "warnings": (lambda: warnings.simplefilter("ignore"), lambda: warnings.filters[:]),
    "folder": (lambda: os.chdir("/"), Path.cwd),
    "divisions by zero": (lambda: np.seterr(all="ignore"), np.geterr),
    "signals": (
        lambda: signal.signal(signal.SIGTERM, lambda *_: None),
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "hooks": (lambda: setattr(sys, "excepthook", print), lambda: sys.excepthook),
    "matplotlib": (
        lambda: dict.update(matplotlib.rcParams, {"font.size": 3.0}),
        lambda: matplotlib.rcParams["font.size"],
    ),
}


@pytest.mark.parametrize("what", DISTURBED)
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_job_sets_for_the_process_is_put_back(what: str, fails: bool) -> None:
    disturb, look = DISTURBED[what]
    before = look()
    try:
        with left_as_found():
            disturb()
            assert look() != before
            if fails:
                raise KeyError(what)
    except KeyError:
        assert fails
    assert look() == before


def test_a_logger_born_in_a_job_does_not_stay_loud() -> None:
    with left_as_found():
        born = logging.getLogger("medrobust.born.in.a.job")
        born.setLevel(logging.DEBUG)
        born.addHandler(logging.NullHandler())
    assert (born.level, born.handlers) == (logging.NOTSET, [])


def test_an_open_run_of_wandb_is_finished_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    run = SimpleNamespace(finish=lambda exit_code: codes.append(exit_code))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    with left_as_found():
        pass
    assert codes == [1]


def logits(store: str) -> dict[str, bytes]:
    """Name and logits of the cells of the model as published."""
    found = Store(Path(store).absolute()).cells()
    return {str(c.spec): c.arrays["logits"].tobytes() for c in found if c.spec.adapter == "none"}


@pytest.mark.slow
def test_a_job_gives_the_same_bits_alone_and_as_the_tenth(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = ("dataset=phantoms", "dataset.per_class=1", "corruption=gaussian_noise", "severity=3")
    monkeypatch.setattr(jobs, "RESOURCES", Resources())
    assert medrobust("model=phantomclip_small", *same, "store.dir=alone") == 0
    monkeypatch.setattr(jobs, "RESOURCES", Resources())
    before = ("model=biomedclip,phantomclip_small", "adapter=norm,lora,linear_probe,none,untuned")
    tuning = ("task=few_shot", "task.shots=1", "task.epochs=1", "prompts=phantoms")
    sent = ("logger=wandb", "logger.mode=offline", "hydra.sweep.dir=sweep")
    assert medrobust("-m", *before, *same, *tuning, *sent, "store.dir=tenth") == 1
    failed = {path.parent.name.split(",")[0] for path in Path("sweep").glob("*/failed.json")}
    assert failed == {"0", "1", "2", "3", "4", "8"}, "no weights; nothing to tune"
    assert len(list(Path("tenth/adapters").iterdir())) == 3
    assert len(logits("alone")) == 3, "clean, corrupted, clean validation"
    assert logits("tenth") == logits("alone")
