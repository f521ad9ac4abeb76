"""The store: whole cells or none, damage refused by name."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from small_store import DATA, KEY, unsealed, write_small_store

from medrobust.base.findings import Finding
from medrobust.base.once import begin_again
from medrobust.base.seals import sealed_json
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation import store_files
from medrobust.evaluation.merge import merge
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import CellKey, CellSpec, Store, safe_name
from medrobust.evaluation.store_files import described
from medrobust.exceptions import StoreError
from medrobust.jobs.verification import sample, verify
from medrobust.tasks.base import ArraySpec
from medrobust.tasks.lookup import given as given_task

SPEC = CellSpec("clip", "none", "blood", "test", "imagenet_c", "gaussian_noise", 3, 0)


def record(count: int = 6) -> SplitFacts:
    return SplitFacts(
        fingerprint="d" * 64,
        name="blood",
        split="test",
        label_kind="multi-class",
        class_names=("a", "b", "c"),
        labels=np.arange(count) % 3,
        ids=np.array([f"i{row}" for row in range(count)]),
        groups=np.array([f"p{row // 2}" for row in range(count)]),
        findings=(Finding("further remarks", "a subset"),),
    )


def key(weights: str = "w") -> CellKey:
    return CellKey(SPEC, {"weights": weights}, {"kind": "zero_shot"}, "d" * 64)


def logits(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 3)).astype(np.float32)


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    return {"logits": logits(seed)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.write_data(record())
    store.write(key(), arrays(), {"status": "done"}, examples={"row-0.png": b"png"})
    return Store(store.root)  # without what the first one has in memory


def test_what_an_audit_finds_later_reaches_the_tables_of_cells_that_are_there(
    store: Store,
) -> None:
    before = (store.root / "data" / ("d" * 64) / "labels.npy").stat().st_mtime_ns
    more = Finding("repeated images", "2 images repeat others", ("0=7", "1=8"))
    found = (*record().findings, more)
    store.write_data(replace(record(), findings=found))
    assert store.read(SPEC, key().fingerprint).data.findings == found
    again = Store(store.root).read(SPEC, key().fingerprint).data
    assert again.findings == found
    np.testing.assert_array_equal(again.labels, record().labels)
    folder = store.root / "data" / ("d" * 64)
    assert (folder / "labels.npy").stat().st_mtime_ns == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_columns_for_subgroups_come_back_and_older_stores_have_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    values = np.array([[str(row % 2), "x"] for row in range(6)])
    columns = ("sex", "../site")
    store.write_data(replace(record(), metadata=values, metadata_columns=columns))
    found = Store(tmp_path).data("d" * 64)
    np.testing.assert_array_equal(found.metadata, values)
    assert found.metadata_columns == columns
    before = replace(record(), fingerprint="e" * 64)
    store.write_data(before)
    unsealed(tmp_path)
    file = tmp_path / "data" / before.fingerprint / "data.json"
    body = json.loads(file.read_text())
    del body["facts"]["metadata_columns"]
    file.write_text(json.dumps(body))
    found = Store(tmp_path).data(before.fingerprint)
    assert (found.metadata, found.metadata_columns) == (None, ())


def test_a_missing_folder_of_data_is_said_to_be_missing_and_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_small_store(tmp_path / "store")
    shutil.rmtree(root / "data" / DATA.fingerprint)
    with pytest.raises(StoreError, match=rf"is missing, .* of {KEY.spec.dataset}\. Run a job"):
        list(Store(root).cells())
    again = Store(root)
    again.write_data(DATA)
    assert f"{DATA.fingerprint} was missing, and has been written anew" in caplog.text
    assert [cell.spec for cell in again.cells()] == [KEY.spec]
    caplog.clear()
    again.write_data(replace(DATA, fingerprint="e" * 64))
    assert "missing" not in caplog.text


def test_sentences_of_the_first_release_are_read_and_not_rewritten(store: Store) -> None:
    unsealed(store.root)
    file = store.root / "data" / ("d" * 64) / "data.json"
    body = json.loads(file.read_text())
    del body["facts"]["findings"]
    body["facts"]["marks"] = ["a subset", "2 images nearly repeat one of val (ids 0=7, 1=8)"]
    before = json.dumps(body)
    file.write_text(before)
    repeated = Finding("repeated images", "2 images nearly repeat one of val", ("0=7", "1=8"))
    found = (*record().findings, repeated)
    assert Store(store.root).data("d" * 64).findings == found
    Store(store.root).write_data(replace(record(), findings=found))
    assert file.read_text() == before
    Store(store.root).write_data(record())
    assert Store(store.root).data("d" * 64).findings == record().findings
    assert "marks" not in json.loads(file.read_text())["facts"]


def test_a_cell_comes_back_as_it_was_written(store: Store) -> None:
    assert store.has(key())
    cell = store.read(SPEC, key().fingerprint)
    np.testing.assert_array_equal(cell.arrays["logits"], logits())
    assert cell.spec == SPEC
    assert cell.record["status"] == "done"
    assert [path.name for path in cell.examples] == ["row-0.png"]
    for name in ("labels", "ids", "groups"):
        np.testing.assert_array_equal(getattr(cell.data, name), getattr(record(), name))
    assert cell.data.class_names == ("a", "b", "c")
    assert cell.data.findings == record().findings
    assert [found.fingerprint for found in store.cells()] == [cell.fingerprint]
    assert cell.folder.relative_to(store.root).as_posix() == (
        f"cells/clip/blood/imagenet_c.gaussian_noise/s3-{cell.fingerprint[:12]}"
    )


def test_other_weights_are_another_cell(store: Store) -> None:
    assert not store.has(key("other"))
    assert list(store.find("clip", "blood", "imagenet_c", "gaussian_noise", 3))
    assert not list(store.find("clip", "blood", "imagenet_c", "gaussian_noise", 2))


def test_the_first_to_arrive_wins_unless_replaced(store: Store) -> None:
    store.write(key(), arrays(1), {})
    np.testing.assert_array_equal(store.read(SPEC, key().fingerprint).arrays["logits"], logits(0))
    store.write(key(), arrays(1), {}, replace=True)
    np.testing.assert_array_equal(store.read(SPEC, key().fingerprint).arrays["logits"], logits(1))
    assert not list(store.root.rglob(".*"))


@pytest.mark.parametrize(
    "harm",
    [
        lambda cell: (cell / "logits.npy").unlink(),
        lambda cell: (cell / "logits.npy").write_bytes((cell / "logits.npy").read_bytes()[:-8]),
        lambda cell: np.save(cell / "logits.npy", logits(5)),
        lambda cell: np.save(cell / "logits.npy", logits()[:, :2]),
        lambda cell: np.save(cell / "logits.npy", np.array([{}]), allow_pickle=True),
        lambda cell: (cell / "cell.json").write_text("{"),
        lambda cell: (cell / "cell.json").write_text("[]"),
        lambda cell: (cell / "cell.json").write_text('{"format": 1}'),
        lambda cell: (cell / "cell.json").write_text(
            json.dumps({**json.loads((cell / "cell.json").read_text()), "fingerprint": "x"})
        ),
    ],
)
def test_a_damaged_cell_is_refused_by_name(store: Store, harm) -> None:
    cell = store.root / key().folder
    harm(cell)
    with pytest.raises(StoreError, match=cell.name):
        store.has(key())


@pytest.mark.parametrize("name", ["labels.npy", "ids.npy", "groups.npy", "data.json"])
def test_damaged_labels_are_refused(store: Store, name: str) -> None:
    path = store.root / "data" / ("d" * 64) / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="damaged"):
        store.read(SPEC, key().fingerprint)


def test_a_write_that_fails_leaves_nothing_behind(store: Store, monkeypatch) -> None:
    before = sorted(store.root.rglob("*"))
    other = key("other")
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "cell.json":
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left"):
        store.write(other, arrays(), {})
    assert sorted(store.root.rglob("*")) == before


def test_a_twin_that_arrives_while_we_write_wins(store: Store, monkeypatch) -> None:
    other = key("other")
    real = store_files.move_into_place

    def late(source, target) -> None:
        monkeypatch.setattr(store_files, "move_into_place", real)
        Store(store.root).write(other, arrays(7), {})
        real(source, target)

    monkeypatch.setattr(store_files, "move_into_place", late)
    store.write(other, arrays(8), {})
    np.testing.assert_array_equal(store.read(SPEC, other.fingerprint).arrays["logits"], logits(7))


def test_a_store_below_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="store\\.dir"):
        Store(tmp_path / "file" / "store").write_data(record())


def test_features_come_back_or_are_absent(store: Store) -> None:
    features = logits(3)
    assert store.read_features("f" * 64) is None
    store.write_features("f" * 64, features)
    np.testing.assert_array_equal(store.read_features("f" * 64), features)


def test_names_are_safe_for_every_file_system() -> None:
    assert safe_name("../../etc/passwd") == "-..-etc-passwd"
    assert safe_name("a b/c:d") == "a-b-c-d"
    assert safe_name("") == "-"
    assert len(safe_name("x" * 300)) == 80


def test_the_fingerprint_depends_on_encoding_and_head_alone() -> None:
    same = CellKey(SPEC, {"weights": "w"}, {"kind": "zero_shot"}, "e" * 64)
    assert same.fingerprint == key().fingerprint
    other_head = CellKey(SPEC, {"weights": "w"}, {"kind": "probe"}, "d" * 64)
    assert other_head.fingerprint != key().fingerprint
    assert other_head.encoding_fingerprint == key().encoding_fingerprint


class Matching:
    """A task that only tests know: its cells hold arrays of other shapes than logits."""

    kind = "matching"
    arrays: ClassVar = {
        "rank": ArraySpec("int32", ("image",)),
        "similarity": ArraySpec("float32", ("image", "text")),
        "heat": ArraySpec("uint8", ("image", "row", "row", 2)),
        "first": ArraySpec("int64", ("text",)),
    }


def matches(texts: int = 4) -> dict[str, np.ndarray]:
    return {
        "rank": np.arange(6, dtype=np.int32),
        "similarity": np.eye(6, texts, dtype=np.float32),
        "heat": np.zeros((6, 5, 5, 2), np.uint8),
        "first": np.zeros(texts, np.int64),
    }


MATCHING = CellKey(SPEC, {"weights": "w"}, {"kind": "matching"}, "d" * 64)


def test_a_cell_holds_the_arrays_that_its_task_declares(store: Store) -> None:
    with given_task(Matching()):
        store.write(MATCHING, matches(), {})
        cell = Store(store.root).read(SPEC, MATCHING.fingerprint)
        assert cell.task == "matching"
        assert cell.arrays.keys() == matches().keys()
        for name, array in matches().items():
            np.testing.assert_array_equal(cell.arrays[name], array)
            assert cell.arrays[name].dtype == array.dtype
        assert not (cell.folder / "logits.npy").exists()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("rank", np.arange(6)),
        ("rank", np.arange(5, dtype=np.int32)),
        ("rank", np.zeros((6, 3), np.int32)),
        ("similarity", np.eye(6, 3, dtype=np.float32)),  # 4 texts elsewhere in the cell
        ("heat", np.zeros((6, 5, 4, 2), np.uint8)),
        ("heat", np.zeros((6, 5, 5, 3), np.uint8)),
        ("first", None),
        ("logits", logits()),
    ],
)
def test_other_arrays_are_refused_on_the_way_in_and_out(store: Store, name: str, array) -> None:
    wrong = {key: value for key, value in {**matches(), name: array}.items() if value is not None}
    with given_task(Matching()):
        with pytest.raises(StoreError, match=f"cannot be stored: .*({name}|text)"):
            store.write(MATCHING, wrong, {})
        store.write(MATCHING, matches(), {})
        folder = store.root / MATCHING.folder
        body = json.loads((folder / "cell.json").read_text())
        body["arrays"].pop(name, None)
        if array is not None:
            np.save(folder / f"{name}.npy", array)
            body["arrays"][name] = described(array)
        (folder / "cell.json").write_bytes(sealed_json(body))
        with pytest.raises(StoreError, match=folder.name):
            store.read(SPEC, MATCHING.fingerprint)


def test_a_cell_of_a_task_that_is_not_installed_is_named(store: Store) -> None:
    with given_task(Matching()):
        store.write(MATCHING, matches(), {})
    with pytest.raises(StoreError, match=r"not installed here.*'matching'"):
        store.read(SPEC, MATCHING.fingerprint)
    assert store.read(SPEC, key().fingerprint).task == "classification"


class Remade(Matching):
    """The same task, once it keeps other arrays."""

    arrays: ClassVar = {"order": ArraySpec("int32", ("image",))}


class Widened(Matching):
    """The same task, once an array of it has another type."""

    arrays: ClassVar = {**Matching.arrays, "rank": ArraySpec("int64", ("image",))}


@pytest.fixture
def of_before(store: Store) -> Store:
    """A store with two cells of an earlier declaration beside one of classification."""
    with given_task(Matching()):
        store.write(MATCHING, matches(), {})
        store.write(replace(MATCHING, encoding={"weights": "v"}), matches(), {})
    return Store(store.root)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Remade(), r"it holds \['first', .*\], not \['order'\]"),
        (Widened(), r"its array 'rank' is int32 \(6,\), not int64 \(image\)"),
    ],
)
def test_a_cell_of_an_earlier_declaration_is_refused_as_such_where_it_is_asked_for(
    of_before: Store, task: Matching, told: str
) -> None:
    with given_task(task):
        with pytest.raises(StoreError, match=told) as refused:
            of_before.has(MATCHING)
        said = str(refused.value)
        assert "another version of task=matching (2 cells of this store in all)" in said
        assert "resume=false" in said
        assert "Delete" not in said


@pytest.mark.parametrize("task", [Remade(), Widened(), None])
def test_a_cell_that_its_task_does_not_read_stops_nobody_who_asks_for_others(
    of_before: Store, task: Matching | None, caplog
) -> None:
    place = (SPEC.model, SPEC.dataset, SPEC.suite, SPEC.corruption, SPEC.severity)
    with given_task(task) if task else nullcontext():
        assert [cell.task for cell in of_before.find(*place)] == ["classification"]
        begin_again()
        assert [cell.task for cell in of_before.cells()] == ["classification"]
        (told,) = of_before.left_out
        assert told.startswith("2 cells of task=matching left out: it")
        assert told in caplog.text
        assert of_before.adopt(replace(MATCHING, spec=replace(SPEC, suite="another"))) is False
        again = replace(MATCHING, encoding={"weights": "w"})
        if isinstance(task, Remade):
            of_before.write(again, {"order": np.arange(6, dtype=np.int32)}, {}, replace=True)
            assert of_before.has(again)


@pytest.mark.parametrize("harm", ["array", "seal", "name"])
def test_a_damaged_cell_of_an_earlier_declaration_is_refused_as_any_other(
    of_before: Store, harm: str
) -> None:
    folder = of_before.root / MATCHING.folder
    if harm == "array":
        np.save(folder / "rank.npy", np.arange(1, 7, dtype=np.int32))
    elif harm == "seal":
        unsealed(of_before.root)
    else:
        body = json.loads((folder / "cell.json").read_text())
        body["arrays"] |= {"../rank": body["arrays"]["rank"]}
        (folder / "cell.json").write_bytes(sealed_json(body))
    with given_task(Remade()), pytest.raises(StoreError, match=r"is damaged: .*Delete that folder"):
        list(Store(of_before.root).cells())


def test_a_cell_of_an_earlier_declaration_is_verified_to_its_bytes_and_merged(
    of_before: Store, tmp_path: Path
) -> None:
    with given_task(Remade()):
        cells = sample(of_before, 3, seed=0)
        (one, two) = (cell for cell in cells if cell.task == "matching")
        for cell in (one, two):
            verdict = verify(cell, of_before, changes={}, resources=Resources())
            assert verdict.kind == "not computed"
            assert verdict.sentence.startswith("it is not damaged, but it holds ['first'")
        assert merge([of_before.root], tmp_path / "joint").copied == 4  # a split, three cells
    with given_task(Matching()):
        assert Store(tmp_path / "joint").has(MATCHING)
