"""The site builds without a network, without a warning, and asks for nothing when it is read."""

import gc
import os
import re
import socket
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from forked import forked
from pages import ROOT
from sphinx.cmd.build import main

ROOMS = [
    f"medrobust.{room}"
    for room in (
        "adapters",
        "corruptions",
        "datasets",
        "engine",
        "metrics",
        "models",
        "reporting",
        "tuning",
    )
]
PLAIN = {
    "medrobust.adapters.Adapter",
    "medrobust.metrics.METRICS",
    "medrobust.reporting.References",
}
"""A table and two aliases, which are imported without their docstrings."""
REQUEST = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|url\(\s*[\"']?(?:https?:)?//|@import[^;]*//"
)


def refused(*_: object) -> NoReturn:
    raise AssertionError("the network was asked")


def build(given: list[str]) -> None:
    """Build the pages where no connection can be opened."""
    socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
    os.chdir(ROOT)
    gc.disable()  # a third of the time went to walking what stays until the end
    sys.exit(main(given))


def test_the_site_builds_strictly_offline_and_asks_for_nothing(tmp_path: Path) -> None:
    (options,) = re.findall(r"-m sphinx (.*) docs site", (ROOT / "Makefile").read_text())
    assert "-W" in options
    given = [*options.split(), "-d", str(tmp_path / "doctrees"), "docs", str(tmp_path / "site")]
    done = forked(partial(build, given))
    assert done.returncode == 0, done.stderr
    read = [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]
    assert len(read) > 30
    asking = {
        path.name: found[0]
        for path in read
        if (found := REQUEST.search(path.read_text(encoding="utf-8")))
    }
    assert not asking
    reference = "".join(file.read_text() for file in (tmp_path / "site" / "api").glob("*.html"))
    public = {f"{room}.{name}" for room in ROOMS for name in import_module(room).__all__}
    assert {name for name in public if f'id="{name}"' not in reference} == PLAIN
