"""What a wheel holds, and what the package says that it needs."""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from medrobust.cli.subcommands import SUBCOMMANDS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_wheel_has_every_group_of_conf_but_ones_own() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {
        "only-include": ["medrobust", "conf"],
        "exclude": ["/conf/local"],
        "sources": {"conf": "medrobust/conf"},
    }


@pytest.mark.slow
def test_what_the_package_imports_is_declared() -> None:
    imported = set()
    for path in (ROOT / "medrobust").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"medrobust"}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    declared = {line.split(">")[0].split("[")[0].lower().replace("-", "_") for line in wanted}
    known = packages_distributions()
    undeclared = {
        name
        for name in foreign
        if not {d.lower().replace("-", "_") for d in known.get(name, [name])} & declared
    }
    assert undeclared - INDIRECT == set()


@pytest.mark.slow  # builds the wheel
def test_a_built_wheel_runs_every_subcommand_outside_of_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the wheel; pip install hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {
        "medrobust",
        f"medrobust-{PROJECT['project']['version']}.dist-info",
    }
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for word in [*SUBCOMMANDS, ""]:
        command = [sys.executable, "-m", "medrobust", *([word] if word else []), "--help"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "run.py" not in done.stdout


INDIRECT = {"lightning_fabric", "llvmlite", "packaging", "timm", "torchvision", "triton"}
"""Parts of pytorch-lightning, numba, hydra-core, open_clip_torch and torch, which pin them to fit.
Triton is imported where there is a GPU, and only if it is there."""
