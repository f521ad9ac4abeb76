"""The relief of water on the lens against OpenCV: the same bits."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medrobust.corruptions.suites import find_entry
from medrobust.corruptions.water_numba import relief_of

pytestmark = pytest.mark.skipif(
    not cv2.ipp.useIPP(), reason="without Intel's library OpenCV rounds distances otherwise"
)
WATER = [find_entry("imagenet_c", "spatter").parameters(severity) for severity in (1, 2, 3)]


def liquid(count, shape, settings):
    """Smoothed fields as a severity has them."""
    values = np.random.default_rng(sum(shape)).normal(size=(count, *shape))
    fields = settings["mean"] + settings["std"] * values
    sigmas = (0, settings["sigma"], settings["sigma"])
    return gaussian_filter(fields, sigmas, mode="nearest").astype(np.float32)


def published(field, threshold, strength):
    """The recipe of the reference, by OpenCV."""
    drops = np.where(field < threshold, np.float32(0), field * np.float32(255)).astype(np.uint8)
    relief = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    relief = cv2.blur(np.minimum(relief, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    relief = cv2.blur(cv2.filter2D(cv2.equalizeHist(relief), cv2.CV_8U, emboss), (3, 3))
    height = drops.astype(np.float32) * relief
    return height * np.float32(strength / max(float(height.max()), 1.0))


def reliefs(fields, threshold, strength):
    out = np.empty_like(fields)
    relief_of(fields, out, 0, len(fields), threshold, strength)
    return out


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (45, 97), (224, 224)])
@pytest.mark.parametrize("severity", [1, 2, 3])
def test_drops_of_the_suite_are_those_of_opencv(severity, shape):
    settings = WATER[severity - 1]
    fields = liquid(12, shape, settings)
    for shift in (-0.04, 0, 0.04):
        threshold = np.float32(settings["threshold"] + shift)
        found = reliefs(fields, threshold, settings["strength"])
        expected = [published(field, threshold, settings["strength"]) for field in fields]
        assert np.array_equal(found, expected)
        assert found.any()


@pytest.mark.parametrize("share", [0, 1e-4, 1e-3, 0.01, 0.3, 0.5, 1])
def test_drops_of_any_density_are_those_of_opencv(share):
    fields = np.random.default_rng(3).random((20, 50, 37), np.float32)
    threshold = np.float32(1 - share)
    expected = [published(field, threshold, 0.6) for field in fields]
    assert np.array_equal(reliefs(fields, threshold, 0.6), expected)


def test_faint_edges_count_where_they_touch_strong_ones():
    """A drop whose rim fades from 250 to 10: Canny follows it from its strong end."""
    fields = np.zeros((2, 40, 200), np.float32)
    fields[:, 10:30] = np.linspace(250, 10, 200, dtype=np.float32) / 255
    fields[1, :, :188] = 0
    found = reliefs(fields, np.float32(0), 0.6)
    assert np.array_equal(found, [published(field, np.float32(0), 0.6) for field in fields])
    edges = [cv2.Canny((field * 255).astype(np.uint8), 50, 150) for field in fields]
    assert edges[0][:, 188:].any()
    assert not edges[1][:, 188:].any()
