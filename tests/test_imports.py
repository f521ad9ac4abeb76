"""Imports go one way; start-up stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "medrobust"
BASE = {
    "exceptions", "types", "keys", "fingerprints", "licenses", "native", "paths", "reading",
    "threads", "wording", "writing",
}  # fmt: skip
ALLOWED = {
    "corruptions": BASE,
    "datasets": BASE,
    "models": BASE,
    "metrics": BASE,
    "adapters": BASE | {"models"},
    "tasks": BASE | {"corruptions", "datasets", "models", "metrics", "adapters"},
    "reporting": BASE | {"metrics", "evaluation.store"},
    "evaluation": BASE
    | {
        "arguments",
        "option_keys",
        "corruptions",
        "datasets",
        "models",
        "metrics",
        "adapters",
        "tasks",
    },
}
KNOW_HYDRA = {"cli.py", "evaluation/plan.py"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it; one-dot imports are its own room's."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0]
    names = imported(path)
    if room in ALLOWED:
        ours = {name.removeprefix("medrobust.") for name in names if name.startswith("medrobust.")}
        foreign = {name for name in ours if name.split(".")[0] != room}
        wrong = {n for n in foreign if not any(f"{n}.".startswith(f"{a}.") for a in ALLOWED[room])}
        assert not wrong
    if str(relative) not in KNOW_HYDRA:
        assert not {name for name in names if name.split(".")[0] in {"hydra", "omegaconf"}}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import medrobust", ("torch", "numpy", "hydra")),
        ("import medrobust.cli", ("torch", "numba", "cv2", "matplotlib", "transformers")),
        ("from medrobust.corruptions import Corruption", ("torch", "numba", "cv2")),
        ("import medrobust.reporting", ("matplotlib", "wandb")),
        ("import medrobust.models", ("transformers", "open_clip")),
    ],
)
def test_importing_is_light(statement: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configuration_is_printed_without_loading_what_computes() -> None:
    command = [sys.executable, "-X", "importtime", str(PACKAGE.parent / "run.py"), "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "hydra" in loaded
    assert not loaded & {"torch", "numpy", "pytorch_lightning", "matplotlib", "transformers"}
