"""A picture that was changed is noticed, whatever its size and time say."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_folder
from PIL import Image

from medrobust.base.once import begin_again
from medrobust.datasets import Folder
from medrobust.datasets.cache import unpacking_at_most
from medrobust.datasets.cache_checks import all_checked
from medrobust.datasets.own import source_contents
from medrobust.exceptions import NotUnpackedError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    begin_again()
    return write_folder(tmp_path / "set", size=(32, 32), suffix=".bmp")


def load(table: Path) -> Any:
    """Load as a new process would."""
    source_contents._SEEN.clear()
    return Folder(csv=str(table), size=32).load()


def change(file: Path) -> None:
    """Write other pixels, as many bytes, and give the file the time it had."""
    before = file.stat()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(file)
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def picture(table: Path) -> Path:
    return table.parent / "images" / "scan001.bmp"


def test_a_changed_picture_is_read_anew_and_said_once(table: Path, caplog) -> None:
    before = load(table)
    change(picture(table))
    for _ in range(2):
        after = load(table)
        assert np.unique(after.images[1].reshape(-1, 3), axis=0).tolist() == [[1, 2, 3]]
        assert after.fingerprint != before.fingerprint
        np.testing.assert_array_equal(after.images[0], before.images[0])
    assert caplog.text.count("1 of 6 images hold other bytes") == 1


def test_a_picture_that_is_put_back_is_the_former_one(table: Path) -> None:
    content, before = picture(table).read_bytes(), load(table)
    change(picture(table))
    assert load(table).fingerprint != before.fingerprint
    state = picture(table).stat()
    picture(table).write_bytes(content)
    os.utime(picture(table), ns=(state.st_atime_ns, state.st_mtime_ns))
    assert load(table).fingerprint == before.fingerprint


def test_other_rights_are_no_change_and_nothing_is_unpacked(table: Path, monkeypatch) -> None:
    before = load(table)
    for file in table.parent.rglob("*.bmp"):
        file.chmod(0o600)
    monkeypatch.setattr("medrobust.datasets.own.folder.write_images", None)
    assert load(table).fingerprint == before.fingerprint


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    real = source_contents._digest
    monkeypatch.setattr(source_contents, "_digest", lambda file: read.append(file) or real(file))
    return read


def test_a_few_files_are_compared_at_each_first_opening_and_all_by_verify(
    table: Path, monkeypatch
) -> None:
    monkeypatch.setattr(source_contents, "DRAWN", 2)
    read = counting(monkeypatch)
    load(table)
    assert len(read) == 6
    load(table)
    assert len(read) == 6 + 2
    with all_checked():
        load(table)
    assert len(read) >= 6 + 2 + 6
    monkeypatch.setattr(source_contents, "DRAWN_BYTES", 10)
    read.clear()
    load(table)
    assert read == []


def test_bytes_that_change_under_the_file_system_are_found_by_verify(
    table: Path, monkeypatch
) -> None:
    before = load(table)
    change(picture(table))
    monkeypatch.setattr(source_contents, "DRAWN", 0)
    (kept,) = (Path(os.environ["MEDROBUST_CACHE"]) / "contents").iterdir()
    known = np.load(kept)
    files = sorted((table.parent / "images").glob("*.bmp"))[:6]
    known["changed"] = [file.stat().st_ctime_ns for file in files]  # as if the disk kept none
    with kept.open("wb") as stream:
        np.save(stream, known)
    assert load(table).fingerprint == before.fingerprint
    with all_checked():
        assert load(table).fingerprint != before.fingerprint


def test_a_look_at_a_plan_reads_no_picture(table: Path, monkeypatch) -> None:
    read = counting(monkeypatch)
    with unpacking_at_most(1), pytest.raises(NotUnpackedError):
        load(table)
    assert read == []


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 400])
def test_a_damaged_record_is_made_anew(table: Path, content: bytes) -> None:
    before = load(table)
    (kept,) = (Path(os.environ["MEDROBUST_CACHE"]) / "contents").iterdir()
    kept.write_bytes(content)
    assert load(table).fingerprint == before.fingerprint
    assert len(np.load(kept)) == 6


def test_no_path_is_kept(table: Path) -> None:
    load(table)
    for file in Path(os.environ["MEDROBUST_CACHE"]).rglob("*"):
        assert "scan001" not in file.name
        assert file.is_dir() or b"scan001" not in file.read_bytes()
