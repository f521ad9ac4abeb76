"""Damage of a store beyond flipped bits: refused by name, or without effect on what is read."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_store import ADAPTER, DATA, FEATURES, FILES, KEY, everything, write_small_store

from medrobust.evaluation.store import Store
from medrobust.exceptions import MedRobustError

READ = [name for name in FILES if name != "README.md"]
OTHER = replace(KEY, spec=replace(KEY.spec, model="other"), encoding={**KEY.encoding, "w": 1})
ELSEWHERE = replace(DATA, fingerprint="e" * 64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store, with a second cell, second data, features and adapter."""
    root = write_small_store(tmp_path / "store")
    store = Store(root)
    store.write_data(ELSEWHERE)
    logits = np.ones((3, 2), np.float32)
    store.write(OTHER, {"logits": logits}, {"seconds": 2}, examples={"row-0.png": b"\x89PNG too"})
    store.write_features("9" * 64, np.zeros((3, 2), np.float32))
    shutil.copytree(store.adapter_folder(ADAPTER), store.adapter_folder("8" * 64))
    for name in ("adapter_model.safetensors", "medrobust.json"):
        file = store.adapter_folder("8" * 64) / name
        file.write_bytes(file.read_bytes().replace(b"probe", b"other"))
    return root


def parts(root: Path, of: str) -> list[Path]:
    """The folders of the first of each two parts, or of the second."""
    key, data, features, adapter = {
        "own": (KEY, DATA.fingerprint, FEATURES, ADAPTER),
        "other": (OTHER, ELSEWHERE.fingerprint, "9" * 64, "8" * 64),
    }[of]
    rest = [root / "data" / data, root / "features" / features, root / "adapters" / adapter]
    return [root / key.folder, *rest]


def own_folder(root: Path, name: str) -> Path:
    return next(folder for folder in parts(root, "own") if (folder / name).exists())


def twin_folder(root: Path, name: str) -> Path:
    return next(folder for folder in parts(root, "other") if (folder / name).exists())


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def outcome(root: Path) -> str:
    """What is read, or the sentence that refuses it."""
    try:
        return everything(root)
    except MedRobustError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_parts_that_were_swapped_are_refused(root: Path, name: str) -> None:
    before = everything(root)
    one, other = own_folder(root, name) / name, twin_folder(root, name) / name
    equal = one.read_bytes() == other.read_bytes()
    swap(one, other)
    after = outcome(root)
    if equal or name == "README.md":
        assert after == before
    else:
        assert after.startswith("refused")
        assert one.parent.name in after or other.parent.name in after


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_part_is_refused(root: Path, name: str) -> None:
    before = everything(root)
    one, other = own_folder(root, name) / name, twin_folder(root, name) / name
    equal = one.read_bytes() == other.read_bytes()
    shutil.copy(other, one)
    after = outcome(root)
    if equal or name == "README.md":
        assert after == before
    else:
        assert after.startswith("refused")
        assert one.parent.name in after


@pytest.mark.parametrize("names", [("cell.json", "logits.npy", "row-0.png"), ("data.json",)])
def test_all_files_of_another_part_are_refused(root: Path, names: tuple[str, ...]) -> None:
    one, other = own_folder(root, names[0]), twin_folder(root, names[0])
    for file in other.iterdir():
        shutil.copy(file, one / file.name)
    with pytest.raises(MedRobustError, match=one.name):
        everything(root)


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_no_length_of_a_cut_file_passes(root: Path, name: str) -> None:
    file = own_folder(root, name) / name
    content = file.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 100)):
        file.write_bytes(content[:length])
        with pytest.raises(MedRobustError, match=file.parent.name):
            everything(root)


@pytest.mark.parametrize("name", READ)
def test_bytes_that_were_added_are_refused(root: Path, name: str) -> None:
    file = own_folder(root, name) / name
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(MedRobustError, match=file.parent.name):
        everything(root)


def _gone(file: Path) -> None:
    file.unlink()


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def _dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "nowhere")


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def _outside(file: Path) -> None:
    target = file.parents[6] / f"{file.name}.outside"
    target.write_bytes(file.read_bytes()[::-1])
    file.unlink()
    file.symlink_to(target)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [_gone, _folder, _pipe, _device, _dangling, _loop, _outside])
@pytest.mark.parametrize("name", READ)
def test_what_is_no_file_of_the_store_is_refused(
    root: Path, name: str, harm: Callable[[Path], None]
) -> None:
    file = own_folder(root, name) / name
    harm(file)
    with pytest.raises(MedRobustError, match=file.parent.name):
        everything(root)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_the_same_content_changes_nothing(root: Path, tmp_path: Path, name: str) -> None:
    before = everything(root)
    file = own_folder(root, name) / name
    file.rename(tmp_path / name)
    file.symlink_to(tmp_path / name)
    assert everything(root) == before


@pytest.mark.parametrize("name", [n for n in READ if n != "adapter_model.safetensors"])
def test_a_file_that_may_not_be_read_is_refused(root: Path, name: str, monkeypatch) -> None:
    file = own_folder(root, name) / name
    real = os.open

    def denied(path: object, *more: object, **further: object) -> object:
        if str(path) == str(file):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *more, **further)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(MedRobustError, match=rf"{file.parent.name}.*Permission denied"):
        everything(root)


def test_a_folder_that_may_not_be_read_is_no_empty_store(root: Path, monkeypatch) -> None:
    real = os.listdir

    def denied(path: str) -> list[str]:
        if Path(path).name == "clip":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(MedRobustError, match="clip cannot be read"):
        everything(root)


@pytest.mark.parametrize(
    "name",
    ["more.npy", "row-9.png", "cell.json.bak", ".DS_Store", "._cell.json", "Thumbs.db", "logits"],
)
def test_further_files_change_nothing(root: Path, name: str) -> None:
    before = everything(root)
    for part in ("cell.json", "data.json", "features.json", "medrobust.json"):
        (own_folder(root, part) / name).write_bytes(b"x")
        (own_folder(root, part).parent / f".{name}").write_bytes(b"x")
    assert everything(root) == before


@pytest.mark.parametrize("place", ["clip/scans", "clip", ""])
def test_further_files_between_cells_change_nothing(root: Path, place: str) -> None:
    before = everything(root)
    for name in (".DS_Store", "notes.txt"):
        (root / "cells" / place / name).write_text("x")
    assert everything(root) == before


@pytest.mark.parametrize(
    "place",
    [
        "clip/scans/imagenet_c.fog/s5-{}",
        "clip/scans/imagenet_c.snow/s3-{}",
        "clip/scans/other.fog/s3-{}",
        "clip/others/imagenet_c.fog/s3-{}",
        "another/scans/imagenet_c.fog/s3-{}",
        "clip/scans/imagenet_c.fog/s3-000000000000",
    ],
)
def test_a_cell_that_was_copied_to_another_place_is_refused(root: Path, place: str) -> None:
    folder = root / KEY.folder
    target = root / "cells" / place.format(KEY.fingerprint[:12])
    shutil.copytree(folder, target)
    with pytest.raises(MedRobustError, match=target.name):
        everything(root)


def test_a_file_in_place_of_a_cell_is_refused(root: Path) -> None:
    (root / "cells/clip/scans/imagenet_c.fog/s4-abc").write_text("x")
    with pytest.raises(MedRobustError, match="s4-abc"):
        everything(root)


def test_data_under_another_fingerprint_are_refused(root: Path) -> None:
    folder = root / "data" / DATA.fingerprint
    shutil.rmtree(folder)
    shutil.copytree(root / "data" / ELSEWHERE.fingerprint, folder)
    with pytest.raises(MedRobustError, match=folder.name):
        everything(root)
