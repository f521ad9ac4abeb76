"""The site builds without a network, without a warning, and asks for nothing when it is read."""

import gc
import os
import pickle
import re
import socket
import sys
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest
from forked import forked
from pages import ROOT
from sphinx.cmd.build import main
from sphinx.domains.python import PythonDomain

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
    PythonDomain.find_obj = cache(PythonDomain.find_obj)  # each looks through all names
    sys.exit(main(given))


def built(folder: Path, builder: str) -> Path:
    """Build as `make docs` does, with another builder; return the folder of what was built."""
    (options,) = re.findall(r"-m sphinx (.*) docs site", (ROOT / "Makefile").read_text())
    assert "-W" in options
    assert "-b html" in options
    given = options.replace("-b html", f"-b {builder}").split()
    given += ["-d", str(folder / "doctrees"), "docs", str(folder / "site")]
    done = forked(partial(build, given))
    assert done.returncode == 0, done.stderr
    return folder / "site"


def asking(files: list[Path]) -> dict[str, str]:
    """Return what of files asks for something from elsewhere."""
    assert len(files) > 30
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    return {name: found[0] for name, text in texts.items() if (found := REQUEST.search(text))}


@pytest.mark.slow
def test_all_pages_are_read_strictly_offline_with_every_public_name(tmp_path: Path) -> None:
    built(tmp_path, "dummy")
    environment = pickle.loads((tmp_path / "doctrees" / "environment.pickle").read_bytes())
    described = environment.domaindata["py"]["objects"]
    public = {f"{room}.{name}" for room in ROOMS for name in import_module(room).__all__}
    assert public - described.keys() == PLAIN
    docs = ROOT / "docs"
    assert not asking([*docs.rglob("*.md"), *(docs / "static").iterdir()])


@pytest.mark.slow  # a third more, for pages of the same sources
def test_the_site_builds_strictly_offline_and_asks_for_nothing(tmp_path: Path) -> None:
    site = built(tmp_path, "html")
    assert not asking([*site.rglob("*.html"), *site.rglob("*.css")])
    reference = "".join(file.read_text() for file in (site / "api").glob("*.html"))
    public = {f"{room}.{name}" for room in ROOMS for name in import_module(room).__all__}
    assert {name for name in public if f'id="{name}"' not in reference} == PLAIN
