"""What every test shares: no network, a cache of its own, a quiet process left behind."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as the entry does

import torch

from medrobust.base.once import begin_again

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported, whoever does it


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Refuse the network, and keep the caches of tests out of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MEDROBUST_CACHE", str(tmp_path_factory.getbasetemp().parent / "cache"))
        patch.delenv("MEDROBUST_DATA", raising=False)
        patch.setattr(os, "fsync", lambda opened: None)  # no test pulls the plug
        yield


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Let every test hear what is logged once a job."""
    begin_again()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one; logging as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield tmp_path
    root.handlers[:], root.level = handlers, level
