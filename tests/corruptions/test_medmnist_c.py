"""MedMNIST-C against the published package: pixels, statistics, and the tables themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_statistics import measure
from scipy.stats import t as student

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.suites import REGISTRIES, find_entry

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PIXELS = ("medmnist_c_deterministic.npz", "medmnist_c_motion_blur_224.npz")
STATISTICS = "medmnist_c_random_stats.npz"
LEVEL = 0.01
"""Of a false alarm of one test case; corrected (Bonferroni) for the numbers compared in it."""

EXACT = {"defocus_blur": 0.96, "motion_blur": 0.989, "gaussian_blur": 0.999}
"""Share of equal pixels where it is not all of them (the others differ by one grey level)."""

OURS = ("stain_deposit", "characters")
"""Whose masks and font are our own: alike, not equal."""


SHAPE = {"bubble": 12, "stain_deposit": 10, "characters": 3}
"""Of the 12 bands of the spectrum, those that are within 15 %: they hold over 98 % of the power."""


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
    """All (flag, corruption, kind, severity) that differ; of each corruption some are not slow."""
    kept = [key.split("/")[1:] for key, kept in keys_of(STATISTICS).items() if key == kept]
    quick = {("dermamnist", "s1"), ("chestmnist", "s5"), ("retinamnist", "s5"), ("pathmnist", "s3")}
    return [
        pytest.param(case, marks=() if (case[0], case[3]) in quick else pytest.mark.slow)
        for case in dict.fromkeys(tuple(key[:4]) for key in kept)
        if (case[1] in (*OURS, "bubble")) == artifacts
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
    count = 24
    ours, theirs = draw(golden, case, count)
    for name, values in ours.items():
        expected = theirs[name]
        draws = len(expected) if values.ndim == 1 else 48
        own = values.var(0, ddof=1)
        other = expected.var(ddof=1) if values.ndim == 1 else own
        error = np.sqrt(own / count + other / draws)
        off = np.abs(values.mean(0) - (expected.mean() if values.ndim == 1 else expected))
        limit = student.isf(LEVEL / 2 / len(ours) / off.size, count - 1)
        assert (off <= limit * error + 1e-6 * np.abs(expected).max()).all(), name


@pytest.mark.parametrize("case", statistic_cases(artifacts=True), ids="-".join)
def test_artifacts_resemble_the_published_ones(golden, case):
    """Within 15 %, beyond two standard errors of the 48 published draws."""
    ours, theirs = draw(golden, case, 96)
    spread = 2 * theirs["image_mae"].std(ddof=1) / np.sqrt(48) / theirs["image_mae"].mean()
    ratio = {
        "mean": ours["image_mean"].mean() / theirs["image_mean"].mean(),
        "msd": ours["pooled_msd"].mean() / theirs["pooled_msd"].mean(),
        "changed": ours["changed"].mean() / theirs["changed"].mean(),
    }
    for name, value in ratio.items():
        assert abs(np.log(value)) <= np.log(1.15) + spread, (name, value)
    shape = ours["residual_spectrum"].mean((0, 1)) / theirs["residual_spectrum"].mean(0)
    shape /= ratio["msd"]
    assert (np.abs(np.log(shape[: SHAPE[case[1]]])) <= np.log(1.15) + spread).all(), shape
    assert (np.abs(np.log(shape)) <= np.log(1.8)).all(), shape


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
