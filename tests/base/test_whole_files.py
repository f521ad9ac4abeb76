"""What a power failure leaves: what was there before, or all of the new."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stores import cell_key, data_record, write_cell

from medrobust.base import whole_files as writing
from medrobust.base.whole_files import make_folder, move_into_place, write_whole
from medrobust.datasets.cache import ArrayWriter, cached_array
from medrobust.datasets.published.fetching import unpack
from medrobust.engine.checkpoints import WholeCheckpoints
from medrobust.evaluation.store import Store

PACKAGE = Path(writing.__file__).parents[1]


class Disk:
    """Knows which names and bytes are on the disk, from the calls of the process alone.

    What was renamed without its bytes being forced before, or without its folder being forced
    afterwards, may be torn or gone after a power failure.
    """

    def __init__(self) -> None:
        self.forced: set[tuple[int, int]] = set()
        self.torn: list[str] = []
        self.loose: dict[Path, str] = {}

    @staticmethod
    def key(path: int | Path) -> tuple[int, int]:
        status = os.stat(path)
        return status.st_dev, status.st_ino

    def fsync(self, opened: int) -> None:
        key = self.key(opened)
        self.forced.add(key)
        gone = [folder for folder in self.loose if self.key(folder) == key]
        for folder in gone:
            del self.loose[folder]

    def rename(self, source: str | Path, target: str | Path) -> None:
        inside = [Path(source), *Path(source).rglob("*")]
        self.torn += [str(path) for path in inside if self.key(path) not in self.forced]
        self.loose[Path(target).parent] = str(target)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    seen = Disk()

    def before(name: str, note: Callable[..., None]) -> None:
        original = getattr(os, name)

        def call(*given: Any, **more: Any) -> Any:
            note(*given)
            return original(*given, **more)

        monkeypatch.setattr(os, name, call)

    before("fsync", seen.fsync)
    before("rename", seen.rename)
    before("replace", seen.rename)
    yield seen
    assert seen.torn == []
    assert seen.loose == {}


def test_a_file_is_forced_before_it_is_renamed_and_its_name_after(
    tmp_path: Path, disk: Disk
) -> None:
    write_whole(tmp_path / "a.json", b"one")
    write_whole(tmp_path / "a.json", b"two")
    assert (tmp_path / "a.json").read_bytes() == b"two"
    assert len(disk.forced) == 3, "two files and their folder"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_check_itself_sees_what_is_not_forced(tmp_path: Path, disk: Disk) -> None:
    write_whole(tmp_path / "a.json", b"one", lasting=False)
    assert len(disk.torn) == 1
    assert list(disk.loose) == [tmp_path]
    disk.torn.clear()
    disk.loose.clear()


def test_a_folder_of_many_files_is_forced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(writing, "MANY", 2)
    monkeypatch.setattr(os, "sync", lambda: called.append("sync"))
    (tmp_path / "new").mkdir()
    for name in "abc":
        (tmp_path / "new" / name).write_text(name)
    move_into_place(tmp_path / "new", tmp_path / "place")
    assert called == ["sync"]
    assert len(list((tmp_path / "place").iterdir())) == 3


def test_folders_above_are_forced_too(tmp_path: Path, disk: Disk) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    forced = {disk.key(path) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")}
    assert disk.forced == forced
    make_folder(tmp_path / "a" / "b")
    assert disk.forced == forced


def test_a_file_system_that_cannot_force_folders_is_no_error_and_a_failing_disk_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = errno.EINVAL

    def refused(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refused)
    write_whole(tmp_path / "a", b"one")
    reason = errno.EIO
    with pytest.raises(OSError, match="rror"):
        write_whole(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_everything_of_a_store_is_forced(tmp_path: Path, disk: Disk) -> None:
    store, data = Store(tmp_path / "store"), data_record()
    cell = write_cell(store, data, cell_key(data, "a"))
    store.write_features("f" * 64, np.zeros((3, 2), np.float32))
    store.write_adapter("a" * 64, {"adapter_model.safetensors": b"x"})
    store.write_adapter("a" * 64, {"adapter_model.safetensors": b"y"}, replace=True)
    store.write_data(data_record(marks=("more",)))
    folders = [tmp_path, *cell.folder.relative_to(tmp_path).parents]
    assert len(folders) > 5
    held = [tmp_path / folder for folder in cell.folder.relative_to(tmp_path).parents]
    assert all(disk.key(folder) in disk.forced for folder in held)


def test_an_entry_of_the_cache_is_forced(tmp_path: Path, disk: Disk) -> None:
    def write(target: Path) -> str:
        with ArrayWriter(target, np.dtype(np.uint8), (4,)) as writer:
            writer.write(b"abcd")
            return writer.close()

    assert cached_array("x", {"k": 1}, write, cache_dir=tmp_path).open().tolist() == [*b"abcd"]


def test_a_checkpoint_is_forced(tmp_path: Path, disk: Disk) -> None:
    files = WholeCheckpoints()
    for number in (1, 2):
        files.save_checkpoint({"state_dict": {"x": torch.tensor(number)}}, tmp_path / "c" / "last")
    assert files.load_checkpoint(tmp_path / "c" / "last")["state_dict"]["x"] == 2


def test_an_unpacked_archive_is_forced(tmp_path: Path, disk: Disk) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/info.yaml", "a: 1")
    unpack(tmp_path / "set.zip", tmp_path / "set")
    assert (tmp_path / "set" / "info.yaml").read_text() == "a: 1"


def test_no_room_renames_by_itself() -> None:
    """All writers go through `base.whole_files`; a folder set aside to be deleted may not."""
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "whole_files.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"os\.(replace|rename)\(|\.rename\(|(partial|temporary|part)\.replace\(", line)
    }
    assert found == {"evaluation/store_files.py: folder.rename(old)"}
