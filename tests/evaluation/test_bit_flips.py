"""Every bit of every file of a store: flipped, it is refused by name or changes nothing read."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medrobust.adapters.artifact import Tuned, probe_files
from medrobust.adapters.linear_probe import Probe
from medrobust.base.findings import Finding
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.sealing import seal_store
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.exceptions import StoreError

DATA = SplitFacts(
    name="scans",
    split="test",
    fingerprint="d" * 64,
    ids=np.array(["a", "b", "c"]),
    groups=np.array(["p", "p", "q"]),
    labels=np.array([0, 1, 0]),
    class_names=("no", "yes"),
    label_kind="multi-class",
    findings=(Finding("repeated images", "2 images repeat", ("a=b",)),),
    metadata=np.array([["f"], ["m"], ["f"]]),
    metadata_columns=("sex",),
)
KEY = CellKey(
    CellSpec("clip", "none", "scans", "test", "imagenet_c", "fog", 3, 0),
    {"data": "d" * 64, "corruption": {"name": "fog", "kernel": "fog"}, "seed": 0},
    {"kind": "identity"},
    "d" * 64,
)
ADAPTER, FEATURES = "a" * 64, "f" * 64
RECORD = {
    "name": "probe",
    "kind": "probe",
    "base": {"name": "clip", "source": "clip", "revision": "", "license": "", "weights": "w"},
    "recipe": {},
    "task": {"shot_seed": 1},
    "prompts": [],
    "data": [
        {
            **{"dataset": "scans", "class_names": ["no", "yes"], "pool": "train", "shots": ["a"]},
            **{"selection": [], "selection_split": "", "license": "", "notes": []},
        }
    ],
    "metrics": {},
    "versions": {},
}
FILES = (
    *("cell.json", "logits.npy", "row-0.png", "data.json", "labels.npy", "ids.npy"),
    *("groups.npy", "metadata.npy", "features.json", "features.npy"),
    *("medrobust.json", "adapter_model.safetensors", "README.md"),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("store"))
    store.write_data(DATA)
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    store.write(KEY, {"logits": logits}, {"seconds": 1}, examples={"row-0.png": b"\x89PNG pixels"})
    store.write_features(FEATURES, np.ones((3, 2), np.float32))
    probe = Probe(torch.eye(2), torch.zeros(2))
    store.write_adapter(ADAPTER, probe_files({"scans": probe}, RECORD))
    return store.root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "store"))


def everything(root: Path) -> str:
    """All that anything reads of a store, as one text."""
    store = Store(root)
    cells = []
    for cell in store.cells():
        arrays = {name: array.tolist() for name, array in cell.arrays.items()}
        pictures = [cell.picture(number) for number in range(len(cell.examples))]
        record = {name: cell.record[name] for name in sorted(cell.record)}
        cells.append((cell.spec, cell.fingerprint, cell.folder, record, arrays, pictures))
    split = store.data(DATA.fingerprint)
    arrays = [split.ids, split.groups, split.labels, split.metadata]
    facts = replace(split, target=None, ids=None, groups=None, metadata=None)
    features = store.read_features(FEATURES)
    tuned = Tuned(str(store.adapter_folder(ADAPTER)))
    head = tuned.head("scans")
    assert features is not None
    assert head is not None
    numbers = [array.tolist() for array in (*arrays, features, head.weight, head.bias)]
    return repr((cells, facts, numbers, tuned.record, tuned.head_description("scans", ())))


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
    "step", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(23, id="sample")]
)
def test_no_flipped_bit_passes_unseen(root: Path, name: str, step: int) -> None:
    (file,) = root.rglob(name)
    assert harmful_flips(root, file, range(0, 8 * file.stat().st_size, step)) == []


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


def unsealed(root: Path) -> None:
    """Make a store as release 0.1 left it."""
    import json

    for path in root.rglob("*.json"):
        record = json.loads(path.read_text())
        for name in ("seal", "sealed", *(["examples"] * (path.name == "cell.json"))):
            record.pop(name)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def test_a_store_of_release_0_1_is_sealed_and_says_the_same(root: Path) -> None:
    sealed = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    unsealed(root)
    assert {path: path.read_bytes() for path in sealed} != sealed
    assert seal_store(root) == 4
    assert {path: path.read_bytes() for path in sealed} == sealed
    assert seal_store(root) == 0


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
    assert caplog.text.count("are not sealed") == 1
    assert "medrobust verify STORE --seal" in caplog.text
