"""The changelog says which release comes, and its lines stay short."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import medrobust

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
HEADING = re.compile(r"## (?:Unreleased: (\d+\.\d+\.\d+)|(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2}))")


def test_lines_have_at_most_120_characters() -> None:
    assert [line for line in LINES if len(line) > 120] == []


def test_releases_stand_newest_first_with_their_days() -> None:
    found = [HEADING.fullmatch(line) for line in LINES if line.startswith("## ")]
    assert all(found)
    assert [bool(one[1]) for one in found if one][1:].count(True) == 0  # only the first may come
    numbers = [tuple(map(int, (one[1] or one[2]).split("."))) for one in found if one]
    assert all(newer > older for newer, older in pairwise(numbers))
    days = [one[3] for one in found if one and one[3]]
    assert days == sorted(days, reverse=True)


def test_the_version_is_that_of_the_first_heading() -> None:
    heading = HEADING.fullmatch(next(line for line in LINES if line.startswith("## ")))
    assert heading
    expected = f"{heading[1]}.dev0" if heading[1] else heading[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["version"], medrobust.__version__) == (expected, expected)
