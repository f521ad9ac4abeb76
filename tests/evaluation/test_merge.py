"""Merging stores: any order, any grouping, any number of times; conflicts and damage by name."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_entry import answer
from stores import cell_key, data_record, random_logits

from medrobust.base.findings import read_finding
from medrobust.evaluation.merge import merge
from medrobust.evaluation.store import Store
from medrobust.exceptions import StoreError

DATA = data_record(count=6)
MODELS = ("a", "b", "c")

Content = tuple[tuple[tuple[str, int, bool], ...], tuple[str, ...]]
"""Cells as (model, seconds, with a picture), and what is known of the data."""

contents = st.tuples(
    st.lists(
        st.tuples(st.sampled_from(MODELS), st.integers(1, 2), st.booleans()),
        unique_by=lambda cell: cell[0],
        max_size=3,
    ).map(tuple),
    st.lists(st.sampled_from(("subset", "repeats")), unique=True, max_size=2).map(tuple),
)


def write(root: Path, content: Content) -> Path:
    cells, found = content
    store = Store(root)
    store.write_data(replace(DATA, findings=tuple(map(read_finding, found))))
    for model, seconds, pictured in cells:
        key = cell_key(DATA, model)
        pictures = {"row-0.png": b"png"} if pictured else None
        arrays = {"logits": random_logits(DATA, key, 1.0)}
        store.write(key, arrays, {"seconds": seconds}, examples=pictures)
        store.write_features(key.encoding_fingerprint, np.full((6, 2), len(model), np.float32))
    store.write_adapter("f" * 64, {"medrobust.json": b'{"files": {}}', "README.md": b"card"})
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def merged(root: Path, *sources: Path) -> Path:
    into = Path(tempfile.mkdtemp(dir=root)) / "joint"
    assert not merge(sources, into).conflicts
    return into


@settings(max_examples=8, deadline=None, derandomize=True)
@given(contents, contents, contents)
def test_merging_is_commutative_associative_and_idempotent(
    first: Content, second: Content, third: Content
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        a, b, c = (write(root / n, x) for n, x in zip("abc", (first, second, third), strict=True))
        ab = merged(root, a, b)
        assert files(ab) == files(merged(root, b, a))
        assert files(merged(root, ab, c)) == files(merged(root, a, merged(root, b, c)))
        assert files(merged(root, a, a)) == files(merged(root, a)) == files(a)
        before = files(ab)
        assert merge([a, b], ab).copied == 0
        assert files(ab) == before
        names = {cell.spec.model for cell in Store(ab).cells()}
        assert names == {model for cells, _ in (first, second) for model, *_ in cells}
        found = tuple(map(str, Store(ab).data(DATA.fingerprint).findings))
        joint = tuple(sorted({*first[1], *second[1]}))
        assert found == (first[1] if first[1] == second[1] else joint)


def test_other_numbers_under_one_key_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    a = write(tmp_path / "a", ((("a", 1, False), ("b", 1, False)), ()))
    b = write(tmp_path / "b", ((("c", 1, False),), ()))
    key = cell_key(DATA, "a")
    Store(b).write(key, {"logits": random_logits(DATA, key, 1.0) + 1}, {})
    done = answer("merge", a, b, "--into", tmp_path / "joint")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(key.folder) in line
    assert str(a) in line
    assert str(b) in line
    assert not (tmp_path / "joint").exists()
    before = files(a)
    assert answer("merge", b, "--into", a).returncode == 1
    assert files(a) == before


def test_the_command_says_what_it_did_and_leaves_hidden_folders_alone(tmp_path: Path) -> None:
    a = write(tmp_path / "a", ((("a", 1, False),), ()))
    (a / "adapters" / ".unfinished-training").mkdir()
    done = answer("merge", a, "--into", tmp_path / "joint")
    assert done.returncode == 0
    assert "4 parts copied, 0 were there" in done.stdout
    assert files(tmp_path / "joint") == files(a)
    assert not list((tmp_path / "joint").rglob(".*"))


@pytest.mark.parametrize(
    ("place", "harm"),
    [
        ("cells/*/*/*/*/logits.npy", lambda file: file.write_bytes(file.read_bytes()[:-4])),
        ("cells/*/*/*/*/cell.json", lambda file: file.write_text("{")),
        ("data/*/labels.npy", lambda file: file.write_bytes(file.read_bytes()[:-4])),
        ("features/*/features.npy", lambda file: file.unlink()),
        (
            "adapters/*/medrobust.json",
            lambda file: file.write_text(json.dumps({"files": {"x": ""}})),
        ),
    ],
)
def test_a_damaged_part_is_refused_by_name(tmp_path: Path, place: str, harm) -> None:
    a = write(tmp_path / "a", ((("a", 1, False),), ()))
    (file,) = a.glob(place)
    harm(file)
    with pytest.raises(StoreError, match=file.parent.name):
        merge([a], tmp_path / "joint")
    assert not (tmp_path / "joint").exists()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no store\. Pass the folder that store\.dir names"):
        merge([tmp_path], tmp_path / "joint")
