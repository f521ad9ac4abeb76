"""A store of a planted model on drawn discs, with the measures of the images that it saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from stores import cell_key, data_record, write_cell

from medrobust.corruptions import corrupt
from medrobust.evaluation.store import CellKey, Store
from medrobust.quality import ImageQuality, measure

MEASURES = ["noise_sigma", "laplacian_variance", "sharpness", "brightness"]
COUNT, SIZE = 480, 64
CONDITIONS = [
    ("clean", 0), ("gaussian_noise", 1), ("gaussian_noise", 3), ("gaussian_noise", 5),
    ("contrast", 5),
]  # fmt: skip
RISK = {0: 0.02, 1: 0.05, 3: 0.3, 5: 0.6}
"""Severity -> how often the planted answers are wrong."""


def pictures(seed: int, count: int = COUNT) -> torch.Tensor:
    """Draw discs on gradients, with a little noise: uint8 (N, 1, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    drawn = []
    for _ in range(count):
        cx, cy, r = *rng.uniform(20, 44, 2), rng.uniform(8, 18)
        plane = 70 + x * rng.uniform(0.2, 0.8) + 60 * (np.hypot(x - cx, y - cy) < r)
        drawn.append((plane + rng.normal(size=plane.shape) * rng.uniform(1.5, 3)).clip(0, 255))
    return torch.from_numpy(np.array(drawn).astype(np.uint8))[:, None]


def shown(clean: torch.Tensor, name: str, severity: int) -> torch.Tensor:
    rows = torch.arange(len(clean))
    return corrupt(clean, name, severity=severity, index=rows) if severity else clean


def make_store(folder: Path, split: str, seed: int, *, wrong: bool = True) -> Store:
    """Write cells of a planted model and of the images that it saw."""
    store, clean = Store(folder), pictures(seed)
    groups = np.array([f"patient {row // 2}" for row in range(COUNT)])
    data = data_record(f"discs{seed}", count=COUNT, groups=groups)
    data = replace(data, name="discs", split=split)
    rng = np.random.default_rng(seed)
    for name, severity in CONDITIONS:
        key = cell_key(data, "planted", name, severity)
        key = CellKey(replace(key.spec, split=split), key.encoding, key.head, key.data)
        logits = 4 * np.eye(3, dtype=np.float32)[data.labels]
        missed = rng.random(COUNT) < RISK[severity] * wrong
        logits[missed] = np.roll(logits[missed], 1, axis=1)
        write_cell(store, data, key, logits=logits)
        of_images = {"images": {"size": [SIZE, SIZE], "channels": 1}}
        encoding = {**of_images, "data": data.fingerprint, "corruption": key.encoding["corruption"]}
        spec, head = replace(key.spec, model="images"), ImageQuality(MEASURES).head
        own = CellKey(spec, encoding, head, key.data)
        found = measure(shown(clean, name, severity), MEASURES)
        columns = np.stack([found[m].numpy() for m in MEASURES], axis=1)
        store.write(own, {"measures": columns}, {"config": {}, "versions": {}, "device": "cpu"})
    return store
