"""Markers, text and strokes: whole pixels where they were drawn."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import overlays, slides

SIDE = 112


def picture(channels=1):
    return torch.full((1, channels, SIDE, SIDE), 90, dtype=torch.uint8)


def test_a_marker_is_its_letter_in_its_corner():
    for corner in range(4):
        out = overlays.laterality_marker(
            picture(), 0.125, letter=torch.tensor([[1]]), corner=torch.tensor([[corner]])
        )[0, 0].numpy()
        rows, columns = np.nonzero(out == 255)
        assert len(rows) == 4 * 18  # the pixels of R, each two by two
        assert (rows.min() > SIDE / 2) == (corner >= 2)
        assert (columns.min() > SIDE / 2) == (corner % 2 == 1)


def test_the_area_of_a_marker_grows_with_the_square_of_its_height():
    for size in (0.06, 0.11, 0.17):
        out = overlays.laterality_marker(
            picture() * 0, size, letter=torch.tensor([[0]]), corner=torch.tensor([[3]])
        )
        pixel = size * SIDE / 7
        assert float(out.double().sum() / 255) == pytest.approx(11 * pixel**2, rel=0.01)


def test_glyphs_differ_and_fill_their_boxes():
    drawn = [overlays.glyph(letter, 1).tobytes() for letter in overlays.GLYPHS]
    assert len(set(drawn)) == len(drawn)
    assert {overlays.glyph(letter, 3).shape for letter in overlays.GLYPHS} == {(21, 15)}


def test_lines_of_text_stand_in_four_corners_and_then_below_each_other():
    digits = torch.full((1, 96), 8)
    wide = torch.full((1, 1, 224, 224), 90, dtype=torch.uint8)
    white = [
        (overlays.burned_in_text(wide, lines, character=digits[:, : 12 * lines]) == 255)[0, 0]
        for lines in (1, 4, 8)
    ]
    assert int(white[2].sum()) == 2 * int(white[1].sum()) == 8 * int(white[0].sum())
    assert bool(white[1].flip(0).flip(1).equal(white[1]))  # 8 is its own mirror image


def test_text_is_cut_off_where_a_picture_is_too_small():
    small = torch.full((1, 3, 28, 30), 90, dtype=torch.uint8)
    out = overlays.burned_in_text(small, 8, character=torch.full((1, 96), 8))
    assert out.shape == small.shape


def test_a_pen_is_of_one_color_and_a_width():
    ends = torch.tensor([[0.5, 0.0, 0.5, 0.5, 0.5, 1.0]])
    for pen, color in enumerate(slides.PENS):
        out = slides.slide_marking(picture(3), 1, 0.1, 1.0, color=torch.tensor([[pen]]), ends=ends)[
            0
        ].numpy()
        assert np.abs(out[:, SIDE // 2, SIDE // 2] - np.array(color)).max() <= 1
        touched = (out != 90).any(axis=0)[:, SIDE // 2].sum()
        assert 10 <= touched <= 20
