"""The pieces of docs/extend.md, put where they say, make what the page promises."""

import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ROOT, blocks

from medrobust.readings import lookup as readings
from medrobust.tasks import lookup as tasks
from medrobust.tasks.base import SplitHead

BLOCKS = blocks(ROOT / "docs" / "extend.md")


def put(mark: str, text: str, root: Path) -> None:
    """Put one piece where its mark says."""
    how, _, place = mark.partition(": ")
    if how == "file":
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
        return
    name, _, anchor = place.partition(": ")
    file = root / name
    lines = file.read_text().splitlines(keepends=True)
    if how == "end of":
        lines += ["\n\n", text]
    else:
        assert how == "below", mark
        (at, *_) = [number for number, line in enumerate(lines) if anchor in line]
        margin = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines.insert(at + 1, textwrap.indent(text, margin))
    file.write_text("".join(lines))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with every piece of the page in its place."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("medrobust", "conf"):
        shutil.copytree(ROOT / name, root / name)  # what is compiled of unchanged files serves
    for name in ("tests/builders", "tests/tasks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.py", "pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, root / name)
    for block in BLOCKS:
        if block.mark.startswith(("file: ", "end of: ", "below: ")):
            put(block.mark, block.text, root)
    return root


def run(copy: Path, text: str) -> str:
    *settings, _ = text.split("python ")[0].split(" ")
    words = [sys.executable, *shlex.split(text.split("python ", 1)[1])]
    extra = dict(setting.split("=") for setting in settings)
    environment = {**os.environ, "PYTHONPATH": "", **extra}
    done = subprocess.run(
        [*words, "hydra.run.dir=last"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (copy / "last" / "results.csv").read_text()


@pytest.mark.slow  # five processes, and the kernels are compiled again in the copy
def test_the_pieces_make_all_that_the_page_promises(copy: Path) -> None:
    texts = [block.text for block in BLOCKS if block.mark == "run in a copy"]
    suite, corruption, metric, task, model = (run(copy, text) for text in texts)
    assert "faint_noise" in suite
    assert "soft_focus" in suite
    assert ",test,suite-" in suite
    assert ",lens,falloff,5," in corruption
    assert ",top2_accuracy," in metric
    assert ",strangers," in task
    assert "\nbrightness,none,phantoms,test,imagenet_c,brightness,3," in model
    hard = (copy / "last" / "hard_images.csv").read_text().splitlines()
    assert hard[0] == "dataset,split,id"
    assert hard[1].startswith("phantoms,test,test/")


TESTS = [block.mark.removeprefix("file: ") for block in BLOCKS if ": tests/" in block.mark]

PROGRAM = f"""
import sys, pytest
status = pytest.main([*{TESTS}, '-q', '-p', 'no:cacheprovider'])
import torch
from medrobust.cli import entry
from medrobust.corruptions import corrupt
white = torch.full((1, 1, 33, 33), 255, dtype=torch.uint8)
out = corrupt(white, 'falloff', severity=5, suite='lens')[0, 0]
print('\\nfalloff', int(out[16, 16]), int(out[0, 0]), int(out[0, 16]))
sys.exit(status) if status else entry.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def done(copy: Path) -> subprocess.CompletedProcess[str]:
    """Of the kernel, of the task's test and of the task's command, in one process."""
    (text,) = [block.text for block in BLOCKS if "run.py task=neighbours" in block.text]
    words = shlex.split(text.split("run.py ", 1)[1])
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "hydra.run.dir=asked"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def test_the_kernel_darkens_corners_and_leaves_the_middle(done) -> None:
    assert "\nfalloff 255 50 153\n" in done.stdout, done.stderr


def test_the_task_keeps_the_contract_in_one_folder_and_reaches_matrix_and_page(
    copy: Path, done
) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    results = (copy / "asked" / "results.csv").read_text()
    assert "\nphantomclip_small,none,phantoms,test,none,clean,0,,strangers," in results
    assert "\nphantomclip_small,none,phantoms,test,imagenet_c,brightness,5,,strangers," in results
    page = (copy / "asked" / "report.html").read_text()
    assert "nearest image of another class" in page
    places = [block.mark for block in BLOCKS if "neighbours" in block.mark]
    assert places == [
        "file: medrobust/tasks/neighbours/__init__.py",
        "file: conf/task/neighbours.yaml",
        "file: tests/tasks/test_neighbours.py",
    ]


class Images(list):
    """A split that is nothing but its images."""

    @property
    def images(self) -> np.ndarray:
        return np.array(self, np.uint8)


def test_what_depends_on_images_is_computed_for_the_split_of_each_cell() -> None:
    (text,) = [block.text for block in BLOCKS if block.mark == "part of a head"]
    parts: dict[str, Any] = {"np": np, "outputs": lambda self, features: {"nearest": features}}
    exec(text, parts)
    head = type("OfAPage", (), parts)()
    assert isinstance(head, SplitHead)
    for grey in (51, 204):
        outputs = head.outputs_of(np.array([1, 0]), Images([np.full((4, 4, 3), grey)] * 2))
        assert outputs["nearest"].tolist() == [1, 0]
        np.testing.assert_allclose(outputs["brightness"], [grey / 255] * 2, rtol=1e-6)


def test_another_package_names_its_parts_under_the_groups_that_are_looked_up() -> None:
    (text,) = [block.text for block in BLOCKS if block.mark.startswith("in pyproject.toml")]
    groups = tomllib.loads(text)["project"]["entry-points"]
    assert groups.keys() == {tasks.GROUP, readings.GROUP}
    assert groups[tasks.GROUP]["neighbours"].endswith(":TASK")
    assert groups[readings.GROUP]["hard_images"].endswith(".hard_images")
