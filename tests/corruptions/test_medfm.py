"""Perturbations of MedFM-Robust: their formulas, what they draw, and the faults that are kept."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medrobust.corruptions import Suite, corrupt, suites
from medrobust.corruptions.medfm import UNIFORMS, medfm
from medrobust.corruptions.modality import MEDFM
from medrobust.corruptions.shell import run_kernel
from medrobust.corruptions.suites import find_entry

NAMES = [
    *(("medfm_robust", name) for name in ("motion_blur", "brightness_contrast")),
    *((suite, name) for suite in MEDFM.values() for name in suites(suite)),
]
SIZE = (64, 52)


def picture(channels: int = 3, count: int = 4) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, s) for s in SIZE), indexing="ij")
    turn = torch.arange(count)[:, None, None, None] + torch.arange(channels)[:, None, None]
    body = 120 + 60 * torch.sin(7 * x + 4 * y + turn) * torch.cos(5 * y - turn)
    return body.clamp(20, 220).to(torch.uint8)


def perturbed(plane: np.ndarray, kind: str, *, at: float = 0.5, **options: Any) -> np.ndarray:
    height, width = plane.shape
    drawn: Any = {
        "place": torch.full((1, UNIFORMS + 2 * height), at),
        "noise": torch.zeros(1, height, width),
    }
    images = torch.from_numpy(plane.astype(np.uint8))[None, None]
    return medfm(images, kind, **options, **drawn)[0, 0].numpy().astype(float)


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_each_has_its_own_draws_a_form_for_grey_and_harsher_levels(suite: str, name: str) -> None:
    images, rows = picture(), torch.tensor([3, 2**40 + 7, 11, 4])
    whole = corrupt(images, name, severity=5, suite=suite, index=rows)
    alone = corrupt(images[1:2], name, severity=5, suite=suite, index=rows[1:2])
    assert torch.equal(alone[0], whole[1])
    grey = picture(1)
    one = corrupt(grey, name, severity=5, suite=suite, index=rows)
    three = corrupt(grey.expand(-1, 3, -1, -1), name, severity=5, suite=suite, index=rows)
    assert torch.equal(three, one.expand(-1, 3, -1, -1))
    entry, many = find_entry(suite, name), torch.arange(4)
    mild, harsh = (
        run_kernel(images, entry.kernel, entry.parameters(s), key=(1, 2), rows=many).double()
        for s in (1, 5)
    )
    assert (harsh - images).abs().mean() > (mild - images).abs().mean() > 0


PLANE = picture(1, 1)[0, 0].numpy().astype(float)


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether whole grey values are those nearest to the expected ones, ties either way."""
    return bool(np.abs(found - expected).max() <= 0.5 + 1e-9)


def test_formulas_without_draws_are_as_written() -> None:
    assert near(perturbed(PLANE, "exposure", strength=0.4), PLANE * 0.4)
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    far = np.hypot(y - 32, x - 26)
    cup = PLANE * (1 - 0.3 * (far / np.hypot(32, 26)) ** 2)
    assert near(perturbed(PLANE, "ct_cupping", level=3), cup)
    dark = PLANE * (1 - 0.4 * far / 26).clip(0, 1)
    assert near(perturbed(PLANE, "skin_vignette", level=4), dark)
    middle = (PLANE - 127.5) / 0.75 + 127.5
    assert near(perturbed(PLANE, "window", strength=0.5), middle.clip(0, 255))
    veil = PLANE + 0.3 * gaussian_filter(PLANE, 30)
    assert near(perturbed(PLANE, "xray_veil", strength=0.3), veil.clip(0, 255))
    ghosts = PLANE + 0.2 * gaussian_filter(np.roll(PLANE, 32, 0), 0.3)
    ghosts += 0.2 / 2**0.8 * gaussian_filter(PLANE, 0.4)
    ghosts = (ghosts - ghosts.min()) / np.ptp(ghosts) * np.ptp(PLANE) + PLANE.min()
    assert np.array_equal(
        perturbed(PLANE, "mr_roll_ghosts", strength=0.2, level=1), np.rint(ghosts)
    )
    shadow = perturbed(np.full(SIZE, 200.0), "us_shadow", strength=0.8)
    assert shadow[:24].min() == 200
    assert shadow[-1, 26] == pytest.approx(200 * (1 - 0.8 * (1 - np.exp(-3 * 39 / 40))), abs=0.5)


def test_rows_of_k_space_are_moved_and_by_the_published_phases_they_are_not() -> None:
    drawn = torch.rand(1, UNIFORMS + 2 * SIZE[0], generator=torch.Generator().manual_seed(3))
    images = torch.from_numpy(PLANE.astype(np.uint8))[None, None]
    given: Any = {"place": drawn, "noise": torch.zeros(1, *SIZE)}
    found = medfm(images, "mr_line_motion", 30, 80, **given)[0, 0].numpy()
    free = np.array([*range(31), *range(33, 64)])
    lines = free[np.argsort(drawn[0, :62].numpy(), kind="stable")[:51]]
    moves = np.zeros(64)
    moves[lines] = 30 * (2 * drawn[0, 64 : 64 + 51].numpy() - 1)
    moves = np.fft.ifftshift(gaussian_filter(moves, 0.5))  # from the middle to the first row
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(52) * moves[:, None])
    expected = np.abs(
        np.fft.ifft2(np.fft.fft2(PLANE) * np.where(abs(moves)[:, None] > 0.01, ramp, 1))
    )
    expected = (expected - expected.min()) / np.ptp(expected) * np.ptp(PLANE) + PLANE.min()
    assert np.abs(found - expected).max() <= 0.51
    published = medfm(images, "mr_line_motion", 30, 80, published=True, **given)[0, 0].numpy()
    assert np.abs(published - expected).mean() > 5


def test_a_saved_picture_of_the_benchmark_is_stretched_and_shows_no_underexposure() -> None:
    whole = np.floor((PLANE - PLANE.min()) * 255 / np.ptp(PLANE))
    for factor in (0.85, 0.25):
        found = perturbed(PLANE, "exposure", strength=factor, published=True)
        assert np.abs(found - whole).max() <= 1
    assert perturbed(PLANE, "exposure", strength=0.25).max() <= 55


def test_the_suite_has_a_second_block_for_the_device_of_the_data_set() -> None:
    basic = [(one.suite, one.name) for one in Suite("medfm_robust").expand(None, "")]
    assert [suite for suite, _ in basic] == ["medfm_robust"] * 11
    skin = [(one.suite, one.name) for one in Suite("medfm_robust").expand(None, "dermoscopy")]
    assert skin[:11] == basic
    assert skin[11:] == [
        ("medfm_robust_dermatoscopy", name)
        for name in ("dermoscopy_artifacts", "light_reflection", "hair_artifacts")
    ]
    assert sum(len(suites(suite)) for suite in MEDFM.values()) == 28
