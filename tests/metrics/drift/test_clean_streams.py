"""Days drawn from a clean period scatter as its days do, whatever makes them differ."""

import numpy as np
import pytest

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.drift.clean_streams import clean_period

BLOCKS, DAYS, PATIENTS = 40, 7, 10


def period(rng, *, week=0.0, day=0.0, images=1, balanced=False):
    """Rows of one column, with effects of weeks, days and patients of several images."""
    days = np.repeat(np.arange(BLOCKS * DAYS), PATIENTS * images)
    patients = np.arange(len(days)) // images
    own = rng.normal(size=patients.max() + 1)
    if balanced:
        own = np.tile(np.linspace(-1, 1, PATIENTS), BLOCKS * DAYS)
    values = own[patients] + 0.5 * rng.normal(size=len(days)) * (not balanced)
    values += day * rng.normal(size=days.max() + 1)[days]
    values += week * rng.normal(size=BLOCKS)[days // DAYS]
    return values[:, None].astype(np.float32), days, patients


def squared(off):
    return off**2


def block_means(sums, counts):
    return sums.sum(axis=(1, 2)) / counts.sum(axis=1)


@pytest.mark.parametrize(
    "site", [{}, {"images": 3}, {"day": 0.5}, {"week": 0.5}, {"week": 0.3, "day": 0.3, "images": 2}]
)
def test_drawn_blocks_scatter_as_those_of_the_period(site):
    rng = np.random.default_rng(0)
    rows, days, patients = period(rng, **site)
    found = clean_period(rows, days, patients, squared)
    drawn = found.drawn(4000, rng)
    own = rows.reshape(BLOCKS, -1).mean(axis=1).var(ddof=1)
    assert block_means(drawn.sums, drawn.counts).var() == pytest.approx(own, rel=0.08)
    assert block_means(drawn.sums, drawn.counts).mean() == pytest.approx(rows.mean(), abs=0.02)


def test_blocks_that_are_more_alike_than_chance_stay_so():
    rng = np.random.default_rng(1)
    rows, days, patients = period(rng, balanced=True, day=0.02)
    found = clean_period(rows, days, patients, squared)
    own = rows.reshape(BLOCKS, -1).mean(axis=1).var(ddof=1)
    drawn = found.drawn(4000, rng)
    assert block_means(drawn.sums, drawn.counts).var() == pytest.approx(own, rel=0.1)


def test_studies_drawn_one_by_one_scatter_as_sums_do_and_keep_patients_whole():
    rng = np.random.default_rng(2)
    rows, days, patients = period(rng, week=0.5, images=3)
    found = clean_period(rows, days, patients, squared)
    drawn, when, whose = found.drawn_studies(3000, rng)
    assert np.bincount(whose).tolist() == [3] * (whose.max() + 1)
    means = np.bincount(when // DAYS, drawn[:, 0]) / np.bincount(when // DAYS)
    own = rows.reshape(BLOCKS, -1).mean(axis=1).var(ddof=1)
    assert means.var() == pytest.approx(own, rel=0.1)
    again = clean_period(drawn, when, whose, squared)  # can itself be taken apart
    assert len(again.patients) == 3000


def test_weekdays_stay_in_order():
    rng = np.random.default_rng(3)
    rows, days, patients = period(rng)
    rows[days % 7 == 6] += 3
    keep = (days % 7 != 5) & (days > 3)  # no studies on one weekday; the period begins late
    found = clean_period(rows[keep], days[keep], patients[keep], squared)
    drawn = found.drawn(500, rng)
    daily = drawn.sums[..., 0].sum(axis=0) / np.maximum(drawn.counts.sum(axis=0), 1)
    assert int(daily.argmax()) == 2  # counted from day 4
    assert drawn.counts.sum(axis=0)[1] == 0


def test_a_block_without_studies_counts_for_nothing_and_is_never_drawn():
    rng = np.random.default_rng(5)
    rows, days, patients = period(rng, week=0.5, images=2)
    keep = days // DAYS != 20  # a week in which the site was closed
    found = clean_period(rows[keep], days[keep], patients[keep], squared)
    assert found.patients[20] == 0
    assert np.isfinite(found.effects).all()
    drawn = found.drawn(4000, rng)
    assert drawn.counts.sum(axis=1).min() > 0
    own = rows.reshape(BLOCKS, -1).mean(axis=1)[np.arange(BLOCKS) != 20].var(ddof=1)
    assert block_means(drawn.sums, drawn.counts).var() == pytest.approx(own, rel=0.08)


def test_a_period_needs_four_blocks():
    rows, days, patients = period(np.random.default_rng(4))
    short = days < 27
    with pytest.raises(InvalidDataError, match="28 days or more"):
        clean_period(rows[short], days[short], patients[short], squared)
