"""Making the environment says how far it is, and gathers pip's warnings."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_environment.py"
SAYS = """
import sys, time
print("WARNING: Location 'x' is ignored", file=sys.stderr)
for name in ("numpy==2.0 (from -r lock)", "torch==2.6 (from -r lock)"):
    print("Collecting", name, flush=True)
    print("WARNING: Location 'x' is ignored", file=sys.stderr, flush=True)
    time.sleep(0.05)
print("Installing collected packages: numpy, torch", flush=True)
print("Successfully installed numpy torch")
"""


@pytest.fixture
def maker(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EVERY", 0.01)
    return module


def test_progress_is_a_few_lines_and_warnings_are_one(maker, capfd) -> None:
    assert maker.install([sys.executable, "-c", SAYS], packages=2) == 0
    out, err = capfd.readouterr()
    assert "2 of 2: Collecting torch==2.6" in out
    assert "installing all of them" in out
    assert "3 warnings" in out
    assert "done" in out
    assert "ignored" not in out + err
    assert len(out.splitlines()) <= 5


def test_packages_from_files_that_are_there_count_too(maker, capfd) -> None:
    local = SAYS.replace('"Collecting", name', '"Processing", f"./wheels/{name}"')
    assert maker.install([sys.executable, "-c", local], packages=2) == 0
    out = capfd.readouterr().out
    assert "2 of 2: Processing torch==2.6" in out
    assert "wheels" not in out


def test_after_an_error_all_that_pip_said_is_shown(maker, capfd) -> None:
    failing = SAYS + "print('ERROR: No matching distribution found for torch==9')\nsys.exit(3)"
    assert maker.install([sys.executable, "-c", failing], packages=2) == 3
    out = capfd.readouterr().out
    assert "ERROR: No matching distribution found for torch==9" in out
    assert "Collecting numpy==2.0 (from -r lock)" in out
    assert "failed" in out


def test_the_packages_of_a_lock_are_counted(maker, tmp_path) -> None:
    (tmp_path / "lock").write_text("# a comment\nnumpy==2.0\n\ntorch==2.6\n")
    assert maker._listed(str(tmp_path / "lock")) == 2
