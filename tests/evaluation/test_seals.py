"""What a cell says of itself agrees with itself, sealed or not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_store import DATA, everything, unsealed, write_small_store

from medrobust.base.seals import plain_json
from medrobust.base.temporary_names import temporary_name
from medrobust.corruptions import Corruption
from medrobust.corruptions.at_severity import CorruptionAt
from medrobust.corruptions.config import GivenMasks, GivenPlanes
from medrobust.corruptions.continuous import ContinuousCorruption, Level
from medrobust.corruptions.suites import find_entry
from medrobust.evaluation.cells import cell_folder
from medrobust.evaluation.contradictions import contradiction
from medrobust.evaluation.sealing import seal_store
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.exceptions import StoreError

FOG = {"kernel": "fog", "parameters": {"amount": 2.5, "decay": 1.7}, "version": 1}
KEY = CellKey(
    CellSpec("clip", "lora", "scans", "test", "imagenet_c", "fog", 3, 0),
    {
        **{"weights": "w", "adapter": {"files": {}}, "data": DATA.fingerprint, "seed": 0},
        "corruption": {"name": "fog", **FOG},
    },
    {"kind": "identity"},
    DATA.fingerprint,
)
ARRAYS = {"logits": np.array([[0, 1], [2, 3], [4, 5]], np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write_data(DATA)
    store.write(KEY, ARRAYS, {"seconds": 1, "config": {"model": {"name": "clip"}}})
    return store


def changed(store: Store, name: str, change, *, moved: bool = False) -> None:
    """Change a record of a store that has lost its seals, and bring its folder where it says."""
    unsealed(store.root)
    (file,) = store.root.rglob(name)
    body = json.loads(file.read_text(encoding="utf-8"))
    change(body)
    file.write_text(json.dumps(body), encoding="utf-8")
    if moved:
        place = store.root / cell_folder(CellSpec(**body["cell"]), body["fingerprint"])
        place.parent.mkdir(parents=True, exist_ok=True)
        file.parent.rename(place)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["cell"].update(severity=5),
        lambda body: body["cell"].update(model="other"),
        lambda body: body["cell"].update(adapter="none"),
        lambda body: body["cell"].update(corruption="snow"),
        lambda body: body["cell"].update(suite="bloodmnist"),
        lambda body: body["cell"].update(suite="imagenet_c_64"),
        lambda body: body["cell"].update(suite="imagenet_c@inside_disc"),
        lambda body: body["cell"].update(suite="imagenet_c@between"),
        lambda body: body["cell"].update(suite="sanity"),
        lambda body: body["cell"].update(split="val"),
        lambda body: body["cell"].update(dataset="other"),
        lambda body: body["cell"].update(seed=1),
        lambda body: body["cell"].update(seed=None),
        lambda body: body["encoding"].update(seed=1),
        lambda body: body["head"].update(kind="probe"),
        lambda body: body.update(encoding_fingerprint="0" * 64),
        lambda body: body["encoding"]["corruption"].update(name="clean"),
    ],
)
def test_of_an_unsealed_cell_what_names_and_fingerprints_decide_is_checked(
    store, change, moved: bool
) -> None:
    changed(store, "cell.json", lambda body: None)
    assert len(list(Store(store.root).cells())) == 1
    changed(store, "cell.json", change, moved=moved)
    with pytest.raises(StoreError, match="damaged"):
        list(Store(store.root).cells())


MADE = Corruption("ring_artifact", suite="ct_physics")
MASKS, PLANES = GivenMasks("m", lambda index: None), GivenPlanes("p", lambda index: [])
PLACES = [("", ""), ("@inside_disc", "mask"), ("@outside_masks", "outside")]
ENDINGS = {
    f"{'' if domain == 'picture' else '@stored'}{ending}": replace(
        MADE, domain=domain, region=region or None, region_of=ending.rpartition("_")[2] or "disc"
    )
    .expand(None)[0]
    .with_masks(MASKS)
    .with_planes(PLANES)
    for domain in ("picture", "stored")
    for ending, region in PLACES
}
ENDINGS["@between"] = CorruptionAt(MADE, 2.5)
ENDINGS["@stored@between"] = CorruptionAt(ENDINGS["@stored"], 2.5)
ENDINGS["@2.5"] = ContinuousCorruption(MADE, (Level(3, 2.5),), "2.5")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_suite_ends_as_what_was_made_says_and_no_other_way(ending: str) -> None:
    column = ENDINGS[ending]
    assert column.suite == f"ct_physics{ending}"
    encoding = {**KEY.encoding, "corruption": column.identity(3)}
    for other in ENDINGS:
        spec = replace(KEY.spec, suite=f"ct_physics{other}", corruption="ring_artifact", severity=3)
        key = replace(KEY, spec=spec, encoding=encoding)
        said = contradiction(key, DATA, (key.fingerprint, key.encoding_fingerprint))
        if ending == "@2.5" and other:  # what was equalised is not in the encoding
            continue
        assert said == (None if other == ending else "its suite is not that of its encoding")


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_another_severity_with_the_same_parameters_is_the_same_pictures(severity: int) -> None:
    entry = find_entry("bloodmnist", "stain_deposit")  # has severities 3 and 4 alike
    named = {"suite": "bloodmnist", "corruption": "stain_deposit", "severity": severity}
    spec = replace(KEY.spec, **named)
    for other in (1, 2, 3, 4, 5):
        parameters = entry.parameters(other)
        identity = {"name": entry.name, "kernel": entry.kernel, "parameters": parameters}
        key = replace(KEY, spec=spec, encoding={**KEY.encoding, "corruption": identity})
        stated = (key.fingerprint, key.encoding_fingerprint)
        agrees = parameters == entry.parameters(severity)
        assert (contradiction(key, DATA, stated) is None) == agrees


@pytest.mark.parametrize("name", ["cell.json", "data.json", "features.json"])
def test_a_record_without_a_seal_beside_sealed_ones_is_refused(tmp_path: Path, name: str) -> None:
    root = write_small_store(tmp_path)
    (file,) = root.rglob(name)
    sealed = file.read_bytes()
    file.write_bytes(plain_json(json.loads(sealed) | {"sealed": None, "seal": None}))
    with pytest.raises(StoreError, match=file.parent.name):
        everything(root)
    body = {key: v for key, v in json.loads(sealed).items() if key not in ("seal", "sealed")}
    file.write_bytes(plain_json(body))
    with pytest.raises(StoreError, match=f"{file.parent.name}.*its record has no seal, and others"):
        everything(root)
    assert seal_store(root) == [file.parent]  # as after a sealing that was interrupted
    assert file.read_bytes() == sealed


def test_what_is_added_to_a_store_without_seals_has_none_until_it_is_sealed(store: Store) -> None:
    unsealed(store.root)
    later = Store(store.root)
    for name in ("snow", "frost"):
        identity = {"name": name, "kernel": name}
        encoding = {**KEY.encoding, "corruption": identity}
        spec = replace(KEY.spec, corruption=name)
        later.write(replace(KEY, spec=spec, encoding=encoding), ARRAYS, {})
    later.write_features("f" * 64, np.ones((3, 2), np.float32))
    later.write_data(replace(DATA, fingerprint="e" * 64))
    assert not Store(store.root).sealed
    assert len(list(Store(store.root).cells())) == 3
    assert len(seal_store(store.root)) == 6
    assert Store(store.root).sealed
    assert len(list(Store(store.root).cells())) == 3


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
        lambda body: body["facts"].update(license=5),
        lambda body: body["facts"].update(compared=[5]),
        lambda body: body["facts"].update(class_names="nope"),
        lambda body: body["facts"].update(class_names=["no", "no", "no"]),
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


def _of_val(body: dict) -> None:
    body["facts"].update(split="val")


def _a_third_class(body: dict) -> None:
    body["facts"]["class_names"].append("maybe")


@pytest.mark.parametrize(
    ("change", "disagrees"),
    [
        (_of_val, "named after scans/test, and has data of scans/val"),
        (_a_third_class, r"logits: \(3, 2\) is not \(3, 3\)"),
    ],
)
def test_where_no_cell_fits_its_data_the_data_is_named(store: Store, change, disagrees) -> None:
    for name in ("snow", "frost"):
        encoding = {**KEY.encoding, "corruption": {"name": name, "kernel": name}}
        spec = replace(KEY.spec, corruption=name)
        store.write(replace(KEY, spec=spec, encoding=encoding), ARRAYS, {})
    changed(store, "data.json", change)
    folder = store.root / "data" / DATA.fingerprint
    told = f"^{folder} is damaged: none of its 3 cells fits its data.json .*{disagrees}.*Delete"
    with pytest.raises(StoreError, match=told):
        list(Store(store.root).cells())
    shutil.rmtree(folder)
    Store(store.root).write_data(DATA)
    assert len(list(Store(store.root).cells())) == 3


def test_where_other_cells_fit_their_data_the_cell_is_named(store: Store) -> None:
    (cell,) = store.folders()
    encoding = {**KEY.encoding, "corruption": {"name": "snow", "kernel": "snow"}}
    spec = replace(KEY.spec, corruption="snow")
    store.write(replace(KEY, spec=spec, encoding=encoding), ARRAYS, {})
    changed(store, "imagenet_c.fog/*/cell.json", lambda body: body["cell"].update(split="val"))
    with pytest.raises(StoreError, match=f"^{cell} is damaged: it is named after scans/val"):
        list(Store(store.root).cells())


def test_where_one_cell_and_its_data_disagree_both_are_named(store: Store) -> None:
    (cell,) = store.folders()
    changed(store, "data.json", _of_val)
    told = f"^{cell} or its data, .*{DATA.fingerprint}, is damaged .*Delete both"
    with pytest.raises(StoreError, match=told):
        list(Store(store.root).cells())


def test_what_an_audit_adds_is_sealed_too(store: Store) -> None:
    store.write_data(replace(DATA, compared=("val",)))
    (file,) = store.root.rglob("data.json")
    file.write_bytes(file.read_bytes().replace(b'"val"', b'"vam"'))
    with pytest.raises(StoreError, match="not the one that was sealed"):
        Store(store.root).data(DATA.fingerprint)


def test_an_adapter_of_a_model_as_published_is_refused() -> None:
    key = replace(KEY, encoding={**KEY.encoding, "adapter": {}})
    config = {"adapter": {"_target_": "medrobust.adapters.NoAdapter"}}
    stated = (key.fingerprint, key.encoding_fingerprint)
    assert "adapter" in (contradiction(key, DATA, stated, config) or "")
    published = replace(key, spec=replace(key.spec, adapter="none"))
    assert contradiction(published, DATA, stated, config) is None


@pytest.mark.parametrize("name", ["config", "adaptation", "device", "seconds"])
def test_parts_of_another_type_are_refused_in_a_sentence(store: Store, name: str) -> None:
    changed(store, "cell.json", lambda body: body.update({name: [1]}))
    with pytest.raises(StoreError, match=f"{name} is \\[1\\]"):
        list(Store(store.root).cells())


def test_a_severity_is_a_whole_number(store: Store) -> None:
    changed(store, "cell.json", lambda body: body["cell"].update(severity=3.0), moved=True)
    with pytest.raises(StoreError, match=r"severity is 3\.0"):
        list(Store(store.root).cells())


@pytest.mark.parametrize("name", ["xs3-0123456789ab", ".s3-0123456789ab"])
def test_a_cell_under_another_name_is_not_passed_over(store: Store, name: str) -> None:
    (cell,) = store.folders()
    cell.rename(cell.with_name(name))
    with pytest.raises(StoreError, match="no cell has such a name"):
        list(Store(store.root).cells())


def test_what_a_process_is_writing_is_passed_over(store: Store) -> None:
    (cell,) = store.folders()
    shutil.copytree(cell, temporary_name(cell))
    assert list(store.folders()) == [cell]
