"""A store with one part of each kind, small enough to flip every bit of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from medrobust.adapters.artifact import Tuned, probe_files
from medrobust.adapters.linear_probe import Probe
from medrobust.base.findings import Finding
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.evaluation.stored_adapters import adapter_record

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


def write_small_store(root: Path) -> Path:
    store = Store(root)
    store.write_data(DATA)
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    store.write(KEY, {"logits": logits}, {"seconds": 1}, examples={"row-0.png": b"\x89PNG pixels"})
    store.write_features(FEATURES, np.ones((3, 2), np.float32))
    probe = Probe(torch.eye(2), torch.zeros(2))
    store.write_adapter(ADAPTER, probe_files({"scans": probe}, RECORD))
    return store.root


def unsealed(root: Path) -> None:
    """Make a store as release 0.1 left it."""
    for path in root.rglob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for name in ("seal", "sealed", *(["examples"] * (path.name == "cell.json"))):
            record.pop(name, None)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


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
    adapter_record(store.adapter_folder(ADAPTER))
    tuned = Tuned(str(store.adapter_folder(ADAPTER)))
    head = tuned.head("scans")
    assert features is not None
    assert head is not None
    numbers = [array.tolist() for array in (*arrays, features, head.weight, head.bias)]
    return repr((cells, facts, numbers, tuned.record, tuned.head_description("scans", ())))
