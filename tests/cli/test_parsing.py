"""What a command writes to is looked at before it computes anything."""

from pathlib import Path

import pytest

from medrobust.cli.subcommands import SUBCOMMANDS
from medrobust.exceptions import ConfigurationError

FOLDERS = [
    ("report", ["store", "--out"]),
    ("benchmark-files", ["--out"]),
    ("monitor", ["fit", "--reference", "store", "--out"]),
    ("monitor", ["bench", "store", "--out"]),
    ("merge", ["store", "other", "--into"]),
    ("prefetch", []),
]
FILES = [
    ("gate", ["fit", "store", "--out"]),
    ("gate", ["report", "gate.json", "store", "--out"]),
    ("monitor", ["report", "monitor", "--out"]),
    ("workspace", ["store", "--out"]),
]


@pytest.mark.parametrize(("command", "before"), FOLDERS)
@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_a_folder_is_said_first(
    tmp_path: Path, command: str, before: list[str], below: str
) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"taken.* is to be a folder, but .* is a file"):
        SUBCOMMANDS[command]([*before, str(tmp_path / "taken" / below)])
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_file_in_place_of_the_folder_of_an_export_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"taken is to be a folder, but .* is a file"):
        SUBCOMMANDS["export"]([str(tmp_path / "taken"), "dataset=phantoms"])


@pytest.mark.parametrize(("command", "before"), FILES)
def test_a_folder_in_place_of_a_file_is_said_first(
    tmp_path: Path, command: str, before: list[str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"is to be a file, but a folder"):
        SUBCOMMANDS[command]([*before, str(tmp_path)])
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"is to be a folder, but .* is a file"):
        SUBCOMMANDS[command]([*before, str(tmp_path / "taken" / "x.json")])
