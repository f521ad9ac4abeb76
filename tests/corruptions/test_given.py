"""Draws that are given: those that a kernel makes are taken, all others are refused by name."""

import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.given import GIVEN, Given, defaults_of
from medrobust.corruptions.kernels import KERNELS
from medrobust.corruptions.shell import CHANNELS_A_DRAW, key_of
from medrobust.corruptions.suites import find_entry
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws

ENTRIES = {
    entry.kernel: (suite, name)
    for suite in suites()
    for name in suites(suite)
    if (entry := find_entry(suite, name)).kernel in GIVEN
}
"""Kernel -> a suite and name that has it."""

DRAWN = [(kernel, draw) for kernel in ENTRIES for draw in GIVEN[kernel]]
IMAGES = torch.randint(0, 256, (2, 3, 36, 40), generator=torch.Generator().manual_seed(1)).to(
    torch.uint8
)


def asked(kernel: str, draw: str) -> Given:
    suite, name = ENTRIES[kernel]
    parameters = {**defaults_of(kernel), **find_entry(suite, name).parameters(3)}
    return GIVEN[kernel][draw](tuple(IMAGES.shape[1:]), parameters)


def given(kernel: str, draw: str, values: object) -> torch.Tensor:
    suite, name = ENTRIES[kernel]
    return corrupt(IMAGES, name, severity=3, suite=suite, draws={draw: values})


def test_every_draw_of_every_kernel_says_what_it_may_be() -> None:
    assert {kernel: tuple(draws) for kernel, draws in GIVEN.items()} == {
        name: facts.draws for name, facts in KERNELS.items() if facts.draws
    }
    assert set(ENTRIES) == set(GIVEN)


@pytest.mark.parametrize(("kernel", "draw"), DRAWN)
def test_what_a_kernel_would_draw_is_taken_and_gives_the_same_pixels(
    kernel: str, draw: str
) -> None:
    fits = asked(kernel, draw)
    suite, name = ENTRIES[kernel]
    number = CHANNELS_A_DRAW * KERNELS[kernel].draws.index(draw)
    drawn = Draws(key_of(kernel, 0, "", name, 3), torch.arange(2), number)
    count = int(torch.tensor(fits.shape).prod())
    if (fits.low, fits.high) == (0, 1) and not fits.whole:
        values = drawn.uniform(count)
        if fits.shape == tuple(IMAGES.shape[1:]):
            values = drawn.uniform_planes(IMAGES)
    elif (fits.low, fits.high) == (-1, 1):
        values = 2 * drawn.uniform(count) - 1
    elif draw == "angle":
        values = (-45 if kernel == "motion_blur" else -135) + 90 * drawn.uniform(1)[:, 0]
    elif not fits.whole:
        values = drawn.normal(count)
        if fits.shape == tuple(IMAGES.shape[1:]):
            values = drawn.normal_planes(IMAGES)
    elif fits.high == 2**32 - 1:
        planes = fits.shape[0] if len(fits.shape) == 3 else 1
        values = drawn.words(count) if planes == 1 else drawn.word_planes(*fits.shape)
    elif fits.high == 2**16 - 1:
        words = drawn.words(-(-count // 2))
        values = torch.stack([words & 0xFFFF, words >> 16], dim=2).reshape(2, -1)[:, :count]
    elif (kernel, draw) == ("occlusion", "order"):
        values = drawn.words(count).argsort(dim=1, stable=True)
    elif len(fits.shape) == 1 and fits.low == 0 and draw not in ("count", "order"):
        values = drawn.integers(0, int(fits.high) + 1, count)
    else:  # drawn from elsewhere on than what is allowed, or as other draws allow
        values = torch.full((2, *fits.shape), max(int(max(fits.low, 0)), 1))
        assert given(kernel, draw, values).shape == IMAGES.shape
        return
    assert torch.equal(given(kernel, draw, values), corrupt(IMAGES, name, severity=3, suite=suite))


@pytest.mark.parametrize(("kernel", "draw"), DRAWN)
def test_odd_numbers_are_refused_by_name(kernel: str, draw: str) -> None:
    fits = asked(kernel, draw)
    right = torch.full((2, *fits.shape), 1 if fits.whole else 0.5)
    odd: dict[str, object] = {
        "bool": right > 0,
        "nan": torch.full(right.shape, float("nan")),
        "endless": torch.full(right.shape, float("inf")),
        "complex": right.to(torch.complex64),
        "list": right.tolist(),
        "none": None,
        "one more number": torch.cat([right.reshape(2, -1), right.reshape(2, -1)[:, :1]], dim=1),
        "one image more": torch.cat([right, right[:1]]),
        "a number": torch.tensor(1),
    }
    if fits.whole:
        odd["float"] = right.double()
    if fits.low > -float("inf"):
        odd["below"] = right * 0 + (fits.low - 1)
    if fits.high < float("inf"):
        odd["above"] = right * 0 + (fits.high + (0 if (fits.low, fits.high) == (0, 1) else 1))
    if (fits.low, fits.high, fits.whole) == (0, 1, True):
        odd["above"] = right * 0 + 2
    for values in odd.values():
        with pytest.raises(ConfigurationError, match=f"draw '{draw}' of '{kernel}'"):
            given(kernel, draw, values)


def test_a_crop_of_frost_lies_in_its_texture() -> None:
    first = torch.tensor([0, 0])
    with pytest.raises(ConfigurationError, match="outside its texture"):
        corrupt(IMAGES, "frost", severity=1, draws={"texture": first, "top": first + 9999})
