"""What a wheel holds, and what the package says that it needs."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_wheel_has_every_group_of_conf_but_ones_own() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    there = {path.name for path in (ROOT / "conf").iterdir()} - {"local"}
    assert included == {f"conf/{name}": f"medrobust/conf/{name}" for name in there}


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


INDIRECT = {"lightning_fabric", "llvmlite", "packaging", "timm", "torchvision", "triton"}
"""Parts of pytorch-lightning, numba, hydra-core, open_clip_torch and torch, which pin them to fit.
Triton is imported where there is a GPU, and only if it is there."""
