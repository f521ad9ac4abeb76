"""A few damaged files for every reader; `python -m rigs` gives them many."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_damaged_files_are_read_or_refused_in_one_sentence_by_every_reader(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rigs", "--fuzz", "30", "--seed", "3"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))
    assert len(figures) >= 38
    assert all(found["failures"] == [] for found in figures.values())
    assert all(found["read"] + found["refused"] >= 30 for found in figures.values())
    assert sum(found["read"] for found in figures.values()) > 100


def test_what_a_reader_must_not_do_is_seen(tmp_path: Path) -> None:
    program = """
import json, os, pickle, sys
from dataclasses import asdict
from pathlib import Path
from rigs.fuzzing import Reader, fuzz
from medrobust.exceptions import InvalidDataError

def executes(folder): pickle.loads((folder / "x").read_bytes())
def writes(folder): (folder.parent / "elsewhere").write_bytes(b"")
def crashes(folder): len((folder / "x").read_bytes()) == 4 or os.abort()
def fills(folder): bytearray(1 << 40)
def unclear(folder): raise InvalidDataError("something is wrong")
def careful(folder): raise InvalidDataError("x is damaged")

valid = pickle.dumps(print)
found = {}
for name, read, content in [
    ("executes", executes, valid), ("writes", writes, b"1234"), ("crashes", crashes, b"1234"),
]:
    scratch = Path(sys.argv[1], name)
    scratch.mkdir()
    found[name] = fuzz(Reader(name, {"x": content}, read), 20, start=0, scratch=scratch)
for name, read in [("fills", fills), ("unclear", unclear), ("careful", careful)]:
    scratch = Path(sys.argv[1], name)
    scratch.mkdir()
    def first_valid(folder, read=read):
        if (folder / "x").read_bytes() != b"1234": read(folder)
    found[name] = fuzz(Reader(name, {"x": b"1234"}, first_valid), 20, start=0, scratch=scratch)
print(json.dumps({name: asdict(one) for name, one in found.items()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    first = {name: one["failures"][0] for name, one in found.items() if one["failures"]}
    assert "ran pickle.find_class" in " ".join(found["executes"]["failures"])
    assert first["writes"].startswith("ran wrote ")
    assert "ended with status" in first["crashes"]
    assert first["fills"].startswith("MemoryError")
    assert first["unclear"].startswith("names no file")
    assert found["careful"]["failures"] == []
    assert found["careful"]["refused"] >= 10


def test_killed_at_a_random_instant_or_eight_at_once_the_outcome_is_the_same(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "rigs", "--out", str(tmp_path)]
    asked = ("--together", "3", "--kills", "1", "--only", "evaluation")
    done = subprocess.run([*command, *asked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 processes, the store's functions, 3 stores: 0 faults" in done.stdout
    notes = (tmp_path / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(notes[-1])["outcome"] == "same"
