"""Random corruptions against the statistics of 48 draws of the published package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_statistics import measure, p_value, unlike

from medrobust.corruptions import corrupt

FOLDER = Path(__file__).parents[1] / "data" / "golden"
GOLDEN = FOLDER / "imagenet_c_random_stats.npz"
LEVEL = 0.01
"""Of a false alarm anywhere in CASES: corrected for their number (Bonferroni)."""

NAMES = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "glass_blur",
    "snow",
    "fog",
    "elastic_transform",
    "spatter",
]
CASES = [(name, kind, s) for name in NAMES for kind in ("rgb", "gray") for s in range(1, 6)]
CASES = [case for case in CASES if case[:2] != ("glass_blur", "gray")]
QUICK = [(name, "rgb", 2) for name in ("gaussian_noise", "snow")]
"""That the comparison works; that no pixel of the others moves is in test_contract.py."""
FROST = [(kind, severity) for kind in ("rgb", "gray") for severity in range(1, 6)]


def quick(cases, wanted):
    return [pytest.param(*c, marks=() if wanted(*c) else pytest.mark.slow) for c in cases]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        yield file


def draw(golden, name, kind, severity, count):
    image = golden[f"input/{kind}"]
    image = np.broadcast_to(image.reshape(224, 224, -1), (224, 224, 3)).transpose(2, 0, 1)
    batch = torch.from_numpy(image.copy()).expand(count, -1, -1, -1).contiguous()
    out = corrupt(batch, name, severity=severity, grey="rgb", stream="statistics")
    return measure(out.numpy(), image)


def published(golden, ours, prefix):
    """Means of the published draws, and their number."""
    single = {name for name, values in ours.items() if values.ndim == 1}
    theirs = {name: golden[prefix + name].astype(float) for name in ours}
    means = {name: t.mean(0, keepdims=True) if name in single else t for name, t in theirs.items()}
    return means, len(theirs["image_mean"])


@pytest.mark.parametrize(("name", "kind", "severity"), quick(CASES, lambda *case: case in QUICK))
def test_statistics_are_those_of_the_published_package(golden, name, kind, severity):
    ours = draw(golden, name, kind, severity, 120)
    theirs, draws = published(golden, ours, f"rnd/imagenet_c/{name}/{kind}/s{severity}/")
    p, statistic = p_value(ours, theirs, draws)
    assert p > LEVEL / len(CASES), (statistic, p)


def test_noise_that_is_two_percent_stronger_would_be_found(golden, tmp_path):
    suite = tmp_path / "stronger.yaml"
    suite.write_text("corruptions:\n  gaussian_noise: {std: 0.1224}\n")
    image = torch.from_numpy(golden["input/rgb"].transpose(2, 0, 1).copy())
    batch = image.expand(120, -1, -1, -1).contiguous()
    out = corrupt(batch, "gaussian_noise", severity=1, suite=str(suite))
    ours = measure(out.numpy(), image.numpy())
    theirs, draws = published(golden, ours, "rnd/imagenet_c/gaussian_noise/rgb/s2/")
    assert p_value(ours, theirs, draws)[0] < LEVEL / len(CASES)


@pytest.mark.parametrize(("kind", "severity"), quick(FROST, lambda *_: False))
def test_frost_is_within_15_percent_of_2000_draws_of_the_photographs(golden, kind, severity):
    ours = draw(golden, "frost", kind, severity, 480)
    with np.load(FOLDER / "frost_2000_draws.npz") as file:
        for name in ("image_mean", "changed", "pooled_msd", "residual_spectrum"):
            each = ours[name]
            found = each.mean((0, 1)) if name == "residual_spectrum" else each.mean()
            ratio = found / file[f"frost/{kind}/s{severity}/{name}"]
            assert abs(np.log(ratio)).max() < np.log(1.15), (name, ratio)


@pytest.mark.parametrize(("kind", "severity"), quick(FROST, lambda *c: c == ("rgb", 4)))
def test_frost_is_like_48_draws_of_the_photographs(golden, kind, severity):
    ours = draw(golden, "frost", kind, severity, 144)
    theirs, draws = published(golden, ours, f"rnd/imagenet_c/frost/{kind}/s{severity}/")
    assert not unlike(ours, theirs, draws)
