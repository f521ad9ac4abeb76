"""The simulations of coverage run, and find what is known."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage_pairs, coverage_small


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


def test_every_table_of_small_cells_has_its_columns():
    for columns, rows, _ in coverage_small.TABLES.values():
        assert len(next(iter(rows(3)))) == len(columns)


def test_interval_and_level_tables_have_their_columns():
    for title in ("Intervals of differences of errors", "Type I error of one pair, %"):
        columns, rows, _ = coverage_pairs.TABLES[title]
        assert len(next(iter(rows(20)))) == len(columns)
