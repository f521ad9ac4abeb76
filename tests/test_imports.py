"""Imports go one way; start-up stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "medrobust"
ROOT = {"exceptions", "types"}
BASE = ROOT | {"base", "keys"}
ROOMS = BASE | {"corruptions", "quality", "datasets", "models", "metrics", "adapters"}
EVALUATION = ROOMS | {"engine", "tuning", "tasks.base", "tasks.lookup", "tasks.patches"}
JOBS = EVALUATION | {"evaluation", "reporting", "readings"}
ALLOWED = {
    "__init__": {"jobs.notebook", "base"},
    "__main__": {"cli"},
    "exceptions": set(),
    "types": ROOT | {"base.tensor_types"},
    "keys": BASE,
    "base": BASE,
    "corruptions": BASE,
    "quality": BASE,
    "datasets": BASE,
    "models": BASE,
    "metrics": BASE,
    "adapters": BASE | {"models"},
    "engine": ROOMS - {"quality"},
    "tuning": ROOMS - {"quality"} | {"engine"},
    "tasks": BASE
    | {"quality", "models", "metrics", "corruptions.texts"}
    | {"reporting.markup", "reporting.reliability"},
    "readings": BASE | {"metrics", "tasks.base", "tasks.lookup", "evaluation.store", "reporting"},
    "reporting": BASE
    | {"metrics", "tasks.base", "tasks.lookup", "readings.lookup", "evaluation.store"}
    | {"corruptions.suites"},
    "evaluation": EVALUATION,
    "jobs": JOBS,
    "monitor": BASE | {"quality", "datasets", "metrics", "evaluation", "reporting"},
    "cli": JOBS | {"jobs", "monitor"},
}
"""Room or module at the root -> what of ours it may import beside itself."""
LIGHT = re.compile(r"(readings|reporting|metrics)/.+|tasks/\w+/(scores|sections)\.py")
"""What a report of a store is made by: nothing of it needs what encodes."""
PARTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""Of a file, what an import may stand in: no expression holds one."""
ENCODES = {"torch", "pytorch_lightning", "transformers"}
TASKS = sorted(place.parent.name for place in PACKAGE.glob("tasks/*/__init__.py"))
PAGE = PACKAGE.parent / "docs" / "architecture.md"
KNOW_HYDRA = {
    "cli/former_files.py",
    "cli/hydra_app.py",
    "cli/joint_report.py",
    "cli/mistakes.py",
    "cli/quoting.py",
    "cli/sweeper.py",
    "evaluation/building.py",
    "evaluation/config.py",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path, *, when: str = "ever") -> set[str]:
    """Dotted names that a file imports, wherever in it; those of its own folder begin with a dot.

    Those that it imports `when` it is "loaded" stand in no function and are no mere types.
    """
    names: set[str] = set()
    found: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in found:
        if when == "ever" or not _is_not_run(node):
            found += [child for child in ast.iter_child_nodes(node) if isinstance(child, PARTS)]
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):  # ruff refuses those of the folder above
            of = f"{'.' * node.level}{node.module}." if node.module else "."
            names |= {f"{of}{alias.name}" for alias in node.names}
    return names


def _is_not_run(node: ast.AST) -> bool:
    """Say whether what stands in a node is no part of loading the file."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_imports_go_one_way() -> None:
    places = {path.relative_to(PACKAGE): path for path in modules()}
    found = {str(place): wrong_imports(place, imported(path)) for place, path in places.items()}
    assert {place: names for place, names in found.items() if names} == {}


def wrong_imports(relative: Path, names: set[str]) -> set[str]:
    """Names that a file of the package, at `relative` below it, may not import."""
    room = relative.parts[0].removesuffix(".py")
    folder = ".".join(("medrobust", *relative.parts[:-1]))
    names = {f"{folder}{name}" if name.startswith(".") else name for name in names}
    ours = {name.removeprefix("medrobust.") for name in names if name.startswith("medrobust.")}
    foreign = {name for name in ours if name.split(".")[0] != room}
    allowed = ALLOWED[room]  # a new room says here what it stands on
    wrong = {name for name in foreign if not any(f"{name}.".startswith(f"{a}.") for a in allowed)}
    if relative.as_posix() not in KNOW_HYDRA:
        wrong |= {name for name in names if name.split(".")[0] in {"hydra", "omegaconf"}}
    return wrong | {name for name in ours if _another_task(name) not in ("", *relative.parts[1:2])}


def _another_task(name: str) -> str:
    """The folder of a task that something is imported from, empty where it is from none."""
    return next((task for task in TASKS if f"{name}.".startswith(f"tasks.{task}.")), "")


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("base/files.py", "from medrobust.datasets import ImageSet"),
        ("keys.py", "from medrobust.corruptions.shell import corrupt"),
        ("exceptions.py", "from .evaluation import store"),
        ("types.py", "from . import jobs"),
        ("corruptions/noise.py", "from medrobust.metrics import robustness"),
        ("metrics/intervals.py", "import medrobust.models.clip"),
        ("models/clip.py", "def late():\n    from medrobust.datasets.image_set import ImageSet"),
        ("adapters/lora.py", "from medrobust.evaluation.store import Store"),
        ("engine/encode.py", "from medrobust.evaluation import run"),
        ("tasks/classification/scores.py", "from medrobust.reporting.matrix import Matrix"),
        ("tasks/retrieval/scores.py", "import medrobust.tasks.classification.answers as answers"),
        ("tasks/agreement.py", "from .classification.answers import Answers"),
        ("evaluation/run.py", "from medrobust.tasks.classification import head"),
        ("reporting/page.py", "from medrobust.jobs.run import Job"),
        ("monitor/watch.py", "from medrobust.jobs.run import Job"),
        ("cli/doctor.py", "import hydra"),
        ("metrics/x.py", "try:\n    1\nexcept E:\n    from medrobust.jobs import run"),
        ("metrics/x.py", "match 1:\n    case _:\n        import medrobust.jobs.run"),
        ("metrics/x.py", "if 1:\n    2\nelse:\n    import medrobust.jobs"),
        ("__init__.py", "from medrobust.evaluation.store import Store"),
    ],
)
def test_a_planted_import_is_found(place: str, statement: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(statement)
    assert wrong_imports(Path(place), imported(planted))


def heavy_imports(relative: Path, path: Path) -> set[str]:
    """What encodes, of what a file loads that a report needs."""
    if not LIGHT.fullmatch(relative.as_posix()):
        return set()
    return {name.split(".")[0] for name in imported(path, when="loaded")} & ENCODES


def test_what_reports_loads_nothing_that_encodes() -> None:
    found = {path: heavy_imports(path.relative_to(PACKAGE), path) for path in modules()}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "place",
    ["readings/x.py", "reporting/page.py", "metrics/drift/x.py", "tasks/x/sections.py"],
)
@pytest.mark.parametrize(
    "statement",
    ["import torch", "from torch import nn", "try:\n    import transformers\nfinally: 1"],
)
def test_a_planted_import_of_what_encodes_is_found(
    place: str, statement: str, tmp_path: Path
) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(statement)
    assert heavy_imports(Path(place), planted)
    assert not heavy_imports(Path("engine/x.py"), planted)
    late = statement.replace("\n", "\n    ")
    planted.write_text(f"def late():\n    {late}\nif TYPE_CHECKING:\n    {late}\n")
    assert not heavy_imports(Path(place), planted)


def test_what_reports_is_imported_without_anything_that_encodes() -> None:
    places = [path.relative_to(PACKAGE.parent) for path in modules()]
    names = [
        ".".join(place.with_suffix("").parts).removesuffix(".__init__")
        for place in places
        if LIGHT.fullmatch(place.relative_to("medrobust").as_posix())
    ]
    assert len(names) > 80
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    if found := {ENCODES!r} & sys.modules.keys():\n"
        "        sys.exit(f'{name} imports {found}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_tells_the_rooms_and_what_they_stand_on() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| `")]
    told = {row[0].strip(" `"): set(re.findall(r"`([\w.]+)`", row[2])) for row in rows}
    there = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if _is_room(p)}
    assert set(told) == there | {"readings"} - {"__init__", "__main__"}
    everywhere = ROOT | {"keys", "base"}
    for room, given in told.items():
        assert given | everywhere == ALLOWED[room] | everywhere, room


def _is_room(place: Path) -> bool:
    folder = place.is_dir() and any(place.glob("*.py"))
    return folder or (place.suffix == ".py" and not place.stem.startswith("__"))


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import medrobust", ("torch", "numpy", "hydra")),
        ("import medrobust.cli", ("torch", "numba", "cv2", "matplotlib", "transformers")),
        ("from medrobust.corruptions import Corruption", ("torch", "numba", "cv2")),
        ("from medrobust.quality import MEASURES", ("torch", "numpy", "cv2")),
        ("import medrobust.reporting", ("matplotlib", "wandb")),
        ("import medrobust.models", ("transformers", "open_clip")),
    ],
)
def test_importing_is_light(statement: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_asking_for_evaluate_leaves_the_process_as_it_was_and_compiles_nothing() -> None:
    code = (
        "import os, random, sys, warnings, torch, medrobust\n"
        "state = lambda: (random.getstate(), dict(os.environ), list(warnings.filters))\n"
        "before = state(); medrobust.evaluate; print(state() == before)\n"
        "import pytorch_lightning; print({'torch._dynamo', 'sympy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["True", "set()", ""]


def test_a_configuration_is_printed_without_loading_what_computes() -> None:
    command = [sys.executable, "-X", "importtime", str(PACKAGE.parent / "run.py"), "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "hydra" in loaded
    assert not loaded & {"torch", "numpy", "pytorch_lightning", "matplotlib", "transformers"}
