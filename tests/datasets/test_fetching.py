"""Fetching published files from a local stand-in for Zenodo and one for the hub."""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from datasets import (
    random_images,
    write_medimeta,
    write_medmnist,
    write_medmnist_c,
    write_robustmedclip,
)
from hub import serve
from medmnist.info import INFO
from zenodo import Zenodo, pack, serve_zenodo

from medrobust.datasets import MedIMeta, MedMNIST, MedMNISTC, RobustMedCLIPFiles
from medrobust.datasets.collection import Collection
from medrobust.datasets.published.fetching import fetch_file, unpack
from medrobust.datasets.published.medimeta_facts import MEDIMETA_C_HUB
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError

CONTENT = bytes(range(256)) * 40
FILE = "/records/1/files/data.bin"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT)
    return folder


@pytest.fixture
def zenodo(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    with serve_zenodo(
        r1=published, r7884735=published, r11471504=published, r10519652=published
    ) as served:
        monkeypatch.setenv("MEDROBUST_ZENODO", served.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield served


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_a_file_is_fetched_once_and_its_sum_comes_from_the_record(
    tmp_path: Path, zenodo: Zenodo
) -> None:
    for _ in range(2):
        file = fetch_file("1", "data.bin", tmp_path / "box")
        assert file.read_bytes() == CONTENT
    assert zenodo.asked == ["/api/records/1", FILE]
    assert visible(tmp_path / "box") == ["data.bin"]
    with pytest.raises(DatasetNotFoundError, match=r"has no file other\.bin; it has: data\.bin"):
        fetch_file("1", "other.bin", tmp_path / "box")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_said_and_the_next_call_goes_on(
    tmp_path: Path, zenodo: Zenodo, ranges: bool
) -> None:
    zenodo.ranges = ranges
    zenodo.breaks = [1000, 500]
    sum_ = hashlib.md5(CONTENT).hexdigest()
    for _ in range(2):
        with pytest.raises(DatasetNotFoundError, match=r"broke off.*Try again, which goes on"):
            fetch_file("1", "data.bin", tmp_path, md5=sum_)
        assert not (tmp_path / "data.bin").exists()
    assert fetch_file("1", "data.bin", tmp_path, md5=sum_).read_bytes() == CONTENT
    kept = 1500 if ranges else 500
    assert zenodo.asked == [FILE, f"{FILE} bytes=1000-", f"{FILE} bytes={kept}-"]
    assert ".data.bin.part" not in visible(tmp_path)


def test_a_file_with_another_sum_is_never_seen(tmp_path: Path, zenodo: Zenodo) -> None:
    with pytest.raises(DatasetNotFoundError, match="MD5 sum is not the published one, 0123"):
        fetch_file("1", "data.bin", tmp_path / "box", md5="0123")
    assert visible(tmp_path / "box") == []


@pytest.mark.parametrize("left", [b"of another file", CONTENT, CONTENT + b"more"])
def test_what_an_earlier_call_left_is_used_only_if_it_is_right(
    tmp_path: Path, zenodo: Zenodo, left: bytes
) -> None:
    (tmp_path / ".data.bin.part").write_bytes(left)
    assert fetch_file("1", "data.bin", tmp_path).read_bytes() == CONTENT
    assert len(zenodo.asked) == (2 if left == CONTENT else 3)


def test_several_that_ask_at_once_fetch_once(tmp_path: Path, zenodo: Zenodo) -> None:
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: fetch_file("1", "data.bin", tmp_path), range(4)))
    assert {file.read_bytes() for file in files} == {CONTENT}
    assert zenodo.asked.count(FILE) == 1


def test_no_server_and_no_address_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDROBUST_ZENODO", "file:///etc")
    with pytest.raises(ConfigurationError, match="must begin with https"):
        fetch_file("1", "data.bin", tmp_path)
    monkeypatch.setenv("MEDROBUST_ZENODO", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DatasetNotFoundError, match=r"127\.0\.0\.1:9.*Zenodo record 1 and pass"):
        fetch_file("1", "data.bin", tmp_path, md5="0")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot write .* Pass dataset\.root"):
        fetch_file("1", "data.bin", tmp_path / "file")


def test_medmnist_is_fetched_checked_and_loaded(
    tmp_path: Path, zenodo: Zenodo, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_medmnist(published, "octmnist", size=28)
    monkeypatch.setitem(INFO["octmnist"], "MD5", hashlib.md5(file.read_bytes()).hexdigest())
    source = MedMNIST("octmnist", root=str(tmp_path / "root"), size=28, download=True)
    zenodo.breaks = [100]
    with pytest.raises(DatasetNotFoundError, match="broke off"):
        source.load()
    assert len(source.load()) == 8
    assert visible(tmp_path / "root") == ["octmnist.npz"]


def test_medimeta_is_fetched_unpacked_and_loaded_as_from_a_folder(
    tmp_path: Path, zenodo: Zenodo, published: Path
) -> None:
    for flag, stacked in (("pbc", True), ("bus", False)):
        write_medimeta(tmp_path / "own", flag, size=32, stacked=stacked)
        (tmp_path / "own" / flag / "LICENSE").write_text("as published")
        pack(tmp_path / "own" / flag, published / f"{flag}.zip")
    (tmp_path / "own" / "pbc" / "images").mkdir(exist_ok=True)
    (tmp_path / "own" / "pbc" / "images" / "000000.tiff").touch()
    pack(tmp_path / "own" / "pbc", published / "pbc.zip")
    roots = {"root": str(tmp_path / "new" / "medimeta"), "size": 32}
    with pytest.raises(DatasetNotFoundError, match=r"dataset\.download=true"):
        MedIMeta("pbc", **roots).load()
    assert not zenodo.asked
    collection = Collection("two", ["pbc"], root=str(tmp_path / "new"), size=32, download=True)
    for source in (collection.members[0], MedIMeta("bus", download=True, **roots)):
        original = MedIMeta(source.flag, root=str(tmp_path / "own"), size=32)
        for split in ("train", "val", "test"):
            one, other = source.load(split), original.load(split)
            np.testing.assert_array_equal(one.images, other.images)
            assert one.fingerprint == other.fingerprint
        names = {file.relative_to(source.folder).as_posix() for file in source.fetch()}
        assert {"info.yaml", "LICENSE", "splits/test.txt"} <= names
        assert ("images.hdf5" in names) != any(name.startswith("images/") for name in names)
    assert visible(tmp_path / "new" / "medimeta") == ["bus", "pbc"]


def test_medmnist_c_is_fetched_with_its_clean_file(
    tmp_path: Path, zenodo: Zenodo, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_medmnist(published, "octmnist", counts=(1, 1, 4))
    monkeypatch.setitem(INFO["octmnist"], "MD5_224", hashlib.md5(file.read_bytes()).hexdigest())
    with np.load(file) as clean:
        write_medmnist_c(tmp_path / "own", "octmnist", ["pixelate"], dict(clean))
    archive = pack(tmp_path / "own" / "octmnist", published / "octmnist.zip")
    folders = {"root": str(tmp_path / "c"), "clean_root": str(tmp_path / "clean")}
    source = MedMNISTC("octmnist", download=True, **folders)
    with pytest.raises(DatasetNotFoundError, match="40389bc5"):
        source.load()
    assert visible(tmp_path / "c") == []
    sum_ = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr("medrobust.datasets.published.medmnist_c.MD5", {"octmnist": sum_})
    clean_set = source.load()
    assert len(source.corrupted(clean_set, "pixelate", 3)) == 4
    assert [file.name for file in source.fetch()] == ["octmnist_224.npz", "pixelate.npz"]
    with pytest.raises(DatasetNotFoundError, match=r"medrobust benchmark-files"):
        MedMNISTC("tissuemnist", download=True, **folders).load()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["pbc/../../out", "pbc/a"], "would leave the folder"),
        (["/etc/out"], "would leave the folder"),
        (["C:\\out"], "would leave the folder"),
        ([], "is empty"),
    ],
)
def test_an_archive_that_would_write_elsewhere_leaves_nothing(
    tmp_path: Path, names: list[str], complaint: str
) -> None:
    archive = tmp_path / "box" / "pbc.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            opened.writestr(name, b"x")
    with pytest.raises(InvalidDataError, match=complaint):
        unpack(archive, tmp_path / "box" / "pbc")
    assert visible(tmp_path / "box") == ["pbc.zip"]
    assert visible(tmp_path) == ["box"]


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "pbc.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("pbc/info.yaml", b"x" * 1000)
        opened.writestr("pbc/splits/test.txt", b"y" * 1000)
    content = archive.read_bytes()
    flipped = content.replace(b"y" * 1000, b"y" * 999 + b"z")
    for damaged in (content[:600], b"", flipped):
        archive.write_bytes(damaged)
        with pytest.raises(InvalidDataError, match=r"pbc\.zip is damaged"):
            unpack(archive, tmp_path / "pbc")
        assert visible(tmp_path) == ["pbc.zip"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that stands for MediMeta-C on the hub."""
    folder = tmp_path / "hub"
    with serve({MEDIMETA_C_HUB: folder}) as endpoint:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder


@pytest.mark.parametrize("prefix", ["", "MediMeta-C"])
def test_medimeta_c_is_fetched_from_the_hub_wherever_the_sets_lie_there(
    tmp_path: Path, hub: Path, prefix: str
) -> None:
    images = random_images(6, 224, 1)
    labels = np.arange(6) % 4
    for split in ("test", "val"):
        write_robustmedclip(hub / prefix, "oct", ["pixelate"], images, labels, split=split)
    write_robustmedclip(hub / prefix, "pbc", [], random_images(8, 32, 3), np.arange(8))
    (hub / "README.md").write_text("a card")
    source = RobustMedCLIPFiles("oct", root=str(tmp_path / "root"), download=True)
    clean = source.load()
    np.testing.assert_array_equal(clean.images, images)
    assert len(source.corrupted(clean, "pixelate", 5)) == 6
    files = [file.relative_to(source.folder).as_posix() for file in source.fetch()]
    assert len(files) == 12
    assert {"test/clean.npz", "val/pixelate_severity_5.npz"} <= set(files)
    assert not (tmp_path / "root" / "pbc").exists()


def test_what_the_hub_does_not_hold_is_named(tmp_path: Path, hub: Path) -> None:
    hub.mkdir()
    (hub / "oct.zip").write_bytes(b"x")
    source = RobustMedCLIPFiles("oct", root=str(tmp_path / "root"), download=True)
    with pytest.raises(DatasetNotFoundError, match=r"no files oct/SPLIT/.*; it has: oct\.zip"):
        source.load()
    shutil.rmtree(hub)
    empty = RobustMedCLIPFiles("pbc", root=str(tmp_path / "root"), download=True)
    with pytest.raises(DatasetNotFoundError, match="it has: "):
        empty.load()


def test_a_set_that_was_not_published_in_a_layout_is_not_asked_for() -> None:
    with pytest.raises(DatasetNotFoundError, match=r"medrobust benchmark-files"):
        RobustMedCLIPFiles("octmnist", download=True).fetch()
