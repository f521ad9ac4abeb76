import io
import multiprocessing
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets import medmnist_arrays, write_medmnist
from filelock import FileLock

from medrobust.datasets import npz as module
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.datasets.npz import npz_array
from medrobust.exceptions import InvalidDataError, StoreError


def entries(cache: Path) -> list[str]:
    """Names of everything in the cache but locks."""
    return sorted(p.name for p in cache.rglob("*") if not p.name.endswith(".lock") and p.is_file())


def write_member(
    file: Path, name: str, body: bytes, compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, body)
    return file


def npy(header: dict[str, object], body: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + body


def test_an_unpacked_array_equals_the_one_in_the_file(tmp_path: Path) -> None:
    file = write_medmnist(tmp_path, "bloodmnist", size=28)
    written = medmnist_arrays("bloodmnist", size=28)
    array = npz_array(file, "test_images", "images").open()
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, written["test_images"])
    labels = npz_array(file, "val_labels", "labels").open()
    np.testing.assert_array_equal(labels, written["val_labels"])


@pytest.mark.parametrize("order", ["C", "F"])
def test_stored_and_fortran_ordered_arrays_are_read(tmp_path: Path, order: str) -> None:
    images = np.asarray(np.arange(2 * 5 * 4 * 3).reshape(2, 5, 4, 3).astype(np.uint8), order=order)
    np.savez(tmp_path / "a.npz", images=images)
    np.testing.assert_array_equal(npz_array(tmp_path / "a.npz", "images", "images").open(), images)


def test_the_second_open_reads_the_cache_only(tmp_path: Path, own_cache: Path) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    first = npz_array(file, "test_images", "images")
    before = first.file.stat()
    assert npz_array(file, "test_images", "images") == first
    assert first.file.stat().st_mtime_ns == before.st_mtime_ns
    assert entries(own_cache) == ["array.npy", "entry.json"]


def test_a_changed_file_is_unpacked_again(tmp_path: Path) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    first = npz_array(file, "test_images", "images")
    write_medmnist(tmp_path, "octmnist", counts=(8, 4, 9), size=28)
    second = npz_array(file, "test_images", "images")
    assert len(second.open()) == 9
    assert second.digest != first.digest


def test_equal_arrays_have_equal_digests_whatever_the_file(tmp_path: Path) -> None:
    images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    np.savez(tmp_path / "a.npz", images=images)
    np.savez_compressed(tmp_path / "b.npz", images=images, other=images)
    np.savez(tmp_path / "c.npz", images=images.reshape(3, 2, 8))
    a, b, c = (npz_array(tmp_path / f"{n}.npz", "images", "images").digest for n in "abc")
    assert a == b != c


def test_a_truncated_file_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, own_cache: Path
) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    content = file.read_bytes()
    for part in (0, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:part])
        with pytest.raises(InvalidDataError, match=r"octmnist\.npz is damaged"):
            npz_array(file, "test_images", "images")
    assert entries(own_cache) == []


@pytest.mark.slow
def test_any_flipped_bit_is_found_or_harmless(tmp_path: Path, own_cache: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    file = tmp_path / "a.npz"
    np.savez_compressed(file, images=images)
    content = file.read_bytes()
    found = 0
    for position in range(0, len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        file.write_bytes(flipped)
        try:
            array = npz_array(file, "images", "images").open()
        except InvalidDataError:
            found += 1
        else:  # times, flags and version fields of the archive hold no pixels
            np.testing.assert_array_equal(array, images)
    assert found > len(content) // 2


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    objects = np.empty(2, dtype=object)
    objects[0] = Trap()
    np.savez(tmp_path / "bad.npz", test_images=objects)
    with pytest.raises(InvalidDataError, match=r"bad\.npz.*Python objects"):
        npz_array(tmp_path / "bad.npz", "test_images", "images")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("array", "content", "complaint"),
    [
        (np.zeros((2, 4, 4), np.float32), "images", "float32"),
        (np.zeros((2, 4, 4, 4), np.uint8), "images", r"\(2, 4, 4, 4\)"),
        (np.zeros((2, 16), np.uint8), "images", r"\(2, 16\)"),
        (np.zeros((2, 1), np.float64), "labels", "float64"),
        (np.zeros((2, 1, 1), np.int64), "labels", r"\(2, 1, 1\)"),
    ],
)
def test_arrays_of_another_kind_are_refused(
    tmp_path: Path, array: np.ndarray, content: str, complaint: str
) -> None:
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(InvalidDataError, match=complaint):
        npz_array(tmp_path / "a.npz", "x", content)


def test_a_missing_array_is_named_with_those_there_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(InvalidDataError, match="no array 'test_images'; it has: images"):
        npz_array(tmp_path / "a.npz", "test_images", "images")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, own_cache: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 224, 224)}
    lying = write_member(tmp_path / "lying.npz", "x.npy", npy(header, b"\0" * 100))
    with pytest.raises(InvalidDataError, match="holds 100 bytes"):
        npz_array(lying, "x", "images")
    header["shape"] = (10, 224, 224)
    longer = write_member(tmp_path / "longer.npz", "x.npy", npy(header, b"\0" * 50_000_000))
    with pytest.raises(InvalidDataError, match="holds 50000000 bytes"):
        npz_array(longer, "x", "images")
    header["shape"] = (1, 2**20, 2**20)
    wide = write_member(tmp_path / "wide.npz", "x.npy", npy(header))
    with pytest.raises(InvalidDataError, match="1048576"):
        npz_array(wide, "x", "images")
    assert entries(own_cache) == []


def test_a_disk_too_small_is_said_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    monkeypatch.setattr("medrobust.datasets.cache.SPARE", 1 << 62)
    with pytest.raises(StoreError, match=r"dataset\.cache_dir"):
        npz_array(file, "test_images", "images")


def _open_in_process(file: Path, queue: "multiprocessing.Queue[str]") -> None:
    array = npz_array(file, "test_images", "images")
    queue.put(f"{array.digest} {array.open().sum()}")


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_entry(tmp_path: Path, own_cache: Path) -> None:
    file = write_medmnist(tmp_path, "bloodmnist", counts=(1, 1, 40), size=64)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_open_in_process, args=(file, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    answers = {queue.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(answers) == 1
    assert entries(own_cache) == ["array.npy", "entry.json"]


def _killed(file: Path) -> None:
    def write(target: Path) -> str:
        target.write_bytes(b"half")
        os._exit(9)

    cached_array("x", {"a": 1}, write)


def test_what_a_killed_process_leaves_is_never_used(tmp_path: Path, own_cache: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
    worker.start()
    worker.join()
    assert worker.exitcode == 9

    def write(target: Path) -> str:
        assert not target.exists()
        np.save(target, np.arange(3))
        return "digest"

    found = cached_array("x", {"a": 1}, write)
    assert isinstance(found, CachedArray)
    assert found.open().tolist() == [0, 1, 2]
    assert entries(own_cache) == ["array.npy", "entry.json"]


def test_a_damaged_entry_is_built_again(tmp_path: Path) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    array = npz_array(file, "test_images", "images")
    array.file.write_bytes(array.file.read_bytes()[:-1])
    again = npz_array(file, "test_images", "images")
    np.testing.assert_array_equal(again.open(), medmnist_arrays("octmnist", size=28)["test_images"])


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_medmnist(tmp_path, "octmnist", size=28)
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(StoreError, match="MEDROBUST_CACHE"):
        npz_array(file, "test_images", "images", cache_dir=tmp_path / "taken")


def bomb(file: Path, shape: tuple[int, ...]) -> Path:
    """An archive of one array of zeros, written without ever holding it."""
    file.parent.mkdir(exist_ok=True)
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as stream,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        block = bytes(1 << 20)
        for _ in range(np.prod(shape) >> 20):
            stream.write(block)
    return file


def test_a_bomb_is_refused_before_a_byte_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SMALL", 0.001)
    file = bomb(tmp_path / "bomb.npz", (8, 1024, 1024))
    assert file.stat().st_size < 20_000
    with pytest.raises(InvalidDataError, match=r"would unpack to 0\.0 GB, .* Get it again"):
        npz_array(file, "images", "images", cache_dir=tmp_path / "cache")
    with pytest.raises(InvalidDataError, match=r"pass dataset\.unpack_limit=1 \(GB\)"):
        npz_array(file, "images", "images", cache_dir=tmp_path / "cache", unpack_limit=0.005)
    assert not list((tmp_path / "cache").rglob("*.npy"))
    array = npz_array(file, "images", "images", cache_dir=tmp_path / "cache", unpack_limit=0.01)
    assert array.open().shape == (8, 1024, 1024)


def test_pictures_of_any_size_are_no_bomb(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SMALL", 1e-9)
    noise = np.random.default_rng(0).integers(256, size=(4, 64, 64), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=noise)
    npz_array(tmp_path / "a.npz", "images", "images", cache_dir=tmp_path / "cache")


def test_what_a_killed_process_unpacked_in_part_is_removed_by_the_next(tmp_path: Path) -> None:
    arrays = tmp_path / "cache" / "arrays"
    for name in (".gone-123.partial", ".alive-123.partial"):
        (arrays / name).mkdir(parents=True)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8))
    with FileLock(arrays / ".alive-123.lock"):
        npz_array(tmp_path / "a.npz", "images", "images", cache_dir=tmp_path / "cache")
    assert [path.name for path in arrays.glob("*.partial")] == [".alive-123.partial"]
