"""An array of the cache that is not what was unpacked is noticed, and made again."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from medrobust.base.once import begin_again
from medrobust.datasets import cache_checks
from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array, unpacking_at_most
from medrobust.datasets.cache_checks import BLOCK, DRAWN, PERIOD, all_checked, array_digest

VALUES = np.random.default_rng(0).integers(256, size=(3, 5, 7), dtype=np.uint8)
LARGE = np.random.default_rng(0).integers(256, size=(40, 1 << 18), dtype=np.uint8)
assert LARGE.nbytes > (DRAWN + 3) * BLOCK


@pytest.fixture(autouse=True)
def said_anew() -> None:
    begin_again()


def opened(cache: Path, values: np.ndarray = VALUES) -> CachedArray:
    """Open as a new process would."""

    def write(target: Path) -> str:
        with ArrayWriter(target, values.dtype, values.shape) as writer:
            writer.write(values.tobytes())
            return writer.close()

    cache_checks._CHECKED.clear()
    return cached_array("x", {"a": list(values.shape)}, write, cache_dir=cache)


def change(file: Path, place: int, *, times: tuple[int, int] | None = None) -> None:
    """Flip a bit; with `times` nothing tells that the file was written to."""
    with file.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte[0] ^ 1]))
    if times is not None:
        os.utime(file, ns=times)


def times(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_atime_ns, status.st_mtime_ns


@pytest.mark.slow
@pytest.mark.parametrize("name", ["array.npy", "entry.json"])
def test_every_flipped_bit_of_a_small_entry_is_mended(tmp_path: Path, name: str) -> None:
    first = opened(tmp_path)
    file = first.file.with_name(name)
    content = file.read_bytes()
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        again = opened(tmp_path)
        assert again == first
        np.testing.assert_array_equal(again.open(), VALUES)


def test_half_the_pixels_zeroed_are_noticed_and_said(tmp_path: Path, caplog) -> None:
    file = opened(tmp_path, LARGE).file
    before = times(file)
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(bytes(file.stat().st_size // 2))
    os.utime(file, ns=before)
    np.testing.assert_array_equal(opened(tmp_path, LARGE).open(), LARGE)
    assert caplog.text.count("is not as it was unpacked") == 1


@pytest.fixture
def hidden_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flipped bit in a block that is never drawn, in a file that nobody seems to have touched."""
    file = opened(tmp_path, LARGE).file
    change(file, 5 * BLOCK + 3, times=times(file))

    class Drawing:
        def sample(self, blocks: range, count: int) -> list[int]:
            return [block for block in blocks if block != 5][:count]

    monkeypatch.setattr(cache_checks, "SystemRandom", Drawing)
    assert not np.array_equal(opened(tmp_path, LARGE).open(), LARGE)
    return file


def test_verify_compares_every_block(hidden_change: Path, tmp_path: Path) -> None:
    with all_checked():
        np.testing.assert_array_equal(opened(tmp_path, LARGE).open(), LARGE)


def test_every_block_is_compared_once_a_day(hidden_change: Path, tmp_path: Path) -> None:
    before = hidden_change.stat().st_mtime - 2 * PERIOD
    for name in ("array.npy", "entry.json"):
        os.utime(hidden_change.with_name(name), (before, before))
    with unpacking_at_most(None):
        np.testing.assert_array_equal(opened(tmp_path, LARGE).open(), LARGE)


def test_what_was_written_to_is_compared_whole(tmp_path: Path) -> None:
    file = opened(tmp_path, LARGE).file
    change(file, 5 * BLOCK + 3)
    os.utime(file, ns=(0, file.with_name("entry.json").stat().st_mtime_ns + 1))
    np.testing.assert_array_equal(opened(tmp_path, LARGE).open(), LARGE)


def test_a_look_at_a_plan_draws_a_few_blocks_only(tmp_path: Path, monkeypatch) -> None:
    file = opened(tmp_path, LARGE).file
    os.utime(file.with_name("entry.json"), (0, 0))
    read: list[int] = []
    real = cache_checks._sum
    monkeypatch.setattr(
        cache_checks, "_sum", lambda stream, number: read.append(number) or real(stream, number)
    )
    with unpacking_at_most(1):
        opened(tmp_path, LARGE)
    assert len(read) == DRAWN + 2
    opened(tmp_path, LARGE)
    assert len(read) == DRAWN + 2 + 11


def test_a_process_looks_once_unless_the_file_changes(tmp_path: Path, monkeypatch) -> None:
    first = opened(tmp_path)

    def write(_target: Path) -> str:
        raise AssertionError

    def again() -> CachedArray:
        return cached_array("x", {"a": list(VALUES.shape)}, write, cache_dir=tmp_path)

    assert again() == first
    with monkeypatch.context() as patch:
        patch.setattr(cache_checks, "_sum", None)
        assert again() == first
    change(first.file, 200)
    with pytest.raises(AssertionError):
        again()


def of_release_0_1(file: Path, digest: str) -> None:
    record = {"bytes": file.stat().st_size, "digest": digest}
    file.with_name("entry.json").write_text(json.dumps(record))


def test_an_entry_of_release_0_1_is_compared_once_and_gets_sums(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert array_digest(first.file) == first.digest
    inode = first.file.stat().st_ino
    of_release_0_1(first.file, first.digest)
    assert opened(tmp_path) == first
    assert first.file.stat().st_ino == inode
    assert "sums" in json.loads(first.file.with_name("entry.json").read_bytes())
    of_release_0_1(first.file, first.digest)
    change(first.file, 200, times=times(first.file))
    np.testing.assert_array_equal(opened(tmp_path).open(), VALUES)


def test_the_digest_of_a_fortran_array_is_that_of_its_file(tmp_path: Path) -> None:
    values = np.asfortranarray(VALUES)
    with ArrayWriter(tmp_path / "a.npy", values.dtype, values.shape, fortran=True) as writer:
        writer.write(values.tobytes("F"))
        assert writer.close() == array_digest(tmp_path / "a.npy")


def test_nothing_is_said_of_what_is_whole(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(2):
        opened(tmp_path, LARGE)
    assert "unpacked" not in caplog.text
