"""MedMNIST-C against the published package: pixels, statistics, and the tables themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_statistics import measure, p_value, unlike

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.suites import REGISTRIES, find_entry

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PIXELS = ("medmnist_c_deterministic.npz", "medmnist_c_motion_blur_224.npz")
STATISTICS = "medmnist_c_random_stats.npz"
LEVEL = 0.01
"""Of a false alarm anywhere in the statistics: corrected for the cases (Bonferroni)."""

EXACT = {"defocus_blur": 0.96, "motion_blur": 0.989, "gaussian_blur": 0.999}
"""Share of equal pixels where it is not all of them (the others differ by one grey level)."""

OURS = ("stain_deposit", "characters")
"""Whose masks and font are our own: alike, not equal."""


def keys_of(file):
    """Keys of outputs, with the key under which an equal array is kept."""
    with np.load(GOLDEN / file) as golden:
        kept = {key: key for key in golden if key.startswith(("det/", "rnd/"))}
        return kept | (dict(golden["same"].tolist()) if "same" in golden else {})


def pixel_cases():
    return [
        (file, *key.split("/")[1:], kept) for file in PIXELS for key, kept in keys_of(file).items()
    ]


def statistic_cases(*, artifacts):
    """All (flag, corruption, kind, severity) that differ; of each artifact one is not slow.

    Of the kernels that ImageNet-C has too, test_random_statistics asks by default.
    """
    kept = [key.split("/")[1:] for key, kept in keys_of(STATISTICS).items() if key == kept]
    known = dict.fromkeys(tuple(key[:4]) for key in kept if (key[1] in OURS) == artifacts)
    ends = ("dermamnist", "s1"), ("chestmnist", "s5"), ("retinamnist", "s5"), ("pathmnist", "s3")
    quick = {case[1]: case for end in ends for case in known if (case[0], case[3]) == end}
    return [
        pytest.param(case, marks=() if artifacts and case in quick.values() else pytest.mark.slow)
        for case in known
    ]


class Golden:
    """Arrays of the golden files, each read once."""

    def __init__(self):
        self.files = {file: np.load(GOLDEN / file) for file in (*PIXELS, STATISTICS)}
        self.read = {}

    def __call__(self, file, key):
        if (file, key) not in self.read:
            self.read[file, key] = self.files[file][key]
        return self.read[file, key]


@pytest.fixture(scope="module")
def golden():
    return Golden()


def as_batch(image):
    return torch.from_numpy(image.reshape(*image.shape[:2], -1).transpose(2, 0, 1).copy())[None]


def test_pixels_are_those_of_the_published_package(golden):
    seen = set()
    for file, flag, label, kind, level, kept in pixel_cases():
        name, _, angle = label.partition("@")
        draws = {"angle": torch.tensor([float(angle)])} if angle else None
        image = as_batch(golden(file, f"input/{kind}"))
        out = corrupt(image, name, severity=int(level[1]), suite=flag, draws=draws)
        off = (out.int() - as_batch(golden(file, kept)).int()).abs()
        case = f"{flag} {label} {level}"
        assert float((off <= 1).double().mean()) >= 0.9999, case
        assert float((off == 0).double().mean()) >= EXACT.get(name, 1.0), case
        seen.add((flag, name))
    random = {tuple(key.split("/")[1:3]) for key in keys_of(STATISTICS)}
    assert seen | random >= {(flag, name) for flag in REGISTRIES for name in suites(flag)}


def draw(golden, case, count):
    flag, name, kind, level = case
    image = as_batch(golden(STATISTICS, f"input/{kind}"))
    batch = image.expand(count, -1, -1, -1).contiguous()
    out = corrupt(batch, name, severity=int(level[1]), suite=flag)
    ours = measure(out.expand(-1, 3, -1, -1).numpy(), image[0].expand(3, -1, -1).numpy())
    prefix = "/".join(["rnd", *case, ""])
    return ours, {key: golden(STATISTICS, prefix + key).astype(float) for key in ours}


@pytest.mark.parametrize("case", statistic_cases(artifacts=False), ids="-".join)
def test_random_kernels_have_the_published_statistics(golden, case):
    ours, theirs = draw(golden, case, 120)
    single = {name for name, values in ours.items() if values.ndim == 1}
    means = {name: t.mean(0, keepdims=True) if name in single else t for name, t in theirs.items()}
    p, statistic = p_value(ours, means, len(theirs["image_mean"]))
    assert p > LEVEL / len(statistic_cases(artifacts=False)), (statistic, p)


@pytest.mark.parametrize("case", statistic_cases(artifacts=True), ids="-".join)
def test_artifacts_resemble_the_published_ones(golden, case):
    ours, theirs = draw(golden, case, 144)
    assert not unlike(ours, theirs, len(theirs["image_mean"]))


def test_sets_with_equal_published_output_have_equal_parameters():
    for file in (PIXELS[0], STATISTICS):
        for key, kept in keys_of(file).items():
            mine, other = key.split("/")[1:5], kept.split("/")[1:5]
            if mine[:2] == other[:2] or mine[1] != other[1]:
                continue
            name, level = mine[1].partition("@")[0], int(mine[3][1])
            first, second = find_entry(mine[0], name), find_entry(other[0], name)
            assert first.kernel == second.kernel
            assert first.parameters(level) == second.parameters(int(other[3][1])), (key, kept)


def test_motion_blur_longer_than_the_image_keeps_its_brightness():
    """ImageMagick repeats the edge; imagecorruptions drops such taps, which darkens."""
    row = np.arange(28) * 9
    image = torch.from_numpy(np.tile(row, (28, 1)).astype(np.uint8))[None, None]
    draws = {"angle": torch.tensor([0.0])}
    out = corrupt(image, "motion_blur", severity=5, suite="retinamnist", draws=draws)
    tail = np.exp(-(np.arange(41) ** 2) / (2 * 15**2))
    reach = np.minimum(np.arange(28)[:, None] + np.arange(41), 27)
    expected = (row[reach] * tail / tail.sum()).sum(1)
    assert abs(out[0, 0, 9].numpy() - np.floor(expected + 1e-6)).max() <= 1
    flat = torch.full((1, 1, 28, 28), 200, dtype=torch.uint8)
    kept = corrupt(flat, "motion_blur", severity=5, suite="retinamnist", draws=draws)
    assert torch.equal(kept, flat)
    assert int(corrupt(flat, "motion_blur", severity=5, draws=draws).max()) < 200
