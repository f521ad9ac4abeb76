"""What is refused of files of strangers, one by one; `rigs` finds more."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medrobust.adapters import Lora, Tuned
from medrobust.adapters.lora import CONFIG, WEIGHTS
from medrobust.base.safe_files import json_object, whole_array
from medrobust.datasets.published.fetching import unpack
from medrobust.exceptions import ConfigurationError, InvalidDataError, MedRobustError, StoreError
from medrobust.models import PhantomClip


def test_what_a_sentence_quotes_moves_no_cursor_and_fills_no_screen() -> None:
    error = InvalidDataError("column 'a\x1b[2J\u202e' is missing: " + "x" * 5000)
    assert str(error).isprintable()
    assert len(str(error)) < 1300
    assert str(error).startswith(r"column 'a\x1b[2J\u202e' is missing")
    error.discreet = "a\x07b"
    assert error.for_records == r"a\x07b"


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "3", "{", "\x00", '{"a": 1}{'])
def test_json_that_is_no_table_is_one_kind_of_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        json_object(tmp_path / "x.json")


def npy(header: str) -> bytes:
    body = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,"),
        npy("{{}: 1}"),
        b"\x93NUMPY\x09\x00",
        b"PK\x05\x06" + bytes(18),
        b"",
    ],
)
def test_an_array_that_is_none_is_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        whole_array(tmp_path / "x.npy")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, on names of types
def test_a_flipped_bit_of_a_header_is_told_in_plain_words(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.zeros((4, 2), np.float32))
    content, told = file.read_bytes(), set()
    for bit in range(0, 8 * 128, 3):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            whole_array(file)
        except ValueError as error:
            told.add(str(error))
    assert told == {"its header is missing or damaged", "its 160 bytes are not those of its header"}


def test_whole_arrays_come_back(tmp_path: Path) -> None:
    for array in (np.zeros((0, 3)), np.array(["a", "bc"]), np.arange(6).reshape(2, 3)):
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(whole_array(tmp_path / "x.npy"), array)


@pytest.fixture(scope="module")
def adapted() -> tuple[torch.nn.Module, dict[str, bytes]]:
    base = PhantomClip(variant="small").load()
    model = copy.deepcopy(base)
    recipe = Lora(rank=2)
    recipe.attach(model)
    files = recipe.files(recipe.state(model))
    return base, {**files, CONFIG: recipe.config(model, "phantomclip")}


def folder_with(tmp_path: Path, files: dict[str, bytes], **changed: object) -> Tuned:
    said = json.loads(files[CONFIG]) | changed
    (tmp_path / WEIGHTS).write_bytes(files[WEIGHTS])
    (tmp_path / CONFIG).write_text(json.dumps(said))
    return Tuned(path=str(tmp_path))


def test_no_regular_expression_of_an_adapter_is_matched(tmp_path: Path, adapted) -> None:
    base, files = adapted
    endless = "([a-z0-9_.]+)+#"
    tuned = folder_with(tmp_path, files, target_modules=endless, exclude_modules=endless)
    tuned.attach(copy.deepcopy(base))


@pytest.mark.parametrize(
    "changed",
    [
        {"r": 10**12},
        {"r": "2"},
        {"r": -1},
        {"lora_alpha": float("inf")},
        {"use_rslora": 1},
        {"peft_type": "IA3"},
        {"init_lora_weights": "pissa"},
        {"rank_pattern": {"([a-z]+)+#": 2}},
        {"alpha_pattern": {"q_proj": "x"}},
    ],
    ids=lambda changed: str(*changed.items()),
)
def test_an_adapter_that_describes_something_else_is_refused(
    tmp_path: Path, adapted, changed: dict[str, object]
) -> None:
    base, files = adapted
    with pytest.raises(ConfigurationError, match=CONFIG):
        folder_with(tmp_path, files, **changed).attach(copy.deepcopy(base))


@pytest.mark.parametrize(
    "record",
    [
        {"format": 1, "files": []},
        {"format": 1, "base": {"name": "m"}},
        {"format": 1, "kind": 3},
        {"format": 2},
        [1],
    ],
    ids=str,
)
def test_a_record_that_is_none_is_refused_by_name(tmp_path: Path, adapted, record: object) -> None:
    (tmp_path / "medrobust.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"medrobust\.json"):
        folder_with(tmp_path, adapted[1]).check_base("m", "w" * 64)


def test_a_full_disk_is_told_from_a_damaged_archive(tmp_path: Path, monkeypatch) -> None:
    import errno
    import zipfile

    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
        archive.writestr("toy/info.yaml", "x")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(MedRobustError, match="No space left") as caught:
        unpack(tmp_path / "toy.zip", tmp_path / "toy")
    assert isinstance(caught.value, StoreError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.zip"]
