"""No file of the current folder takes the place of the standard library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medrobust.cli.module_order import ordered

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("named", [":{root}", "{root}:", ".:{root}", "{here}:{root}"])
def test_a_module_named_as_one_of_the_library_stops_nothing(tmp_path: Path, named: str) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('mine')")
    path = named.format(root=ROOT, here=tmp_path)
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "--version"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("medrobust ")


def test_what_is_named_still_comes_before_installed_packages() -> None:
    entries = ["/bin", "/own", "/lib", "/lib/lib-dynload", "/lib/site-packages"]
    found = ordered(entries, ["/own"], "/here", "/lib")
    assert found == ["/bin", "/lib", "/lib/lib-dynload", "/own", "/lib/site-packages"]
    assert ordered(entries, [""], "/here", "/lib") == entries
    assert ordered(["/here", *entries], ["", "/here"], "/here", "/lib")[-1] != "/here"
