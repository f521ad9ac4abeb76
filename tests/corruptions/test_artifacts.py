"""Artifacts: choices by hand, shapes of Pillow and OpenCV, masks and letters of our own."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden_statistics import spectrum
from PIL import Image, ImageDraw

from medrobust.corruptions import corrupt
from medrobust.corruptions.artifacts import (
    LEAST_SIZE,
    black_corner,
    bubble,
    bubble_table,
    characters,
    chosen,
    disk_rows,
    lens_rows,
    stain_deposit,
)
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.ink import ink_masks
from medrobust.corruptions.letters import BEARING, LETTERS, REACH, STEPS, font
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key

WORDS = Path(__file__).parents[1] / "data" / "golden" / "opencv_words.npz"

GREY = torch.full((2, 3, 60, 72), 100, dtype=torch.uint8)


def numbers(*values):
    return torch.tensor(values)


def test_choices_lie_between_their_ends_and_reach_both():
    draws = Draws(derive_key(0, "set", "bubble", 1), torch.arange(500), 16)
    high = torch.arange(3, 503)[:, None] % 7 + 3
    got = chosen(draws, 3, high, 40)
    assert bool((got >= 3).all())
    assert bool((got <= high).all())
    assert set(got[high[:, 0] == 9].flatten().tolist()) == set(range(3, 10))


def test_choices_come_from_the_written_derivation():
    draws = Draws(derive_key(3, "set", "bubble", 1), torch.tensor([5, 2**40]), 32)
    assert torch.equal(chosen(draws, 10, 19, 9), draws.integers(10, 20, 9))


@pytest.mark.parametrize("radius", range(1, 41))
def test_disks_are_those_that_pillow_fills(radius):
    canvas = Image.new("L", (101, 101))
    box = (50 - radius, 50 - radius, 50 + radius, 50 + radius)
    ImageDraw.Draw(canvas).ellipse(box, fill=1)
    halves = (np.asarray(canvas)[50 : 51 + radius].sum(1).astype(int) - 1) // 2
    assert disk_rows(radius)[radius, : radius + 1].tolist() == halves.tolist()


def test_bubbles_are_composited_as_pillow_does():
    levels = np.arange(256, dtype=np.uint8)
    ground = np.stack([levels, levels, levels, np.full(256, 255, np.uint8)], -1)[None]
    for code, alpha in ((1, 130), (2, 100)):
        layer = np.full((1, 256, 4), 255, np.uint8)
        layer[..., 3] = alpha
        mixed = Image.alpha_composite(Image.fromarray(ground), Image.fromarray(layer))
        assert bubble_table()[code].tolist() == np.asarray(mixed)[0, :, 0].tolist()


def test_a_later_bubble_covers_an_earlier_one():
    draws = {"count": numbers(2, 1), "radius": numbers([9, 4], [9, 4])}
    draws |= {"x": numbers([30, 36], [30, 36]), "y": numbers([30, 30], [30, 30])}
    out = bubble(GREY, 9, 2, **draws)
    rim, inside = bubble_table()[1, 100], bubble_table()[2, 100]
    assert out[0, 0, 30, 29:45].tolist() == [
        inside,
        *[rim] * 2,
        *[inside] * 9,
        *[rim] * 2,
        100,
        100,
    ]
    assert out[1, 0, 30, 29:45].tolist() == [*[inside] * 11, *[rim] * 2, 100, 100, 100]


@pytest.mark.parametrize("size", [(96, 96), (224, 224), (61, 40), (28, 33)])
def test_the_lens_is_the_circle_that_opencv_fills(size):
    height, width = size
    x, y = width // 2, height // 2
    for share in (0.3, 0.9, 0.95, 1.0, 1.05, 1.1, 1.3):
        circle = np.zeros(size, np.uint8)
        radius = int(min(x, y, width - x, height - y) * share)
        cv2.circle(circle, (x, y), radius, 1, -1)
        first, last = lens_rows(height, width, share)
        column = np.arange(width)
        ours = (column >= first[:, None]) & (column < last[:, None])
        assert np.array_equal(ours, circle > 0)
    images = torch.full((1, 1, *size), 7, dtype=torch.uint8)
    assert int((black_corner(images, 2.0) == 7).sum()) == height * width


def test_ink_lies_where_the_choices_say_and_is_cut_at_the_border():
    masks = ink_masks(24)
    draws = {"count": numbers(2, 2), "mask": numbers([3, 0], [3, 5])}
    draws |= {"x": numbers([20, 60], [20, -8]), "y": numbers([30, -10], [30, 50])}
    out = stain_deposit(GREY, 2, 24, **draws)
    black = np.zeros((2, 60, 72), bool)
    black[:, 30:54, 20:44] = masks[3] > 0
    black[0, 0:14, 60:72] |= masks[0][10:, :12] > 0
    black[1, 50:60, 0:16] |= masks[5][:10, 8:] > 0
    assert np.array_equal((out == 0).numpy(), np.broadcast_to(black[:, None], out.shape))
    with kernels_of("torch"):
        assert torch.equal(stain_deposit(GREY, 2, 24, **draws), out)


@pytest.mark.parametrize(("size", "mean"), [(24, 0.63), (32, 0.53)])
def test_ink_masks_have_the_published_coverage(size, mean):
    shares = ink_masks(size).mean((1, 2))
    assert ink_masks(size).shape == (10, size, size)
    assert abs(shares.mean() - mean) < 0.005
    assert 0.38 < shares.min() < shares.max() < 0.86
    assert len({mask.tobytes() for mask in ink_masks(size)}) == 10


def test_ink_masks_of_ones_own_are_read_from_a_folder(tmp_path):
    mark = np.full((5, 9), 255, np.uint8)
    mark[1:3] = 0
    Image.fromarray(mark).save(tmp_path / "mark.png")
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "corruptions:\n  dirt: {kernel: stain_deposit, most: 1, size: 9, "
        f"masks: {tmp_path.as_posix()}}}\n"
    )
    out = corrupt(GREY, "dirt", severity=1, suite=str(suite))
    assert (out == 0).flatten(1).sum(1).tolist() == [54, 54]


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"has no \.png"):
        stain_deposit(GREY, 1, 24, str(tmp_path), **dict.fromkeys(("count", "mask", "x", "y")))


def test_a_word_is_its_letters_one_after_the_other_in_its_color():
    def write(text, **change):
        row = torch.zeros(1, 6, dtype=torch.int64)
        row[0, : len(text)] = torch.tensor([ord(c) - ord("a") for c in text])
        draws = {"count": numbers(1), "length": numbers([len(text)]), "letter": row}
        draws |= {"size": numbers([24]), "x": numbers([10]), "y": numbers([40])}
        draws |= {"color": numbers([250, 100, 0])} | change
        return characters(GREY[:1], 1, 6, 0.24, **draws)[0]

    whole, half = write("hello"), write("hel")
    assert torch.equal(whole[1], GREY[0, 1])
    assert int(whole[0].max()) > 200
    assert int(whole[2].min()) < 30
    assert torch.equal(half[:, :, :19], whole[:, :, :19])
    assert not torch.equal(half[0], whole[0])
    assert torch.equal(write("hel", count=numbers(0)), GREY[0])
    columns = (whole[0] != 100).any(0).nonzero()
    assert int(columns.min()) >= 10 - BEARING


def test_words_are_within_15_percent_of_those_that_opencv_writes():
    with np.load(WORDS) as file:
        theirs, sizes, words = file["pictures"].astype(float), file["size"], file["words"].tolist()
    longest = max(map(len, words))
    text = [[ord(c) - ord("a") for c in word.ljust(longest, "a")] for word in words]
    blank = torch.zeros(len(words), 1, *theirs.shape[1:], dtype=torch.uint8)
    draws = {"count": torch.ones(len(words), 1), "length": numbers(*map(len, words))}
    draws |= {"letter": numbers(*text), "size": numbers(*sizes.tolist())}
    draws |= {"x": torch.full((len(words),), 12), "y": torch.full((len(words),), 17)}
    draws["color"] = torch.full((len(words), 3), 255)
    ours = characters(blank, 1, longest, 0.18, **draws)[:, 0].numpy().astype(float)
    for what in (
        lambda pictures: spectrum(pictures).mean(0),
        lambda pictures: pictures.mean(),
        lambda pictures: (pictures**2).mean(),
        lambda pictures: (pictures > 0).mean(),
    ):
        ratio = what(ours) / what(theirs)
        assert abs(np.log(ratio)).max() < np.log(1.15), ratio
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_every_letter_differs_from_every_other_and_ink_grows_with_size():
    stamps, above = font(LEAST_SIZE, 24)
    assert stamps.shape[:3] == (24 - LEAST_SIZE + 1, len(LETTERS), 4)
    assert len({stamp.tobytes() for stamp in stamps[-1, :, 0]}) == 26
    ink = stamps.astype(int).sum((1, 2, 3, 4))
    assert (np.diff(ink) > 0).all()
    assert (np.diff(above) >= 0).all()
    assert REACH <= BEARING * STEPS


def test_small_images_take_every_artifact():
    tiny = torch.full((3, 1, 28, 30), 90, dtype=torch.uint8)
    for name, suite in (
        ("stain_deposit", "pathmnist"),
        ("bubble", "pathmnist"),
        ("characters", "dermamnist"),
        ("black_corner", "dermamnist"),
    ):
        out = corrupt(tiny, name, severity=5, suite=suite)
        assert not torch.equal(out, tiny)
        with kernels_of("torch"):
            assert torch.equal(corrupt(tiny, name, severity=5, suite=suite), out)
