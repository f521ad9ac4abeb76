"""A backend of matplotlib that is exported and is none stops nothing; one that is there stays."""

import subprocess
import sys

CASES = {"a_backend_of_nobody": "agg", "svg": "svg", "": "agg"}
"""What is exported -> what is used."""

ASK = """
import gc, os, sys
import cv2, numba, peft, PIL.Image, scipy.stats, torch._dynamo, torchvision, transformers
assert "matplotlib" not in sys.modules
gc.freeze()
for named in sys.argv[1:]:
    child = os.fork()  # with what takes long to import and asks for no backend
    if not child:
        os.environ["MPLBACKEND"] = named
        from medrobust import evaluate
        import matplotlib
        print(os.environ["MPLBACKEND"], matplotlib.get_backend().lower(), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


def test_evaluate_is_imported_whatever_backend_is_exported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, *CASES],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert found == [[*named.split(), used] for named, used in CASES.items()]
