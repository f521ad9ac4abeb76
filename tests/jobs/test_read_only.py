"""Folders that cannot be written: one sentence that says which, and nothing is lost."""

import ctypes
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from PIL import Image
from run_entry import medrobust

from medrobust.evaluation.store import Store

RUN = ("model=phantomclip_small", "corruption=pixelate", "dataset.per_class=1", "validation=false")
HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)
"""Version 3 of Linux's capabilities, and this process."""


def give_up_privilege() -> None:
    """Let permissions bind root too: what overrides them when files are read and written goes."""
    if os.geteuid() != 0:
        return
    kept = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(HEADER, kept) == 0, os.strerror(ctypes.get_errno())
    for place in range(3):  # effective, permitted, inheritable: DAC_OVERRIDE and DAC_READ_SEARCH
        kept[place] &= ~0b110
    assert libc.capset(HEADER, kept) == 0, os.strerror(ctypes.get_errno())


def permissions_bind(folder: Path) -> bool:
    def write() -> None:
        give_up_privilege()
        (folder / "probe").write_bytes(b"")

    folder.chmod(0o555)
    done = forked(write)
    folder.chmod(0o755)
    return done.returncode != 0 and "PermissionError" in done.stderr


def each_ends(commands: list[list[str]]) -> None:
    """Run one command after the other, and say how each ends."""
    give_up_privilege()
    for arguments in commands:
        sys.stderr.write(f"\nexit {medrobust(*arguments)}\n")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_lost(
    workplace: Path, monkeypatch: Any
) -> None:
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
        done = forked(partial(each_ends, commands))
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
