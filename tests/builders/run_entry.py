"""Runs the entry in this process, and reads the tables that it leaves."""

import csv
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from medrobust.cli import entry as cli


def medrobust(*arguments: str) -> int:
    """Run the entry in this process and return its exit status."""
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return done.value.code


def rows(path: str) -> list[dict[str, str]]:
    """Read a table: one mapping a line."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
