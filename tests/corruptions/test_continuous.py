"""Severities between the published ones: equal to them at whole numbers, and harmless near 0."""

import re
from pathlib import Path

import pytest
import torch

from medrobust.corruptions import Corruption, Equalisation, corrupt
from medrobust.corruptions.continuous import (
    HARMLESS,
    ContinuousCorruption,
    Level,
    corrupt_at,
    parameters_at,
)
from medrobust.corruptions.modality import PHYSICS
from medrobust.corruptions.shell import run_kernel
from medrobust.corruptions.suites import REGISTRIES, find_entry, load_suite, suites
from medrobust.exceptions import ConfigurationError

ENTRIES = [
    (suite, name)
    for suite in ("imagenet_c", *REGISTRIES, *PHYSICS.values())
    for name, entry in load_suite(suite).items()
    if entry.kernel in HARMLESS
]


def test_the_page_lists_the_kernels_without_severities_in_between() -> None:
    page = Path(__file__).parents[2] / "docs" / "corruptions.md"
    (line,) = (
        one
        for one in page.read_text(encoding="utf-8").splitlines()
        if one.startswith("- No severities in between have")
    )
    listed = set(re.findall(r"`(\w+)`", line))
    used = {entry.kernel for suite in suites() for entry in load_suite(suite).values()}
    without = {"medfm_" if one.startswith("medfm_") else one for one in used - HARMLESS.keys()}
    assert listed == without


def picture() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    disc = 90 * ((x - 30) ** 2 + (y - 20) ** 2 < 150)
    return (60 + x + disc).to(torch.uint8).expand(1, 3, 48, 64).contiguous()


@pytest.mark.parametrize(("suite", "name"), ENTRIES, ids="/".join)
def test_parameters_are_published_at_whole_severities_and_between_them_in_between(suite, name):
    entry = find_entry(suite, name)
    for level in (1, 3, 5):
        assert parameters_at(entry, level) == entry.parameters(level)
    low, between, high = (parameters_at(entry, at) for at in (2, 2.5, 3))
    for key, value in between.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert min(low[key], high[key]) <= value <= max(low[key], high[key]) + 0.5


@pytest.mark.parametrize(
    ("suite", "name"), [e for e in ENTRIES if e[0] in PHYSICS.values()], ids="/".join
)
def test_artifacts_of_devices_are_nothing_at_severity_zero(suite, name):
    entry = find_entry(suite, name)
    parameters = entry.parameters(1) | HARMLESS[entry.kernel]
    out = run_kernel(picture(), entry.kernel, parameters, key=(1, 2), rows=torch.tensor([3]))
    assert torch.equal(out, picture())


@pytest.mark.parametrize("name", [n for s, n in ENTRIES if s == "imagenet_c"])
def test_pixels_are_published_at_whole_severities_and_clean_near_zero(name):
    clean, rows = picture(), torch.tensor([7])
    given = (Corruption(name), clean)
    published = corrupt(clean, name, severity=4, seed=3, stream="a/val", index=rows)
    assert torch.equal(corrupt_at(*given, 4, keyed=(3, "a/val", 4), index=rows), published)
    little = corrupt_at(*given, 1 / 64, keyed=(3, "a/val", 4), index=rows)
    apart = [(one.int() - clean.int()).abs().float().mean() for one in (little, published)]
    assert apart[0] < 0.2 * apart[1]


def test_a_moved_level_has_its_parameters_in_its_identity_and_a_suite_of_its_own():
    levels = (Level(1, 0.5, 0.9, (0.9,) * 5), Level(2, 1.0, 0.8, (0.8,) * 5))
    column = ContinuousCorruption(Corruption("gaussian_noise"), levels)
    assert (column.name, column.suite) == ("gaussian_noise", "imagenet_c@ssim")
    identity = column.identity(1)
    assert identity["parameters"] == {"std": pytest.approx(0.04)}
    assert identity != column.identity(2)
    clean, rows = picture(), torch.tensor([7])
    own = column(clean, severity=2, seed=1, stream="a/test", index=rows)
    keyed = corrupt_at(Corruption("gaussian_noise"), clean, 1, keyed=(1, "a/test", 2), index=rows)
    assert torch.equal(own, keyed)


def test_what_has_no_severities_in_between_and_targets_that_cannot_be_are_refused():
    with pytest.raises(ConfigurationError, match="no severities between the published ones"):
        parameters_at(find_entry("imagenet_c", "snow"), 2.5)
    with pytest.raises(ConfigurationError, match="not above 0 and at most 5"):
        parameters_at(find_entry("imagenet_c", "fog"), 0)
    for targets in ([0.9, 0.8], [0.9, 0.95, 0.8, 0.7, 0.6], [1.0, 0.8, 0.7, 0.6, 0.5]):
        with pytest.raises(ConfigurationError, match="five SSIM between 1 and 0, falling"):
            Equalisation(targets)
    with pytest.raises(ConfigurationError, match="must be 2 or more"):
        Equalisation([0.9, 0.8, 0.7, 0.6, 0.5], images=1)
