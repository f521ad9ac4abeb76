"""The commands of docs/own-data.md run as they stand."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_random_biomedclip
from datasets import random_images, write_folder
from dicoms import write_scans
from run_entry import answer

from medrobust.base.conf_folder import conf_folder
from medrobust.cli.option_keys import option_keys

PAGE = Path(__file__).parents[2] / "docs" / "own-data.md"
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page speaks of."""
    root = tmp_path_factory.mktemp("page")
    write_random_biomedclip(root / "WEIGHTS")
    write_folder(root / "scans", classes=("normal", "pneumonia"))
    labels = np.arange(6) % 2
    np.savez(root / "scans.npz", images=random_images(6, 64, 1), labels=labels)
    write_scans(root / "dicom")
    (root / "training_images.csv").write_text("path,set\nelsewhere/seen.png,a\n")
    rows = [f"MRN-{number:05d},{'ab'[number % 2]}" for number in range(4)]
    (root / "patients.csv").write_text("\n".join(["patient,label", *rows]))
    return root


def test_the_page_has_the_commands_that_it_explains() -> None:
    words = " ".join(COMMANDS)
    for part in ("dataset=folder", "dataset=npz", "dataset=dicom", "audit", "export"):
        assert part in words


@pytest.mark.every_nth(3)
@pytest.mark.parametrize("command", [c for c in COMMANDS if "box" not in c])
def test_the_commands_of_the_page_run(
    files: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(files)
    small = command.replace("WEIGHTS", "WEIGHTS model.resolution=160")  # a tiny checkpoint
    words = shlex.split(small.split(" > ")[0])
    given = words[1:] if words[0] == "medrobust" else words[2:]
    done = answer(*given)
    assert done.returncode == 0, done.stderr


def test_every_key_that_the_page_names_is_accepted() -> None:
    text = PAGE.read_text(encoding="utf-8")
    accepted = {
        key.name
        for option in ("folder", "dicom", "npz")
        for key in option_keys([conf_folder()], "dataset", option)
    }
    named = set(re.findall(r"\bdataset\.[a-z_]+", text))
    assert len(named) > 15
    assert named <= accepted | {"dataset.download"}


def test_the_columns_of_the_page_are_the_defaults_of_their_keys() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+_column)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(rows) == 4
    for option in ("folder", "dicom"):
        defaults = {
            key.name: key.default for key in option_keys([conf_folder()], "dataset", option)
        }
        for column, key in rows:
            assert defaults[f"dataset.{key}"] == column
