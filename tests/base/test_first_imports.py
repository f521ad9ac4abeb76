"""What a process imports first: no more than it needs, with any exported backend of matplotlib.

All in one process, because importing takes seconds.
"""

import os
import subprocess
import sys

import pytest

from medrobust.cli.surroundings import QUIET

CASES = {"a_backend_of_nobody": "agg", "svg": "svg", "": "agg"}
"""What is exported -> what is used."""

PROGRAM = """
import gc, os, sys
from medrobust.cli.entry import leave

def refused(*_, **__):
    raise SystemExit("a connection")

def backends():
    assert "matplotlib" not in sys.modules
    gc.freeze()
    for named in sys.argv[1:]:
        child = os.fork()  # with what takes long to import and asks for no backend
        if not child:
            os.environ["MPLBACKEND"] = named
            from medrobust import evaluate
            import matplotlib, pytorch_lightning
            for name in ("torchvision", "torchmetrics.functional", "scipy.signal"):
                assert name not in sys.modules, name
            print(os.environ["MPLBACKEND"], matplotlib.get_backend().lower(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

def job():
    import socket
    socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
    import cv2, numba, PIL.Image, scipy.stats, torch._dynamo
    backends()
    import medrobust.engine
    import albumentations, huggingface_hub, peft, pytorch_lightning, transformers, wandb
    from huggingface_hub import constants
    assert constants.HF_HUB_DISABLE_TELEMETRY
    assert not wandb.env.error_reporting_enabled()
    return 0

leave(job)
"""


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name not in QUIET}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *CASES],
        env=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_evaluate_is_imported_whatever_backend_is_exported(done) -> None:
    found = [line.split() for line in done.stdout.splitlines()]
    assert found == [[*named.split(), used] for named, used in CASES.items()], done.stderr


@pytest.mark.slow
def test_no_library_that_is_imported_tells_its_makers(done) -> None:
    assert (done.returncode, done.stderr) == (0, "")
