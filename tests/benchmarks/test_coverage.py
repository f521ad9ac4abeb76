"""The simulations of coverage run, and find what is known."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage_least, coverage_pairs, coverage_small


@pytest.fixture(autouse=True)
def few_turns(monkeypatch):
    monkeypatch.setattr("medrobust.metrics.flips.FEWEST_TURNS", 199)
    monkeypatch.setattr("medrobust.metrics.flips.TURNS_PER_TEST", 0)


def test_newcombes_tenth_method_joins_wilsons_intervals_by_the_corrected_correlation():
    first, second = np.repeat([1.0, 1.0, 0.0], [36, 12, 2]), np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
    one, two = (
        stats.binomtest(hits, 50).proportion_ci(method="wilson") for hits in (48, 38)
    )  # 36 both, 12 and 2 one of them, 0 none: ad - bc is below 0, so not corrected
    phi = (36 * 0 - 12 * 2) / np.sqrt(48 * 2 * 38 * 12)
    below, above = 0.96 - one.low, two.high - 0.76
    low = 0.2 - np.sqrt(below**2 + above**2 - 2 * phi * below * above)
    assert coverage_pairs.newcombe(first[None], second[None])[0][0] == pytest.approx(low)


@pytest.mark.parametrize(
    "pair",
    [
        next(coverage_pairs.intervals()),
        coverage_pairs.Pair((40, 10), (0.4, 0.1), (0.2, 0.1), patient=5),
    ],
)
def test_drawn_models_have_the_errors_that_are_stated(pair):
    first, second, _ = pair.draw(3000, np.random.default_rng(0))
    labels = pair.labels
    for wrong, errors in ((first, pair.first), (second, pair.second)):
        means = [wrong[:, labels == k].mean() for k in range(len(errors))]
        assert means == pytest.approx(errors, abs=0.015)


@pytest.mark.slow
def test_every_table_of_small_cells_has_its_columns():
    for columns, rows, _ in coverage_small.TABLES.values():
        assert len(next(iter(rows(3)))) == len(columns)


def test_interval_and_level_tables_have_their_columns():
    for title in ("Intervals of differences of errors", "Type I error of one pair, %"):
        columns, rows, _ = coverage_pairs.TABLES[title]
        assert len(next(iter(rows(20)))) == len(columns)
    for columns, rows, _ in coverage_least.TABLES.values():
        assert len(next(iter(rows(20)))) == len(columns)


def test_the_least_that_an_interval_of_six_images_covers_is_counted_by_hand():
    # it may leave out no difference where one model alone errs on five images or on all six: twice
    # p^6 is 1/32 at most; with p^4 it would be above 5 % (p = .35), and so with 5 against 1 (7/32)
    expected = 1 - 2 * (6 * 0.1**5 * 0.8 + 0.1**6)
    assert coverage_least.least_covered(6, (0.1, 0.1)) == pytest.approx(expected, abs=1e-12)
    assert coverage_least.least_covered(3, (0.1, 0.1)) == pytest.approx(1)
