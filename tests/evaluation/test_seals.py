"""What a cell says of itself agrees with itself, sealed or not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Labels
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.exceptions import StoreError

DATA = SplitFacts(
    name="scans",
    split="test",
    fingerprint="d" * 64,
    ids=np.array(["a", "b", "c"]),
    target=Labels(np.array([0, 1, 1])),
    class_names=("no", "yes"),
    label_kind="multi-class",
)
SPEC = CellSpec("clip", "none", "scans", "test", "imagenet_c", "fog", 3, 0)
KEY = CellKey(
    SPEC,
    {"data": "d" * 64, "corruption": {"name": "fog", "kernel": "fog"}, "seed": 0},
    {"kind": "identity"},
    "d" * 64,
)
ARRAYS = {"logits": np.array([[0, 1], [2, 3], [4, 5]], np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write_data(DATA)
    store.write(KEY, ARRAYS, {"seconds": 1})
    return store


def changed(store: Store, name: str, change) -> None:
    """Change a record as one of release 0.1, which has no seal."""
    (file,) = store.root.rglob(name)
    body = json.loads(file.read_text(encoding="utf-8"))
    for name in ("seal", "sealed"):
        body.pop(name, None)
    change(body)
    file.write_text(json.dumps(body), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["cell"].update(severity=5),
        lambda body: body["cell"].update(model="other"),
        lambda body: body["cell"].update(corruption="snow"),
        lambda body: body["cell"].update(split="val"),
        lambda body: body["cell"].update(dataset="other"),
        lambda body: body["cell"].update(seed=1),
        lambda body: body["encoding"].update(seed=1),
        lambda body: body["head"].update(kind="probe"),
        lambda body: body.update(encoding_fingerprint="0" * 64),
        lambda body: body["encoding"]["corruption"].update(name="clean"),
    ],
)
def test_of_an_unsealed_cell_what_names_and_fingerprints_decide_is_checked(store, change) -> None:
    changed(store, "cell.json", lambda body: None)
    assert len(list(Store(store.root).cells())) == 1
    changed(store, "cell.json", change)
    with pytest.raises(StoreError, match="damaged"):
        list(Store(store.root).cells())


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["facts"].update(task="multi-klass"),
        lambda body: body["facts"].update(task="ordinal"),
        lambda body: body["facts"].update(positive=7),
        lambda body: body["facts"].update(class_names=["no"]),
        lambda body: body["facts"].update(fingerprint="e" * 64),
        lambda body: body["facts"].pop("name"),
        lambda body: body["arrays"].pop("labels"),
        lambda body: body.update(facts=3),
    ],
)
def test_damaged_facts_of_a_split_are_refused_in_a_sentence(store, change) -> None:
    changed(store, "data.json", change)
    with pytest.raises(StoreError, match="damaged"):
        list(Store(store.root).cells())


def test_data_of_another_split_is_not_accepted(store: Store) -> None:
    store.write_data(replace(DATA, fingerprint="e" * 64, split="val"))
    changed(store, "cells/*/*/*/*/cell.json", lambda body: body.update(data="e" * 64))
    with pytest.raises(StoreError, match="damaged"):
        list(Store(store.root).cells())


def test_what_an_audit_adds_is_sealed_too(store: Store) -> None:
    store.write_data(replace(DATA, compared=("val",)))
    (file,) = store.root.rglob("data.json")
    file.write_bytes(file.read_bytes().replace(b'"val"', b'"vam"'))
    with pytest.raises(StoreError, match="not the one that was sealed"):
        Store(store.root).data(DATA.fingerprint)
