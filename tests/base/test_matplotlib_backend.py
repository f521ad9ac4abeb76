"""A backend of matplotlib that is exported and is none stops nothing; one that is there stays."""

import os
import subprocess
import sys

import pytest

ASK = """
import os
from medrobust import evaluate
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.get_backend().lower())
"""


@pytest.mark.parametrize(
    ("named", "used"), [("a_backend_of_nobody", "agg"), ("svg", "svg"), ("", "agg")]
)
def test_evaluate_is_imported_whatever_backend_is_exported(named: str, used: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, "MPLBACKEND": named},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*named.split(), used]
