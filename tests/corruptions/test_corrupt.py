"""The shell: same key same bytes, whatever else differs; and what it refuses."""

import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.suites import REGISTRIES
from medrobust.exceptions import ConfigurationError, InvalidImageError, UnknownNameError

NAMES = suites("imagenet_c")
OTHERS = [
    ("imagenet_c_original", "elastic_transform"),
    ("imagenet_c_original", "pixelate"),
    ("imagenet_c_original", "zoom_blur"),
    *[(suite, name) for suite in ("imagenet_c_64", "imagenet_c_32") for name in ("snow", "frost")],
]
REGISTERED = {
    name: flag for flag in reversed(REGISTRIES) for name in suites(flag) if name not in NAMES
}
"""Names that only MedMNIST-C has, each with a registry that has it."""
CASES = [("imagenet_c", name) for name in NAMES] + OTHERS
CASES += [(flag, name) for name, flag in REGISTERED.items()]


def make_card(count=9, channels=3, height=45, width=38):
    generator = torch.Generator().manual_seed(7)
    noise = torch.randint(0, 256, (count, channels, height, width), generator=generator)
    ramp = torch.linspace(0, 255, width).expand(count, channels, height, width)
    card = torch.where(torch.arange(height)[:, None] % 8 < 4, ramp, noise.float()).to(torch.uint8)
    card[:, :, :10, :10] = 0
    card[:, :, -10:, -10:] = 255
    return card


CARD = make_card()
GREY_CARD = make_card(channels=1)
ROWS = torch.tensor([3, 2**62 + 1, 0, 8, 15, 2**40, 99, 4, 1])


def run(images, name, index=ROWS, **options):
    return corrupt(images, name, severity=3, stream="set/test", index=index, **options)


@pytest.mark.parametrize("card", [CARD, GREY_CARD], ids=["rgb", "grey"])
@pytest.mark.parametrize(("suite", "name"), CASES)
def test_an_image_comes_out_the_same_from_any_batch_in_any_order(suite, name, card):
    whole = run(card, name, suite=suite)
    order = torch.tensor([8, 2, 5, 0, 7, 1, 3, 6, 4])
    assert torch.equal(run(card[order], name, ROWS[order], suite=suite), whole[order])
    for size in (1, 7):
        parts = [
            run(card[i : i + size], name, ROWS[i : i + size], suite=suite)
            for i in range(0, len(card), size)
        ]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("name", NAMES)
def test_threads_change_nothing(name):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run(CARD, name)
        torch.set_num_threads(3)
        together = run(CARD, name)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, together)


@pytest.mark.parametrize("card", [CARD, GREY_CARD], ids=["rgb", "grey"])
@pytest.mark.parametrize(("suite", "name"), CASES)
def test_the_path_of_other_devices_gives_the_same_pixels(suite, name, card):
    native = run(card, name, suite=suite)
    with kernels_of("torch"):
        other = run(card, name, suite=suite)
    off = (native.int() - other.int()).abs()
    assert int(off.max()) <= 1
    assert float((off == 0).double().mean()) >= 0.9999


ODD = [(28, 31), (29, 31), (65, 28), (224, 100), (40, 1024)]
SIZES = [*ODD[1:3], *(pytest.param(*size, marks=pytest.mark.slow) for size in (ODD[0], *ODD[3:]))]
"""Both sides odd, and the least one; as even, larger and widest ones are, slowly."""


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("suite", "name"), CASES)
def test_other_sizes_come_out_whole_and_alike_on_both_paths(suite, name, height, width):
    images = make_card(1, 3, height, width)
    native = corrupt(images, name, severity=4, suite=suite)
    with kernels_of("torch"):
        other = corrupt(images, name, severity=4, suite=suite)
    assert native.shape == images.shape
    off = (native.int() - other.int()).abs()
    assert float((off <= 1).double().mean()) >= 0.9999


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_dtype_are_kept_and_the_input_is_untouched(name, severity):
    images = CARD.clone()
    out = corrupt(images, name, severity=severity)
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    assert torch.equal(images, CARD)
    assert not torch.equal(out, CARD)


@pytest.mark.parametrize("name", NAMES)
def test_grey_images_stay_grey_or_become_rgb_as_asked(name):
    assert run(GREY_CARD, name).shape == GREY_CARD.shape
    assert run(GREY_CARD, name, grey="rgb").shape == CARD.shape


@pytest.mark.parametrize("name", NAMES)
def test_images_that_are_not_contiguous_are_read_right(name):
    turned = CARD.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not turned.is_contiguous()
    assert torch.equal(run(turned, name), run(CARD, name))


def test_seed_stream_index_and_severity_change_the_noise():
    base = corrupt(CARD, "gaussian_noise", severity=1)
    assert torch.equal(base, corrupt(CARD, "gaussian_noise", severity=1, index=torch.arange(9)))
    for change in (
        {"seed": 1},
        {"stream": "other"},
        {"index": torch.arange(1, 10)},
    ):
        assert not torch.equal(base, corrupt(CARD, "gaussian_noise", severity=1, **change))


def test_clean_returns_the_images():
    assert torch.equal(corrupt(CARD, "clean", severity=0), CARD)


def test_given_draws_replace_the_keyed_ones():
    given = torch.full((9,), 10.0)
    a = corrupt(CARD, "motion_blur", severity=2, draws={"angle": given})
    b = corrupt(CARD, "motion_blur", severity=2, draws={"angle": given}, seed=5)
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (CARD.float(), "float32"),
        (CARD[:, :2], "1 or 3 channels"),
        (CARD[0], "1 or 3 channels"),
        (CARD[:, :, :20], "28 to 1024"),
        (CARD.numpy(), "uint8 tensor"),
    ],
)
def test_what_is_no_image_batch_is_refused(images, message):
    with pytest.raises(InvalidImageError, match=message):
        corrupt(images, "contrast", severity=1)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, True])
def test_a_severity_that_does_not_exist_is_refused(severity):
    with pytest.raises(ConfigurationError, match="Choose 1 to 5"):
        corrupt(CARD, "contrast", severity=severity)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'gaussian_noise'"):
        corrupt(CARD, "gausian_noise", severity=1)
    with pytest.raises(UnknownNameError, match="Did you mean 'imagenet_c'"):
        corrupt(CARD, "contrast", severity=1, suite="imagenetc")
    with pytest.raises(UnknownNameError, match="draw of 'motion_blur'"):
        corrupt(CARD, "motion_blur", severity=1, draws={"angel": torch.zeros(9)})
    with pytest.raises(ConfigurationError, match="grey"):
        corrupt(CARD, "contrast", severity=1, grey="gray")


@pytest.mark.parametrize("index", [torch.arange(8), torch.arange(9).int(), -torch.arange(9)])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(InvalidImageError, match="index"):
        corrupt(CARD, "contrast", severity=1, index=index)
