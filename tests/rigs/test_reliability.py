"""A few damaged files for every reader; `python -m rigs` gives them many."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
INPUTS = 3
PROGRAM = f"""
import json, os, pickle, sys
from dataclasses import asdict
from pathlib import Path
from rigs.fuzzing import Reader, fuzz
from rigs.reliability import main
from medrobust.exceptions import InvalidDataError

def executes(folder): pickle.loads((folder / "x").read_bytes())
def writes(folder): (folder.parent / "elsewhere").write_bytes(b"")
def crashes(folder): len((folder / "x").read_bytes()) == 4 or os.abort()
def fills(folder): bytearray(1 << 40)
def unclear(folder): raise InvalidDataError("something is wrong")
def careful(folder): raise InvalidDataError("x is damaged")

statuses = {{}}
statuses["fuzz"] = main(["--fuzz", "{INPUTS}", "--seed", "3", "--out", "fuzz"])
valid = pickle.dumps(print)
found = {{}}
for name, read, content in [
    ("executes", executes, valid), ("writes", writes, b"1234"), ("crashes", crashes, b"1234"),
]:
    scratch = Path(name).absolute()
    scratch.mkdir()
    found[name] = fuzz(Reader(name, {{"x": content}}, read), 20, start=0, scratch=scratch)
for name, read in [("fills", fills), ("unclear", unclear), ("careful", careful)]:
    scratch = Path(name).absolute()
    scratch.mkdir()
    def first_valid(folder, read=read):
        if (folder / "x").read_bytes() != b"1234": read(folder)
    found[name] = fuzz(Reader(name, {{"x": b"1234"}}, first_valid), 20, start=0, scratch=scratch)
asked = ["--together", "1", "--kills", "1", "--only", "evaluation"]
statuses["kills"] = main([*asked, "--out", "kills"])
told = {{"statuses": statuses, "found": {{name: asdict(one) for name, one in found.items()}}}}
Path("told.json").write_text(json.dumps(told))
"""
"""All rigs in one process: importing what they need takes longer than they do."""


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any]]:
    """The folder, what was said, and what was found."""
    folder = tmp_path_factory.mktemp("rigs")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout, json.loads((folder / "told.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_one_sentence_by_every_reader(rigs) -> None:
    folder, said, told = rigs
    assert told["statuses"]["fuzz"] == 0, said
    figures = json.loads((folder / "fuzz" / "fuzz.json").read_text(encoding="utf-8"))
    assert len(figures) >= 38
    assert all(found["failures"] == [] for found in figures.values())
    assert all(found["read"] + found["refused"] >= INPUTS for found in figures.values())
    assert sum(found["read"] for found in figures.values()) > 10


@pytest.mark.slow
def test_what_a_reader_must_not_do_is_seen(rigs) -> None:
    found = rigs[2]["found"]
    first = {name: one["failures"][0] for name, one in found.items() if one["failures"]}
    assert "ran pickle.find_class" in " ".join(found["executes"]["failures"])
    assert first["writes"].startswith("ran wrote ")
    assert "ended with status" in first["crashes"]
    assert first["fills"].startswith("MemoryError")
    assert first["unclear"].startswith("names no file")
    assert found["careful"]["failures"] == []
    assert found["careful"]["refused"] >= 10


@pytest.mark.slow
def test_killed_at_a_random_instant_or_eight_at_once_the_outcome_is_the_same(rigs) -> None:
    folder, said, told = rigs
    assert told["statuses"]["kills"] == 0, said
    assert "8 processes, the store's functions, 1 stores: 0 faults" in said
    notes = (folder / "kills" / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(notes[-1])["outcome"] == "same"


@pytest.mark.slow
def test_more_damaged_files_and_more_stores_end_alike(tmp_path: Path) -> None:
    for asked in (("--fuzz", "30", "--seed", "4"), ("--together", "3", "--kills", "3")):
        command = [sys.executable, "-m", "rigs", *asked, "--out", str(tmp_path / asked[0])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
