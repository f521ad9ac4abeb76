"""Every bit of every file of a store: flipped, it is refused by name or changes nothing read."""

import shutil
from pathlib import Path

import pytest
from small_store import FILES, everything, unsealed, write_small_store

from medrobust.evaluation.sealing import seal_store
from medrobust.exceptions import StoreError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "store"))


def harmful_flips(root: Path, file: Path, bits: range) -> list[int]:
    """Bits whose flip changes what is read, or is refused without the folder's name."""
    before, content = everything(root), file.read_bytes()
    harmful = []
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            if everything(root) != before:
                harmful.append(bit)
        except StoreError as error:
            harmful += [bit] * (file.parent.name not in str(error))
    file.write_bytes(content)
    return harmful


def test_the_store_has_no_other_files(written: Path) -> None:
    assert {path.name for path in written.rglob("*") if path.is_file()} == {*FILES}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, on names of types
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(47, id="sample")]
)
def test_no_flipped_bit_passes_unseen(root: Path, name: str, step: int) -> None:
    (file,) = root.rglob(name)
    assert harmful_flips(root, file, range(0, 8 * file.stat().st_size, step)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 1, 0.5, -1])
def test_no_file_that_is_cut_off_passes_unseen(root: Path, name: str, length: float) -> None:
    (file,) = root.rglob(name)
    before, content = everything(root), file.read_bytes()
    end = int(length * len(content)) if isinstance(length, float) else length
    file.write_bytes(content[:end])
    if name == "README.md":  # is for people
        assert everything(root) == before
    else:
        with pytest.raises(StoreError, match=file.parent.name):
            everything(root)


def test_a_store_of_release_0_1_is_sealed_and_says_the_same(root: Path) -> None:
    sealed = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    unsealed(root)
    assert {path: path.read_bytes() for path in sealed} != sealed
    assert len(seal_store(root)) == 4
    assert {path: path.read_bytes() for path in sealed} == sealed
    assert seal_store(root) == []


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("README.md", "row-0.png")])
def test_nothing_that_is_damaged_is_sealed(root: Path, name: str) -> None:
    unsealed(root)
    (file,) = root.rglob(name)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(StoreError, match=file.parent.name):
        seal_store(root)


def test_a_store_without_seals_says_so_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    from medrobust.base.once import begin_again

    begin_again()
    everything(root)
    assert "sealed" not in caplog.text
    unsealed(root)
    everything(root)
    everything(root)
    assert caplog.text.count("is not sealed") == 1
    assert "medrobust verify STORE --seal" in caplog.text
