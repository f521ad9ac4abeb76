"""The site builds without a network, without a warning, and asks for nothing when it is read."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from pages import ROOT

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
BUILD = """
import gc, socket, sys
gc.disable()  # a third of the time went to walking what stays until the end
from sphinx.cmd.build import main

def refused(*_):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
sys.exit(main(sys.argv[1:]))
"""
REQUEST = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|url\(\s*[\"']?(?:https?:)?//|@import[^;]*//"
)


def test_the_site_builds_strictly_offline_and_asks_for_nothing(tmp_path: Path) -> None:
    (options,) = re.findall(r"-m sphinx (.*) docs site", (ROOT / "Makefile").read_text())
    assert "-W" in options
    command = [sys.executable, "-c", BUILD, *options.split(), "-d", str(tmp_path / "doctrees")]
    done = subprocess.run(
        [*command, "docs", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
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
