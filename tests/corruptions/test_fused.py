"""Triton kernels against the numba kernels: the same pixels, on a GPU or in the interpreter."""

import pytest
import torch

from medrobust.corruptions import smoothing
from medrobust.corruptions.contract import card, clauses
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.kernels import KERNELS, kernel_function
from medrobust.corruptions.shell import run_kernel
from medrobust.keys import Draws, derive_key

pytestmark = pytest.mark.usefixtures("triton_in_fewer_steps")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDE = {("elastic_transform", 1)}
"""Clauses whose windows, wider than the pictures, keep the interpreter busy for 15 s each."""


def in_the_interpreter(*values):
    """Mark what only a GPU does in a moment."""
    return pytest.param(*values, marks=() if DEVICE == "cuda" else pytest.mark.slow)


def kind_of(clause):
    """What decides which lines of a kernel run: all but the amounts, at the ends of the scale."""
    choices = {k: v for k, v in clause.parameters.items() if isinstance(v, (bool, str))}
    return clause.kernel, *clause.parameters, *choices.values(), clause.severity


CLAUSES = list(clauses())
COLOR_ONLY = {"frost", "hue", "saturate", "spatter"}
NARROW = [c for c in reversed(CLAUSES) if (c.name, c.severity) not in WIDE]
GREY = {clause.kernel: clause for clause in NARROW if clause.kernel not in COLOR_ONLY}
"""One clause a kernel, for those that take one channel: the mildest."""
FAR = {clause.kernel: clause for clause in CLAUSES if clause.kernel in GREY}
"""The same kernels at the far end."""


def is_quick(clause):
    """The far end in colors; the mild one in gray is above, or here where a kernel has no gray."""
    return clause.severity == 5 or (clause.severity == 1 and clause.kernel in COLOR_ONLY)


ENDS = {kind_of(c): c for c in NARROW if is_quick(c) and c.name != "smoothing"}  # gaussian_blur
CASES = [c if c in ENDS.values() else in_the_interpreter(c) for c in CLAUSES]


def pictures():
    """The card and a noisy one, 39 x 43: no side a multiple of anything."""
    one = card()[:, :, :31, :39]
    return torch.cat([one, torch.randint(0, 256, one.shape, dtype=torch.uint8, generator=seeded())])


def seeded():
    return torch.Generator().manual_seed(5)


@pytest.mark.every_nth(4)
@pytest.mark.parametrize("clause", CASES, ids=lambda c: f"{c.name}-{c.severity}-{c.kernel}")
def test_pixels_are_those_of_the_cpu(clause):
    key, rows = derive_key(1, "fused", clause.name, clause.severity), torch.tensor([2**40 + 3, 8])
    images = pictures()
    expected = run_kernel(images, clause.kernel, clause.parameters, key=key, rows=rows)
    with kernels_of("triton"):
        found = run_kernel(
            images.to(DEVICE), clause.kernel, clause.parameters, key=key, rows=rows
        ).cpu()
    assert torch.equal(found, expected)


@pytest.mark.every_nth(4)
@pytest.mark.parametrize(
    "clause", [*GREY.values(), *map(in_the_interpreter, FAR.values())], ids=[*GREY, *FAR]
)
def test_one_channel_is_that_of_the_cpu(clause):
    draws = {
        name: Draws(derive_key(1, "fused", name, 1), torch.tensor([5, 2**40 + 3]))
        for name in KERNELS[clause.kernel].draws
    }
    function, images = kernel_function(clause.kernel), pictures()[:, :1]
    expected = function(images, **clause.parameters, **draws)
    with kernels_of("triton"):
        found = function(images.to(DEVICE), **clause.parameters, **draws).cpu()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("radius", [2, 13, 16, 17, 35, 40])
def test_disks_of_any_size_are_those_of_the_cpu(radius):
    images = torch.cat([pictures()] * 2, 3)
    expected = smoothing.defocus_blur(images, radius, 0.5)
    with kernels_of("triton"):
        assert torch.equal(smoothing.defocus_blur(images.to(DEVICE), radius, 0.5).cpu(), expected)


def flat_and_sloping(zone):
    """Where sums are whole numbers: flat zones of every level, ramps, edges; and noise of a step.

    Every `zone` pixels lie two levels beside each other, so that windows are of one value, or not.
    Down the second ramp all columns are alike, and no window is of one value.
    """
    side = 16 * zone
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    flat = rows // zone * 16 + columns // zone
    ramp = (rows + columns) // 2
    step = 254 + torch.randint(0, 2, ramp.shape, generator=seeded())
    return torch.stack([flat, ramp, rows, step]).to(torch.uint8)[:, None]


@pytest.mark.parametrize(
    ("sigma", "side", "zone"),
    [
        *((0.1, 63, 9), (0.4, 48, 6), (1.5, 28, 9)),  # windows of 5 pixels, within a zone
        in_the_interpreter(0.4, 96, 6),  # zones of all levels
        *(in_the_interpreter(sigma, 63, 9) for sigma in (0.7, 1, 1.5)),
        *(in_the_interpreter(sigma, 144, 9) for sigma in (0.1, 0.4, 0.7, 1, 1.5)),
    ],
)
def test_sums_that_are_whole_numbers_end_as_on_the_cpu(sigma, side, zone):
    images = flat_and_sloping(zone)[:, :, :side, :side].contiguous()
    expected = smoothing.gaussian_blur(images, sigma)
    with kernels_of("triton"):
        assert torch.equal(smoothing.gaussian_blur(images.to(DEVICE), sigma).cpu(), expected)
