"""Stores whose models have a clean validation cell, with as much shift as a test wants."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stores import SEVEN, cell_key, data_record, write_cell

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import Store
from medrobust.readings.lookup import asked
from medrobust.reporting.from_store import report_store

MULTI_LABEL = "multi-label, binary-class"


def logits_of(labels: np.ndarray, classes: int, skill: float, seed: str) -> np.ndarray:
    """Logits whose softmax means what it says where the skill is 1: float32 (N, K)."""
    rng = np.random.default_rng(int(seed[:8], 16))
    truths = labels if labels.ndim == 2 else np.eye(classes)[labels]
    noise = rng.normal(size=(len(labels), classes))
    return (2.0 * (noise + 2 * skill * truths - (labels.ndim == 2) * skill)).astype(np.float32)


def write_validated(
    root: Path,
    *,
    models: tuple[str, ...] = ("m",),
    count: int = 300,
    val_count: int = 200,
    classes: int = 3,
    label_kind: str = "multi-class",
    fall: float = 0.15,
    patients: int | None = None,
    prompts: tuple[str, ...] = ("plain",),
    features: bool = False,
    val_labels: np.ndarray | None = None,
    corruptions: tuple[str, ...] = SEVEN[:2],
    severities: tuple[int, ...] = (1, 5),
    absent: Any = (("none",),),
) -> Store:
    """Write test and validation cells; `fall` is the skill that a severity takes."""
    store = Store(root)
    test = data_record("ward", count=count, classes=classes, label_kind=label_kind)
    val = replace(
        data_record("ward", count=val_count, classes=classes, label_kind=label_kind), split="val"
    )
    val = replace(val, fingerprint=fingerprint([val.fingerprint, "val"]))
    if val_labels is not None:
        val = replace(val, labels=val_labels)
    if patients is not None:
        test, val = (
            replace(d, groups=np.array([f"{d.split}{i // patients}" for i in range(len(d.ids))]))
            for d in (test, val)
        )
    for model in models:
        for name in prompts:
            for data, column, level in [
                (val, "clean", 0), (test, "clean", 0),
                *((test, c, s) for c in corruptions for s in severities),
            ]:  # fmt: skip
                key = cell_key(data, model, column, level, prompts=name)
                key = replace(key, spec=replace(key.spec, split=data.split))
                key = replace(
                    key, head={**key.head, "absent": absent and [list(a) for a in absent]}
                )
                skill = 1 - fall * level
                logits = logits_of(data.labels, classes, skill, key.fingerprint)
                write_cell(store, data, key, logits=logits)
                if features:
                    kept = logits_of(data.labels, classes, skill, key.fingerprint)
                    kept = np.hstack([kept, kept**2, np.ones((len(kept), 1), np.float32)])
                    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
                    store.write_features(key.encoding_fingerprint, kept.astype(np.float32))
    return store


def asked_for(words: Sequence[str]) -> dict[str, Any]:
    """Make settings of readings from words: "conformal", "conformal.alpha=0.2"."""
    chosen: dict[str, dict[str, Any]] = {}
    for word in words:
        key, _, value = word.partition("=")
        name, _, setting = key.partition(".")
        own = chosen.setdefault(name, {})
        if setting:
            own[setting] = yaml.safe_load(value)
    return asked(chosen)


def read_part(
    root: Path, readings: Sequence[str], part: str, *files: str
) -> tuple[list[list[dict[str, str]]], str]:
    """Report a store; return the rows of files, none of one that is not there, and a section.

    Args:
        root: Of the store.
        readings: As `asked_for` takes them.
        part: Name of the section.
        files: In the folder of the report.
    """
    folder = root.parent / "out"
    report_store(root, folder, interactive=False, figures=False, readings=asked_for(readings))
    page = (folder / "report.html").read_text("utf-8")
    start = page.index(f'<section aria-labelledby="{part}">')
    tables = [
        list(csv.DictReader(io.StringIO(file.read_text("utf-8")))) if file.exists() else []
        for file in (folder / name for name in files)
    ]
    return tables, page[start : page.index("</section>", start)]
