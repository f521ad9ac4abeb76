"""Artifacts of magnetic resonance against outputs of TorchIO 1.2.1 and MONAI 1.6.1, stored."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medrobust.corruptions import elastic, mri, mri_motion, mri_sampling

FILE = Path(__file__).parents[1] / "data" / "mri_packages" / "outputs.npz"


@pytest.fixture(scope="module")
def stored():
    with np.load(FILE) as file:
        return {name: file[name].astype(np.float64) for name in file}


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosting_is_torchios(stored, axis):
    found = mri.ghosted(stored["even"], 4, 0.6, axis)
    assert np.abs(found - stored[f"ghosting_{axis}"]).max() < 1e-3


def test_a_spike_is_torchios(stored):
    assert np.abs(mri.striped(stored["even"], 0.5, (7, 20)) - stored["spike"]).max() < 1e-3


def test_the_bias_field_is_torchios(stored):
    field = mri.field_of(stored["coefficients"], 3, stored["even"].shape)
    assert np.abs(stored["even"] * field - stored["bias_field"]).max() < 1e-3


def test_motion_is_torchios(stored):
    path = 0.5 + np.array([[0, 6 / 60, 2 / 48, 0], [0, -6 / 60, -2 / 48, 0]]) / 0.4
    found = mri_motion.moved(stored["even"], 0, 0.2, 1, path)
    assert np.abs(found - stored["mr_motion"]).max() < 1e-3


@pytest.mark.parametrize("axis", [0, 1])
def test_anisotropy_is_torchios_but_for_what_that_makes_black_at_the_border(stored, axis):
    lines, theirs = (np.moveaxis(stored[k], axis, 0) for k in ("even", f"anisotropy_{axis}"))
    before, behind, weight = mri_sampling.neighbours(len(lines), 3.3)
    found = lines[before] + (lines[behind] - lines[before]) * weight[:, None]
    assert np.abs(found - theirs)[2:-2].max() < 1e-3


def test_gibbs_is_monais_where_sides_are_odd(stored):
    """MONAI lays its disk about (N - 1) / 2, which is the zero frequency where N is odd."""
    odd = stored["odd"]
    kept = mri.disk(odd.shape, 0.6)
    found = mri.low_pass(odd, kept)
    assert np.abs(found - stored["gibbs"]).max() < 1e-3


def test_the_elastic_deformation_is_itks(stored):
    plane, moves = stored["even"], stored["elastic_moves"]
    down, across = (elastic.spline_weights(side, 7) for side in plane.shape)
    found = elastic.read_from(plane, *(down @ moves[..., k] @ across.T for k in (0, 1)))
    assert np.abs(found - stored["elastic"]).max() < 1e-3
    grid = np.zeros((1, 2, 7, 7))
    for k, side in enumerate(plane.shape):
        grid[0, k] = (moves[..., k] / (side * 0.2) + 1) / 2
    images = torch.from_numpy(plane.astype(np.uint8))[None, None]
    drawn = torch.from_numpy(grid.reshape(1, -1))
    out = elastic.bspline_deformation(images, 0.2, grid=drawn)
    assert np.array_equal(out[0, 0].numpy(), np.rint(found).astype(np.uint8))
