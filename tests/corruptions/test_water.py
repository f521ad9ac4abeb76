"""The relief of water on the lens against OpenCV: the same bits, by numba and by Triton."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label

from medrobust.base.numba_jit import native
from medrobust.corruptions.numba import water as water_numba
from medrobust.corruptions.suites import find_entry
from medrobust.corruptions.triton import water as water_triton
from medrobust.corruptions.triton.launch import launch

pytestmark = pytest.mark.usefixtures("triton_in_fewer_steps")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WATER = [find_entry("imagenet_c", "spatter").parameters(severity) for severity in (1, 2, 3)]


def as_opencv(test):
    skip = pytest.mark.skipif(
        not cv2.ipp.useIPP(), reason="without Intel's library OpenCV measures distances otherwise"
    )
    return pytest.mark.parametrize("reliefs", [by_numba, by_triton])(skip(test))


def by_numba(fields, threshold, strength):
    out = np.empty_like(fields)
    water_numba.relief_of(fields, out, 0, len(fields), threshold, strength)
    return out


def by_triton(fields, threshold, strength):
    layers = torch.from_numpy(fields).to(DEVICE)
    return water_triton.relief_of(layers, float(threshold), strength).cpu().numpy()


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


def assert_drops(reliefs, severity, shape, count, shifts):
    settings = WATER[severity - 1]
    fields = liquid(count, shape, settings)
    for shift in shifts:
        threshold = np.float32(settings["threshold"] + shift)
        found = reliefs(fields, threshold, settings["strength"])
        expected = [published(field, threshold, settings["strength"]) for field in fields]
        assert np.array_equal(found, expected)
        assert found.any()


@pytest.mark.every_nth(3)
@as_opencv
@pytest.mark.parametrize("shape", [(28, 28), (45, 97), (64, 64), (224, 224)], ids=str)
@pytest.mark.parametrize("severity", [1, 2, 3])
def test_drops_of_the_suite_are_those_of_opencv(reliefs, severity, shape):
    slow = reliefs is by_triton and DEVICE == "cpu"
    if slow and (max(shape) > 97 or (severity > 1 and shape != (28, 28))):
        pytest.skip("slow where Triton is interpreted")
    count, shifts = (1, (0,)) if slow else (12, (-0.04, 0, 0.04))
    assert_drops(reliefs, severity, shape, count, shifts)


@pytest.mark.slow
@pytest.mark.skipif(not cv2.ipp.useIPP(), reason="without Intel's library distances differ")
@pytest.mark.parametrize("shape", [(45, 97), (64, 64)], ids=str)
@pytest.mark.parametrize("severity", [2, 3])
def test_stronger_drops_in_larger_shapes_are_those_of_opencv_interpreted(severity, shape):
    assert_drops(by_triton, severity, shape, 1, (0,))


@as_opencv
@pytest.mark.parametrize("share", [0, 1e-3, 0.01, 0.3, 1])
def test_drops_of_any_density_are_those_of_opencv(reliefs, share):
    interpreted = reliefs is by_triton and DEVICE == "cpu"
    fields = np.random.default_rng(3).random((1 if interpreted else 3, 50, 37), np.float32)
    threshold = np.float32(1 - share)
    expected = [published(field, threshold, 0.6) for field in fields]
    assert np.array_equal(reliefs(fields, threshold, 0.6), expected)


@pytest.mark.slow
@as_opencv
def test_faint_edges_count_where_they_touch_strong_ones(reliefs):
    """A drop whose rim fades from 250 to 10: Canny follows it from its strong end."""
    fields = np.zeros((2, 40, 200), np.float32)
    fields[:, 10:30] = np.linspace(250, 10, 200, dtype=np.float32) / 255
    fields[1, :, :188] = 0
    found = reliefs(fields, np.float32(0), 0.6)
    assert np.array_equal(found, [published(field, np.float32(0), 0.6) for field in fields])
    edges = [cv2.Canny((field * 255).astype(np.uint8), 50, 150) for field in fields]
    assert edges[0][:, 188:].any()
    assert not edges[1][:, 188:].any()


join_states = native("void(uint8[:,::1], int32[::1])")(water_numba._join.py_func)


def joined_by_numba(crests, edges):
    states = np.pad((crests.astype(np.uint8) + edges), 1)
    join_states(states, np.empty(states.size, np.int32))
    return states[1:-1, 1:-1] == 2


def joined_by_triton(crests, edges):
    height, width = crests.shape
    words = width // 32 + 2

    def pack(bits):
        flags = np.pad(bits, ((1, 1), (32, 32))).reshape(height + 2, words, 32)
        packed = np.packbits(flags, axis=2, bitorder="little").view(np.int32)
        return torch.from_numpy(packed.copy()).to(DEVICE)

    packed = pack(edges)
    area = (height + 2) * words
    launch(water_triton._join, (1,), packed, pack(crests), area, words, BLOCK=512, num_warps=8)
    flags = np.unpackbits(packed.cpu().numpy().view(np.uint8), axis=2, bitorder="little")
    return flags.reshape(height + 2, words * 32)[1:-1, 32:-32].astype(bool)


@pytest.mark.parametrize("join", [joined_by_numba, joined_by_triton])
def test_edges_grow_through_a_maze(join):
    """Crests at 45 % of all places, near percolation: long ways, over words and rows."""
    values = np.random.default_rng(8)
    crests = values.random((90, 128)) < 0.45
    edges = crests & (values.random(crests.shape) < 0.002)
    regions, _ = label(crests, np.ones((3, 3)))
    expected = np.isin(regions, regions[edges])
    assert np.array_equal(join(crests, edges), expected)
    assert edges.sum() < 20
    assert 0.5 < expected.sum() / crests.sum() < 1


@pytest.mark.skipif(not cv2.ipp.useIPP(), reason="without Intel's library distances differ")
def test_ways_to_edges_on_one_side_and_on_both_are_those_of_opencv():
    """Their rounding depends on the side: 18 up and 10 across are two numbers."""
    table = water_triton._ways()
    assert (table[:, 1:21] != table[:, 21:41]).any()
    for sides, first in (((-1,), 1), ((1,), 21), ((-1, 1), 1)):
        for across in range(1, 21):
            plane = np.ones((101, 101), np.uint8)
            plane[50, [50 + side * across for side in sides]] = 0
            far = np.minimum(cv2.distanceTransform(plane, cv2.DIST_L2, 5), 20)
            assert np.array_equal(table[:, first + across - 1], far[30:71, 50])
