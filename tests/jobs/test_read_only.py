"""Folders that cannot be written: one sentence that says which, and nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_entry import medrobust

from medrobust.evaluation.store import Store

RUN = ("model=phantomclip_small", "corruption=pixelate", "dataset.per_class=1", "validation=false")
PROGRAM = """
import json, sys
from hydra.core.global_hydra import GlobalHydra
from medrobust.cli import entry as cli
for arguments in json.loads(sys.argv[1]):
    GlobalHydra.instance().clear()
    try:
        cli.main(arguments)
    except SystemExit as done:
        sys.stderr.write(f"\\nexit {done.code}\\n")
"""


def bound() -> list[str]:
    """What a command starts with so that permissions bind it: root's own privilege is put down."""
    if os.geteuid() != 0:
        return []
    tool = shutil.which("setpriv")
    return [tool or "", "--bounding-set=-dac_override,-dac_read_search"]


def permissions_bind(folder: Path) -> bool:
    folder.chmod(0o555)
    done = subprocess.run(
        [*bound(), sys.executable, "-c", f"open({str(folder / 'probe')!r}, 'w')"],
        capture_output=True, check=False,
    )  # fmt: skip
    folder.chmod(0o755)
    return done.returncode != 0 and b"PermissionError" in done.stderr


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_lost(
    workplace: Path, monkeypatch: Any
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("permissions do not bind root, and there is no setpriv")
    if not permissions_bind(workplace):
        pytest.skip("permissions do not bind here")
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    assert medrobust(*RUN, "severity=1", "hydra.run.dir=first") == 0
    before = Path("first/results.csv").read_bytes()
    for name in ("mine", "closed"):
        Path(name).mkdir()
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save("mine/a.png")
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save("mine/b.png")
    Path("mine/labels.csv").write_text("path,label\na.png,dark\nb.png,light\n")
    commands = [
        [*RUN, "severity=1,3", "hydra.run.dir=second"],
        [*RUN, "severity=1", "hydra.run.dir=closed/run"],
        [*RUN, "severity=1", "dataset.cache_dir=closed/cache", "hydra.run.dir=third"],
        ["model=phantomclip_small", "dataset=folder", "dataset.csv=mine/labels.csv",
         "store.dir=own", "hydra.run.dir=fourth"],
    ]  # fmt: skip
    folders = [path for root in ("outputs/store", "mine", "closed")
               for path in (Path(root), *Path(root).rglob("*")) if path.is_dir()]  # fmt: skip
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [*bound(), sys.executable, "-c", PROGRAM, json.dumps(commands)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        for folder in folders:
            folder.chmod(0o755)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "exit "))]
    assert lines[1::2] == ["exit 1"] * 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "the store cannot be written" in lines[0]
    assert "store.dir" in lines[0]
    assert "hydra.run.dir" in lines[2]
    assert "dataset.cache_dir" in lines[4]
    assert "dataset.key_file" in lines[6]
    assert not any(name in lines[6] for name in ("a.png", "b.png"))
    assert sorted(cell.spec.severity for cell in Store(Path("outputs/store")).cells()) == [0, 1]
    assert Path("first/results.csv").read_bytes() == before
    assert medrobust(*RUN, "severity=1,3", "hydra.run.dir=last") == 0
    assert json.loads(Path("last/run.json").read_text())["computed"] == 1
