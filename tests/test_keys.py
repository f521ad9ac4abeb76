"""Philox against the published vectors, and the draws made from it against their distributions."""

import math

import numpy as np
import pytest
import torch

from medrobust import keys
from medrobust.keys import Draws, derive_key

# Random123's known answers for philox4x32 with 7 rounds.
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
    ),
]


def draws(rows=(0,), number=0, severity=1):
    return Draws(derive_key(0, "test", "noise", severity), torch.tensor(rows), number)


@pytest.mark.parametrize(("counter", "key", "answer"), PUBLISHED)
def test_philox_gives_the_published_words(counter, key, answer):
    words = keys.philox(tuple(torch.tensor([c]) for c in counter), key)
    assert tuple(int(w) for w in words) == answer


def test_the_key_derivation_is_what_it_was():
    assert derive_key(0, "bloodmnist/test", "motion_blur", 3) == (0xFFACF9A7, 0x23F431B9)


def test_first_words_of_an_image_are_what_they_were():
    source = Draws(derive_key(0, "bloodmnist/test", "motion_blur", 3), torch.tensor([2**62 + 5]), 1)
    assert [f"{w:08x}" for w in source.words(5)[0].tolist()] == [
        "465caea3",
        "a972cef5",
        "76d18452",
        "21028e29",
        "91a62964",
    ]


def test_every_part_of_the_key_changes_it():
    base = derive_key(0, "a", "noise", 1)
    others = [
        derive_key(1, "a", "noise", 1),
        derive_key(0, "b", "noise", 1),
        derive_key(0, "a", "blur", 1),
        derive_key(0, "a", "noise", 2),
    ]
    assert len({base, *others}) == 5


def test_an_image_gets_the_same_words_in_any_batch():
    rows = [5, 2**63 - 1, 0, 7]
    together = draws(rows).words(37)
    for position, row in enumerate(rows):
        assert torch.equal(together[position], draws([row]).words(37)[0])


def test_more_words_start_with_the_same_ones():
    assert torch.equal(draws([3]).words(7), draws([3]).words(64)[:, :7])


def test_words_of_rows_numbers_and_severities_differ():
    first = draws([0]).words(8)
    for other in (draws([1]), draws([2**32]), draws([0], number=1), draws([0], severity=2)):
        assert not torch.equal(first, other.words(8))


def test_words_are_uniform_in_every_byte():
    words = draws(range(64)).words(4096).numpy().astype(np.uint32)
    for byte in words.view(np.uint8).reshape(-1, 4).T:
        counts = np.bincount(byte, minlength=256)
        expected = len(byte) / 256
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert 255 - 5 * math.sqrt(510) < statistic < 255 + 5 * math.sqrt(510)


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_rows_and_words_do_not_correlate(axis):
    uniform = draws(range(256)).uniform(1024) - 0.5
    a, b = uniform.narrow(axis, 0, 255), uniform.narrow(axis, 1, 255)
    assert abs(float((a * b).mean())) * 12 < 5 / math.sqrt(a.numel())


def test_every_bit_flips_half_of_the_output_bits():
    base = torch.tensor([123456789])
    zero = torch.tensor([0])
    reference = torch.stack(keys.philox((zero, zero, base, zero), (1, 2)))
    for bit in range(32):
        changed = torch.stack(keys.philox((zero, zero, base ^ (1 << bit), zero), (1, 2)))
        flipped = sum(bin(int(v)).count("1") for v in (changed ^ reference).flatten())
        assert 32 < flipped < 96  # of 128: six standard deviations on each side


def test_integers_cover_their_range_evenly():
    values = draws(range(8)).integers(-3, 4, 7000)
    counts = torch.bincount((values + 3).flatten(), minlength=7).double()
    assert counts.shape == (7,)
    assert float((counts - 8000).abs().max()) < 5 * math.sqrt(8000 * 6 / 7)


def test_normals_have_the_moments_of_the_standard_normal():
    z = draws(range(64)).normal(8192).double()
    count = z.numel()
    assert abs(float(z.mean())) < 5 / math.sqrt(count)
    assert abs(float(z.var()) - 1) < 5 * math.sqrt(2 / count)
    assert abs(float((z**3).mean())) < 5 * math.sqrt(15 / count)
    assert abs(float((z**4).mean()) - 3) < 5 * math.sqrt(96 / count)


def test_the_normal_table_is_symmetric_and_rising_with_variance_one():
    table = keys.normal_table() / keys.NORMAL_SCALE
    assert np.array_equal(table, -table[::-1])
    assert (np.diff(table) > 0).all()
    assert np.mean(table**2) == pytest.approx(1, abs=1e-6)


def test_normals_are_table_entries_at_half_words():
    source = draws([4])
    word = int(source.words(1)[0, 0])
    table = keys.normal_table() / keys.NORMAL_SCALE
    assert source.normal(2)[0].tolist() == [table[word & 0xFFFF], table[word >> 16]]


def test_numba_makes_the_same_words():
    from medrobust.corruptions.numba.noise import add_from_table

    source = draws([2**40 + 3, 9], number=32)
    images = np.zeros((2, 3, 28, 29), np.uint8)
    out = np.empty_like(images)
    low_byte = (np.arange(65536) & 0xFF).astype(np.int16)
    add_from_table(images, out, 0, 2, low_byte, source.index.numpy(), 32, *source.key)
    for channel in range(3):
        words = draws([2**40 + 3, 9], number=32 + channel).words(406)
        halves = torch.stack([words & 0xFFFF, words >> 16], 2).reshape(2, -1)
        assert np.array_equal(out[:, channel].reshape(2, -1), (halves & 0xFF).numpy())
