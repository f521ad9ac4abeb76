"""Coarse axes and missing lines against sums by hand over pixels and over the spectrum."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import mri_sampling
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key


def plane(shape=(60, 44)):
    return np.random.default_rng(4).integers(0, 256, shape).astype(np.float64)


def as_batch(values):
    return torch.from_numpy(values.astype(np.uint8))[None, None]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [1.5, 2, 3.7])
def test_a_coarse_axis_is_drawn_from_pixels_that_far_apart(axis, factor):
    values = plane()
    out = mri_sampling.anisotropy(as_batch(values), factor, axis=torch.tensor([[axis]]))
    lines = np.moveaxis(values, axis, 0)
    count = int(len(lines) // factor)
    first = (len(lines) - 1 - (count - 1) * factor) / 2
    at = np.floor(first + factor * np.arange(count) + 0.5).astype(int)
    places = (np.arange(len(lines)) - first) / factor
    expected = np.stack(
        [np.interp(places, np.arange(count), column) for column in lines[at].T], axis=1
    )
    found = np.moveaxis(out[0, 0].numpy(), axis, 0)
    assert np.abs(found - expected).max() <= 0.5 + 1e-9


def test_ramps_stay_ramps_and_a_factor_below_one_is_refused():
    ramp = np.tile(np.arange(60.0) * 4, (40, 1))
    out = mri_sampling.anisotropy(as_batch(ramp), 5, axis=torch.tensor([[1]]))[0, 0].numpy()
    assert np.abs(out - ramp)[:, 3:-3].max() <= 0.5
    with pytest.raises(ConfigurationError, match=r"factor=0\.5 is below 1"):
        mri_sampling.anisotropy(as_batch(ramp), 0.5, axis=torch.tensor([[1]]))


@pytest.mark.parametrize("axis", [0, 1])
def test_missing_lines_are_zeros_of_the_centred_spectrum(axis):
    values = plane()
    order = torch.from_numpy(np.random.default_rng(1).permutation(60))[None]
    out = mri_sampling.undersampling(
        as_batch(values), 3, 0.1, axis=torch.tensor([[axis]]), lines=order
    )
    side = values.shape[axis]
    spectrum = np.moveaxis(np.fft.fftshift(np.fft.fft2(values)), axis, 0).copy()
    kept = mri_sampling.kept_lines(order[0, :side].numpy(), 3, 0.1)
    spectrum[~kept] = 0
    magnitude = np.abs(np.fft.ifft2(np.fft.ifftshift(np.moveaxis(spectrum, 0, axis))))
    assert np.abs(out[0, 0].numpy() - magnitude.clip(0, 255)).max() <= 0.5 + 1e-9


def test_every_other_line_folds_the_picture_onto_itself():
    values = np.zeros((40, 32))
    values[4:14, 5:20] = plane((10, 15))
    order = torch.arange(40)[None] % 2 * 100  # even ones first; the centre is line 20
    out = mri_sampling.undersampling(
        as_batch(values), 2, 1 / 40, axis=torch.tensor([[0]]), lines=order
    )
    folded = (values + np.roll(values, 20, axis=0)) / 2
    assert np.abs(out[0, 0].numpy() - folded).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("acceleration", [2, 4, 8])
def test_as_many_lines_are_kept_as_were_asked_for_the_centre_always(acceleration):
    words = Draws(derive_key(0, "", "u", 1), torch.arange(200)).words(224).numpy()
    kept = np.stack([mri_sampling.kept_lines(row, acceleration, 0.08) for row in words])
    assert set(kept.sum(axis=1)) == {224 // acceleration}
    assert kept[:, 112 - 9 : 112 + 9].all()
    outside = kept[:, :90].mean()
    assert outside == pytest.approx((224 / acceleration - 18) / (224 - 18), abs=0.01)
