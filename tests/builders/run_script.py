"""Run a script of scripts/ in this process, as its command line would."""

import importlib.util
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from medrobust.cli.entry import leave

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str, *arguments: object) -> SimpleNamespace:
    """Return `returncode`, `stdout` and `stderr` of `python scripts/NAME.py ARGUMENTS`."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = [str(argument) for argument in arguments]
    job = partial(module.main, *([given] if signature(module.main).parameters else []))
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", [f"{name}.py", *given]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as done,
    ):
        leave(lambda: job() or 0)
    return SimpleNamespace(
        returncode=done.value.code, stdout=out.getvalue(), stderr=err.getvalue(), module=module
    )
