"""A small finding erased or moved: nothing but its place changes, and global measures miss it."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.local_change import local_erase, local_move, standing_out
from medrobust.exceptions import ConfigurationError
from medrobust.quality import measure

NAMES = suites("local_change")
ROWS = torch.tensor([3, 2**40 + 7])
RADIUS = 0.06
CENTRES = ((60, 50), (110, 150))


def pictures(channels: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :200]
    drawn = []
    for row, column in CENTRES:
        finding = 70 * ((x - column) ** 2 + (y - row) ** 2 < 9**2)
        drawn.append(90 + x / 8 + finding + rng.normal(size=x.shape) * 3)
    planes = torch.from_numpy(np.array(drawn).clip(0, 255).astype(np.uint8))[:, None]
    return planes.expand(-1, channels, -1, -1).contiguous()


def noisy(*side: int, channels: int = 3, count: int = 3) -> torch.Tensor:
    seeded = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, channels, *side), dtype=torch.uint8, generator=seeded)


def erased_by_hand(image: np.ndarray, wide: int) -> tuple[np.ndarray, int, int]:
    """The definition, place by place in floating point, of one plane."""
    height, width = image.shape
    plane, found = image.astype(float), (-1.0, 0, 0)
    for row in range(2 * wide, height - 2 * wide):
        for column in range(2 * wide, width - 2 * wide):
            own, ring = squares(plane, row, column, wide)
            apart = abs(own.mean() - ring)
            if apart > found[0] + 1e-9:
                found = (apart, row, column)
    _, row, column = found
    own, ring = squares(plane, row, column, wide)
    apart = np.abs(own - ring)
    weights = np.maximum(apart - apart.max() / 2, 0)
    steps = np.arange(-wide, wide + 1)
    row += int(np.floor((weights.sum(1) * steps).sum() / weights.sum() + 0.5))
    column += int(np.floor((weights.sum(0) * steps).sum() / weights.sum() + 0.5))
    row = min(max(row, 2 * wide), height - 1 - 2 * wide)
    column = min(max(column, 2 * wide), width - 1 - 2 * wide)
    _, ring = squares(plane, row, column, wide)
    for y in range(row - wide, row + wide + 1):
        for x in range(column - wide, column + wide + 1):
            far = np.hypot(y - row, x - column)
            share = np.clip((wide + 1 - far) / max(1, wide / 5), 0, 1)
            plane[y, x] += share * (ring - plane[y, x])
    return plane, row, column


def squares(plane: np.ndarray, row: int, column: int, wide: int) -> tuple[np.ndarray, float]:
    own = plane[row - wide : row + wide + 1, column - wide : column + wide + 1]
    whole = plane[row - 2 * wide : row + 2 * wide + 1, column - 2 * wide : column + 2 * wide + 1]
    return own, (whole.sum() - own.sum()) / (whole.size - own.size)


@pytest.mark.parametrize("side", [(40, 47), (33, 32)])
def test_what_is_erased_is_what_the_definition_erases(side: tuple[int, int]) -> None:
    images = noisy(*side, channels=1)
    wide = max(1, int(0.09 * min(side) + 0.5))
    places = standing_out(images, 0.09).tolist()
    out = local_erase(images, 0.09)
    for n in range(len(images)):
        expected, row, column = erased_by_hand(images[n, 0].numpy(), wide)
        assert places[n] == [row, column]
        np.testing.assert_allclose(out[n, 0].numpy(), expected, atol=0.64)  # weights of 1/1024


@pytest.mark.parametrize("channels", [1, 3])
def test_the_finding_is_found_and_erased_and_the_rest_stays(channels: int) -> None:
    images = pictures(channels)
    places = standing_out(images, RADIUS)
    assert (places - torch.tensor(CENTRES)).abs().max() <= 1
    erased = local_erase(images, RADIUS)
    changed = (erased != images).any(1)
    assert 0.004 < changed.float().mean() < 0.013
    for image, (row, column) in zip(erased, CENTRES, strict=True):
        around = image[0, row - 20 : row + 20, column - 20 : column + 20].float()
        assert image[0, row - 4 : row + 5, column - 4 : column + 5].float().mean() == pytest.approx(
            around.median(), abs=6
        )


def test_a_moved_finding_stands_at_a_drawn_place_and_nowhere_else() -> None:
    images = pictures()
    drawn = torch.tensor([[100, 120] * 16, [40, 60] * 16])
    moved = local_move(images, RADIUS, place=drawn)
    places = standing_out(moved, RADIUS)
    assert (places - drawn[:, :2]).abs().max() <= 1
    assert moved.float().mean() == pytest.approx(images.float().mean().item(), abs=0.05)


def test_places_that_are_given_outside_are_brought_inside() -> None:
    out = local_move(pictures()[:1], RADIUS, place=torch.tensor([[-9999, 9999] * 16]))
    assert (standing_out(out, RADIUS) - torch.tensor([[20, 179]])).abs().max() <= 1


def test_it_goes_where_surroundings_are_like_its_own_and_not_onto_itself() -> None:
    images = pictures()
    # column 52 is nearest to its own in brightness, but overlaps; 58 is next among those apart
    drawn = torch.tensor([[62, 52, 100, 170, 110, 58, *[100, 140] * 13]])
    places = standing_out(local_move(images[:1], RADIUS, place=drawn), RADIUS)
    assert (places - torch.tensor([[110, 58]])).abs().max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_and_three_equal_ones_are_changed_alike(name: str) -> None:
    single, three = (
        corrupt(pictures(c), name, severity=4, suite="local_change", index=ROWS) for c in (1, 3)
    )
    assert torch.equal(three, single.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_its_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noisy(60, 72)
    given = {"severity": 5, "suite": "local_change"}
    rows = torch.tensor([3, 2**40 + 7, 11])
    whole = corrupt(images, name, index=rows, **given)
    turned = corrupt(images.flip(0), name, index=rows.flip(0), **given)
    assert torch.equal(turned.flip(0), whole)
    monkeypatch.setattr("medrobust.corruptions.local_change.PIXELS", 1)
    with kernels_of("torch"):
        assert torch.equal(corrupt(images, name, index=rows, **given), whole)


def test_places_are_drawn_by_image_seed_and_stream() -> None:
    images = pictures()[:1]
    given = {"severity": 3, "suite": "local_change"}
    outs = [
        corrupt(images, "local_move", index=torch.tensor([row]), **given, **further)
        for row, further in ((1, {}), (2, {}), (1, {"seed": 1}), (1, {"stream": "other"}))
    ]
    assert not any(torch.equal(outs[0], other) for other in outs[1:])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [(28, 28), (28, 200), (1024, 64)])
@pytest.mark.parametrize("severity", [1, 5])
def test_every_size_is_served_and_no_more_than_two_discs_change(
    name: str, side: tuple[int, int], severity: int
) -> None:
    images = noisy(*side, count=1)
    out = corrupt(images, name, severity=severity, suite="local_change")
    wide = max(1, int((0.02, 0.12)[severity == 5] * min(side) + 0.5))
    assert 0 < int((out != images).any(1).sum()) <= 2 * (2 * wide + 1) ** 2


@pytest.mark.parametrize("route", ["numba", "torch"])
def test_a_batch_of_no_images_stays_one(route: str) -> None:
    with kernels_of(route):
        for name in NAMES:
            out = corrupt(noisy(30, 40, count=0), name, severity=5, suite="local_change")
            assert out.shape == (0, 3, 30, 40)


def test_an_image_of_one_level_stays_as_it_is() -> None:
    flat = torch.full((1, 1, 40, 40), 77, dtype=torch.uint8)
    for name in NAMES:
        assert torch.equal(corrupt(flat, name, severity=5, suite="local_change"), flat)


@pytest.mark.slow
def test_measures_of_the_whole_image_hardly_see_it() -> None:
    images, names = pictures(), ["ssim", "noise_sigma", "brightness", "entropy"]
    before = measure(images, names, clean=images)
    for name in NAMES:
        changed = corrupt(images, name, severity=3, suite="local_change")
        after = measure(changed, names, clean=images)
        assert after["ssim"].min() > 0.96
        for other in names[1:]:
            assert after[other].tolist() == pytest.approx(before[other].tolist(), rel=0.04)


@pytest.mark.parametrize("radius", [0.0, -0.1, 0.3])
def test_a_disc_that_does_not_fit_is_refused(radius: float) -> None:
    with pytest.raises(ConfigurationError, match="do not fit into the image"):
        local_erase(pictures(), radius)
