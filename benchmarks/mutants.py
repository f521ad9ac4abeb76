"""Do the tests see it when the code is wrong? One small change at a time, at random places.

    python -m benchmarks mutants --out DIR [--count 300] [--seed 10] [--jobs 1]

takes a sample of the mutants of the corruptions, the metrics and the store, each file in
proportion to the number of its mutants, and gives every one to the tests of its module, in a copy
of the project. It goes on where an earlier call with that folder stopped; `--again` gives those
that survived to the tests as they are now. A test that takes more than 90 seconds of CPU counts as
failed, and is counted apart.

Tests start in forks of a process that has imported the libraries. Compiled kernels that take in
the mutated file, by whatever way, are compiled anew: numba itself looks at the kernel's file alone.
"""

import argparse
import ast
import compileall
import importlib
import json
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from benchmarks.kills import forked
from benchmarks.mutation import Mutant, mutants

ROOT = Path(__file__).parents[1]
COPIED = ("medrobust", "conf", "tests", "docs", "scripts", "benchmarks", "run.py", "README.md")
COPIED += ("pyproject.toml", "requirements.lock", "requirements-lowest.txt", "Makefile")
COPIED += ("CHANGELOG.md", "LICENSE", "CITATION.cff", "outputs/.gitignore", ".gitignore")
IMPORTED = ("torch", "numba", "scipy.stats", "scipy.ndimage", "sklearn.metrics", "skimage.filters")
IMPORTED += ("skimage.color", "cv2", "PIL.Image", "medmnist", "torchvision", "albumentations")
IMPORTED += ("torchmetrics", "pytest", "sklearn.linear_model", "sklearn.datasets", "yaml")
IMPORTED += ("hydra", "hypothesis", "jaxtyping", "pytorch_lightning")
SECONDS = 90
"""CPU time of one test; on the clock a mutant has ten times as long."""
MEMORY = 16 << 30

OWN = {  # tests of a module, where they have another name
    "medrobust/corruptions/blur": ("smoothing", "golden"),
    "medrobust/corruptions/digital": ("golden", "corrupt"),
    "medrobust/corruptions/filter": ("smoothing", "weather", "displacement"),
    "medrobust/corruptions/pointwise": ("photometric", "golden"),
    "medrobust/corruptions/philox": ("noise", "displacement", "artifacts", "weather"),
    "medrobust/corruptions/batches": ("corrupt", "photometric", "smoothing"),
    "medrobust/corruptions/letters": ("contract", "artifacts"),
    "medrobust/corruptions/ink": ("artifacts",),
    "medrobust/corruptions/frost_textures": ("contract", "weather"),
    "medrobust/metrics/aggregates": ("intervals", "robustness"),
    "medrobust/metrics/baselines": ("robustness",),
    "medrobust/metrics/calibration": ("more_numbers",),
    "medrobust/metrics/cell": ("intervals", "classification", "more_numbers"),
    "medrobust/metrics/curves": ("intervals", "more_numbers"),
    "medrobust/metrics/detection": ("more_numbers",),
    "medrobust/metrics/estimates": ("intervals",),
    "medrobust/metrics/influence": ("intervals",),
    "medrobust/metrics/scores": ("classification", "more_numbers"),
}
ROOMS = {
    "medrobust/corruptions": tuple(
        f"tests/corruptions/test_{name}.py"
        for name in ("corrupt", "suites", "golden", "contract", "training")
    ),
    "medrobust/metrics": (
        *(f"tests/metrics/test_{name}.py" for name in (
            "intervals", "classification", "robustness", "more_numbers", "comparisons", "draws"
        )),
        "tests/reporting/test_uncertainty.py", "tests/reporting/test_draws.py",
    ),
    "medrobust/evaluation": (
        "tests/evaluation/test_store.py", "tests/evaluation/test_merge.py",
        "tests/evaluation/test_wrong_numbers.py", "tests/evaluation/test_run.py",
    ),
}  # fmt: skip
"""Tests after a module's own: those of the room, and of who reads its numbers. Left out for their
time: statistics of the random corruptions, the registries' pixels and the order of severities."""


def main(arguments: Sequence[str]) -> int:
    """Try the mutants that are not done; status 1 where less than 80 % are killed."""
    parser = argparse.ArgumentParser(prog="benchmarks mutants")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--only", default="", help="mutants of files whose path has this in it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the copy and the notes")
    given = parser.parse_args(arguments)
    folder = given.out.absolute()
    chosen = sample(sites(), given.count, given.seed)
    notes = folder / f"mutants-{given.seed}.jsonl"
    done = read(notes)
    todo = [
        (file, mutant)
        for file, mutant in chosen
        if given.only in file
        and (
            name(file, mutant) not in done
            or (given.again and done[name(file, mutant)]["outcome"] == "survived")
        )
    ]
    copy_project(folder / "copy")
    for module in IMPORTED:
        importlib.import_module(module)
    numba.njit("int64(int64)")(lambda x: x)  # whose compiler loads with its first function
    workers = [
        forked(lambda part=part: work(todo[part :: given.jobs], folder, notes), folder / "workers")
        for part in range(given.jobs)
    ]
    failed = [os.waitpid(worker, 0)[1] for worker in workers]
    done = read(notes)
    print(table({name(*one): done[name(*one)] for one in chosen if name(*one) in done}))
    outcomes = Counter(done[name(*one)]["outcome"] for one in chosen if name(*one) in done)
    return int(any(failed) or outcomes["survived"] > 0.2 * len(chosen))


def sites() -> dict[str, list[Mutant]]:
    """List all mutants by file."""
    files = sorted(ROOT.glob("medrobust/corruptions/*.py"))
    files += [*sorted(ROOT.glob("medrobust/metrics/*.py")), ROOT / "medrobust/evaluation/store.py"]
    return {str(file.relative_to(ROOT)): mutants(file.read_bytes()) for file in files}


def sample(
    found: Mapping[str, Sequence[Mutant]], count: int, seed: int
) -> list[tuple[str, Mutant]]:
    """Draw mutants without repetition, from each file in proportion to its number, and shuffle."""
    rng = np.random.default_rng(seed)
    total = sum(map(len, found.values()))
    edges = np.cumsum([0, *map(len, found.values())]) * count / total
    shares = np.diff(np.floor(edges + rng.uniform())).astype(int)
    chosen = [
        (file, of_file[place])
        for (file, of_file), share in zip(found.items(), shares, strict=True)
        for place in rng.choice(len(of_file), share, replace=False)
    ]
    return [chosen[place] for place in rng.permutation(len(chosen))]


def name(file: str, mutant: Mutant) -> str:
    """Name a mutant."""
    return f"{file}:{mutant.line}:{mutant.start} {mutant.before} -> {mutant.after}"


def read(notes: Path) -> dict[str, dict[str, Any]]:
    """Read what is known of each mutant; the last word holds."""
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return {entry["mutant"]: entry for entry in map(json.loads, lines)}


def copy_project(copy: Path) -> None:
    """Copy what tests need, or bring a copy up to date; kernels compiled there stay."""
    copy.mkdir(parents=True, exist_ok=True)
    for part in COPIED:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.pyc")
            shutil.copytree(
                source, copy / part, dirs_exist_ok=True, ignore=ignored, copy_function=_renew
            )
        elif source.exists():
            (copy / part).parent.mkdir(exist_ok=True)
            _renew(source, copy / part)
    mode = py_compile.PycInvalidationMode.CHECKED_HASH  # sizes and times of mutants may be equal
    compileall.compile_dir(copy / "medrobust", quiet=1, invalidation_mode=mode)


def _renew(source: str | Path, target: str | Path) -> None:
    """Copy a file where it differs, never into one that has another name in a tree in use."""
    there, here = Path(target), Path(source).stat()
    if there.exists():
        old = there.stat()
        if (old.st_size, old.st_mtime_ns) == (here.st_size, here.st_mtime_ns):
            return
        there.unlink()
    shutil.copy2(source, target)


def work(todo: Sequence[tuple[str, Mutant]], folder: Path, notes: Path) -> None:
    """Try mutants and note what became of them."""
    for file, mutant in todo:
        tree = folder / f"tree-{os.getpid()}"
        started = time.monotonic()
        outcome, by = trial(folder / "copy", tree, file, mutant)
        entry = {"mutant": name(file, mutant), "file": file, "kind": mutant.kind}
        entry |= {"outcome": outcome, "by": by, "seconds": round(time.monotonic() - started)}
        with notes.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def trial(copy: Path, tree: Path, file: str, mutant: Mutant | None) -> tuple[str, str]:
    """Give a mutant to the tests of its module.

    Returns:
        "killed", "time-out" or "survived", and by which test.
    """
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(copy, tree, copy_function=os.link)
    if mutant:
        source = (tree / file).read_bytes()
        (tree / file).unlink()  # the copy has the same file
        (tree / file).write_bytes(mutant.apply(source))
        for module in dependents(tree, Path(file)):
            for compiled in (tree / file).parent.glob(f"__pycache__/{module}.*.nb?"):
                compiled.unlink()
    process = forked(lambda: run_tests(tree, file), tree)
    end = time.monotonic() + 10 * SECONDS
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.1)
    if ended[0] == 0:
        os.killpg(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)
    at = tree / "at.txt"
    test = at.read_text(encoding="utf-8") if at.exists() else "collection"
    status = os.waitstatus_to_exitcode(ended[1])
    shutil.rmtree(tree)
    if status == 0:
        return "survived", ""
    return "time-out" if status in (-signal.SIGPROF, -signal.SIGKILL) else "killed", test


def dependents(tree: Path, file: Path) -> set[str]:
    """List the modules of a folder that import one of it, by whatever way, and that one."""
    uses = {}
    for path in (tree / file).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_bytes()))
        imports = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 1]
        uses[path.stem] = {i.module for i in imports}
    found, before = {file.stem}, 0
    while len(found) > before:
        before = len(found)
        found |= {module for module, used in uses.items() if used & found}
    return found


def relevant_tests(file: str) -> list[str]:
    """List the tests of a module: its examples, its own, those of the room."""
    module = file.removesuffix(".py").removesuffix("_numba")
    room, _, stem = module.rpartition("/")
    own = [
        f"tests/{room.rpartition('/')[2]}/test_{test}.py" for test in (stem, *OWN.get(module, ()))
    ]
    present = [test for test in (*own, *ROOMS[room]) if (ROOT / test).exists()]
    return list(dict.fromkeys([file, *present]))


def run_tests(tree: Path, file: str) -> None:
    """Run the tests of a module in a tree; raises SystemExit where one fails."""
    os.chdir(tree)
    sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(ROOT)))]
    os.environ["PYTHONPATH"] = str(tree)
    for module in [m for m in sys.modules if m.partition(".")[0] in ("benchmarks", "medrobust")]:
        del sys.modules[module]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # their imports cost more than most tests
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    base = f"--basetemp={tree}/scratch"
    status = pytest.main([*options, base, *relevant_tests(file)], plugins=[Limits(tree, file)])
    if status:
        raise SystemExit(int(status))


class Limits:
    """What tests of a mutant are given: time, and the cases that are about its module."""

    def __init__(self, tree: Path, file: str) -> None:
        self.at = tree / "at.txt"
        self.module = Path(file).stem.removesuffix("_numba")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out cases that are about kernels of other modules only."""
        from medrobust.corruptions.kernels import KERNELS

        mine = {kernel for kernel, facts in KERNELS.items() if facts.module == self.module}
        if mine:
            others = KERNELS.keys() - mine
            items[:] = [
                item for item in items
                if not (words := set(item.name.replace("[", "-").replace("]", "-").split("-")))
                & others or words & mine
            ]  # fmt: skip

    def pytest_runtest_setup(self, item: Any) -> None:
        """Note which test runs, and set the alarm."""
        self.at.write_text(item.nodeid, encoding="utf-8")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)


def table(done: Mapping[str, Mapping[str, Any]]) -> str:
    """Write a line a file, and those that survived."""
    files = sorted({entry["file"] for entry in done.values()})
    lines = ["| file | mutants | killed | by time | survived |", "|--|--|--|--|--|"]
    for file in [*files, ""]:
        counts = Counter(e["outcome"] for e in done.values() if e["file"] == (file or e["file"]))
        numbers = (counts.total(), counts["killed"], counts["time-out"], counts["survived"])
        lines.append(f"| {file or 'all'} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join([*lines, *(m for m, e in done.items() if e["outcome"] == "survived")])
