"""Write what piq 0.8.0 finds for two made-up images and a made-up regression of BRISQUE.

    python tests/data/brisque/make.py

Needs piq, which medrobust does not: run it where piq is installed. The images are black at their
borders, beyond which piq sees zeros and the authors' program repeats pixels: there both agree.
"""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

HERE = Path(__file__).parent


def pictures() -> np.ndarray:
    """Draw colour images with a black border, uint8 (2, 3, 120, 104)."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:88, :72] / 9.0
    waves = np.sin(x)[None] * np.cos(y * np.array([0.5, 1.0, 1.5])[:, None, None])
    inner = 128 + 70 * waves[None] + rng.normal(size=(2, 3, 88, 72)) * [[[[4]]], [[[25]]]]
    out = np.zeros((2, 3, 120, 104), np.uint8)
    out[:, :, 16:-16, 16:-16] = inner.clip(1, 255).astype(np.uint8)
    return out


def regression() -> tuple[np.ndarray, np.ndarray]:
    """Draw support vectors (5, 36) and their weights (5,)."""
    rng = np.random.default_rng(12)
    return rng.uniform(-1, 1, (5, 36)), rng.normal(size=5) * 100


def main() -> None:
    """Write limits, features and scores."""
    import sys

    from piq.brisque import brisque  # the module has a function of its name

    module = sys.modules["piq.brisque"]
    zero, one = (module._scale_features(torch.full((36,), v).double()) for v in (0.0, 1.0))
    slope = one - zero
    low, high = (-1 - zero) / slope, (1 - zero) / slope
    vectors, weights = (torch.from_numpy(a) for a in regression())
    seen = []

    def kept(features: torch.Tensor) -> torch.Tensor:
        seen.append(features)
        return scale(features)

    scale = module._scale_features
    stub = lambda *a, **k: (weights[:, None].clone(), vectors.clone())  # noqa: E731
    with patch.object(module, "load_url", stub), patch.object(module, "_scale_features", kept):
        images = torch.from_numpy(pictures()).double()
        scores = brisque(images, data_range=255, reduction="none").flatten()
    found = {
        "low": [round(float(v), 9) for v in low],
        "high": [round(float(v), 9) for v in high],
        "features": seen[0].tolist(),
        "scores": scores.tolist(),
    }
    (HERE / "expected.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
