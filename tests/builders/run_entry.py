"""Runs the entry in this process, and reads the tables that it leaves."""

import csv
import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.global_hydra import GlobalHydra

from medrobust.cli import entry as cli


def medrobust(*arguments: str) -> int:
    """Run the entry in this process and return its exit status."""
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return done.value.code


def answer(*arguments: object) -> SimpleNamespace:
    """Run the entry in this process and return `returncode`, `stdout` and `stderr`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = medrobust(*map(str, arguments))
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def rows(path: str) -> list[dict[str, str]]:
    """Read a table: one mapping a line."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
