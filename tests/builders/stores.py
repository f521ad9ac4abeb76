"""Synthetic stores: random logits in the layout that runs write, for reporting and metrics."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from medrobust.base.findings import read_finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import CellKey, CellSpec, Store

SEVEN = (
    "gaussian_noise",
    "impulse_noise",
    "motion_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
)
CONFIG = {"dataset": {"name": "toy"}, "seed": 0, "severity": {"levels": [1, 2, 3, 4, 5]}}
VERSIONS = {"python": "3.11", "medrobust": "0.1.0", "torch": "2.6"}


def data_record(
    name="toy",
    *,
    classes=3,
    count=60,
    label_kind="multi-class",
    origin="public",
    groups=None,
    marks=(),
):
    rng = np.random.default_rng(count + classes)
    labels = np.arange(count) % classes
    if label_kind == "multi-label, binary-class":
        labels = (rng.random((count, classes)) < 0.3).astype(np.int64)
    return SplitFacts(
        fingerprint=fingerprint([name, classes, count, label_kind]),
        name=name,
        split="test",
        label_kind=label_kind,
        class_names=tuple(f"class {k}" for k in range(classes)),
        labels=labels.astype(np.int64),
        ids=np.array([f"{name}/{i}" for i in range(count)]),
        groups=groups,
        positive=0 if label_kind == "binary-class" else None,
        origin=origin,
        license="CC BY 4.0",
        findings=tuple(map(read_finding, marks)),
    )


def cell_key(data, model, corruption="clean", severity=0, *, seed=None, adapter="none", **more):
    prompts = more.pop("prompts", "plain")
    head = {"kind": "zero_shot", "name": prompts, "texts": [[prompts]], "absent": None}
    encoding = {
        "weights": fingerprint(model),
        "adapter": adapter,
        "data": data.fingerprint,
        "corruption": {"name": corruption, "severity": severity},
        **more,
    }
    if seed is not None:
        encoding |= {"seed": seed, "stream": f"{data.name}/test"}
    suite = "imagenet_c" if severity else "none"
    spec = CellSpec(model, adapter, data.name, "test", suite, corruption, severity, seed)
    return CellKey(spec, encoding, head, data.fingerprint)


def random_logits(data, key, skill):
    """Logits whose margin falls with severity: the same for the same cell."""
    rng = np.random.default_rng(int(key.fingerprint[:8], 16))
    labels = data.labels if data.labels.ndim == 2 else np.eye(len(data.class_names))[data.labels]
    strength = skill * (1 - 0.14 * key.spec.severity)
    return (rng.normal(size=labels.shape) + strength * (2 * labels - 1)).astype(np.float32)


@lru_cache
def example_png(severity, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:224, :224]
    disc = 60 + 120 * (np.hypot(x - 112, y - 112) < 70)
    image = disc[..., None] + np.array([40, 0, 20]) + rng.normal(size=(224, 224, 3)) * 12 * severity
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_cell(store, data, key, *, skill=1.0, logits=None, examples=False):
    store.write_data(data)
    record = {
        "status": "done",
        "seconds": 0.5,
        "config": CONFIG,
        "versions": VERSIONS,
        "device": "cpu",
        "load_report": {"source": "local", "license": "MIT", "used": 12, "dropped": {}},
    }
    pictures = {"row-0.png": example_png(key.spec.severity)} if examples else None
    values = random_logits(data, key, skill) if logits is None else logits
    store.write(key, {"logits": values}, record, examples=pictures)
    return store.read(key.spec, key.fingerprint)


def write_matrix(
    root, data, models, *, corruptions=SEVEN, severities=(1, 2, 3, 4, 5), examples=False, seed=0
):
    """Write clean and all cells of each model (name -> skill); return (store, cells in order)."""
    store, cells = Store(root), []
    for model, skill in models.items():
        keys = [cell_key(data, model)]
        keys += [
            cell_key(data, model, corruption, severity, seed=seed)
            for corruption in corruptions
            for severity in severities
        ]
        cells += [write_cell(store, data, key, skill=skill, examples=examples) for key in keys]
    return store, cells
