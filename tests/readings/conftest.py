"""Whatever a reading writes in these tests: an empty number has its reason."""

import csv
import io

import pytest

from medrobust.tasks.sections import Section

NAMES = frozenset(
    {
        "adapter",
        "below_again",
        "draws",
        "method",
        "note",
        "patients",
        "reference",
        "seed",
        "severities",
        "verdict",
    }
)
"""Columns of texts and counts, which may be empty."""


def unexplained(section: Section) -> list[str]:
    """Name the numbers that are empty without a reason."""
    found = []
    for name in (name for name in section.files if name.endswith(".csv")):
        known = {*section.empty.get(name, {}), *NAMES}
        text = io.StringIO(section.files[name].decode(), newline="")
        for row in csv.DictReader(text):
            found += [f"{name}: {column}" for column in row.keys() - known if not row[column]]
    return sorted(set(found))


@pytest.fixture(autouse=True)
def every_empty_number_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Section.__init__

    def checked(self: Section, *given, **named) -> None:
        made(self, *given, **named)
        assert unexplained(self) == []

    monkeypatch.setattr(Section, "__init__", checked)
