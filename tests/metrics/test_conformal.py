"""Sets of answers: published numbers, coverage by simulation, the mis-paired weighted quantile."""

import numpy as np
import pytest
from scipy import special, stats

from medrobust.metrics import conformal

CHANCES = np.array([[0.5, 0.3, 0.15, 0.05]])


def test_scores_have_the_published_values():
    np.testing.assert_allclose(conformal.aps_scores(CHANCES), [[0.5, 0.8, 0.95, 1.0]])
    raps = conformal.raps_scores(CHANCES, penalty=0.1, allowed=1)
    np.testing.assert_allclose(raps, [[0.5, 0.9, 1.15, 1.3]])
    np.testing.assert_allclose(conformal.lac_scores(CHANCES), 1 - CHANCES)
    shares = np.array([0.5])
    np.testing.assert_allclose(conformal.aps_scores(CHANCES, shares), [[0.25, 0.65, 0.875, 0.975]])


def test_equal_chances_have_equal_scores_in_any_order_of_classes():
    tied = np.array([[0.3, 0.3, 0.4], [0.25, 0.5, 0.25]])
    np.testing.assert_allclose(conformal.aps_scores(tied), [[1, 1, 0.4], [1, 0.5, 1]])
    raps = conformal.raps_scores(tied, penalty=0.1, allowed=1)
    np.testing.assert_allclose(raps, [[1.2, 1.2, 0.4], [1.2, 0.5, 1.2]])


def test_the_quantile_is_infinite_for_too_few_images():
    scores = np.arange(1.0, 20.0)
    assert conformal.conformal_quantile(scores, 0.05) == 19.0
    assert conformal.conformal_quantile(scores[:18], 0.05) == np.inf
    assert [conformal.fewest(alpha) for alpha in (0.5, 0.2, 0.1, 0.05, 0.01)] == [1, 4, 9, 19, 99]
    for alpha in (0.5, 0.2, 0.1, 0.05, 0.01):
        least = conformal.fewest(alpha)
        assert np.isfinite(conformal.conformal_quantile(np.ones(least), alpha))
        assert conformal.conformal_quantile(np.ones(least - 1), alpha) == np.inf


def test_class_quantiles_are_of_each_class_alone():
    scores = np.r_[np.arange(1.0, 10.0), np.arange(101.0, 109.0)]
    labels = np.repeat([0, 1], [9, 8])
    assert conformal.class_quantiles(scores, labels, 3, 0.1).tolist() == [9.0, np.inf, np.inf]


def test_bands_and_deviations_are_those_of_the_beta_binomial():
    assert conformal.coverage_band(500, 1000, 0.1) == (0.866, 0.930)
    for n, m, alpha in ((19, 7, 0.05), (100, 3000, 0.1), (57, 200, 0.25)):
        k = int(np.ceil((n + 1) * (1 - alpha) - 1e-9))
        law = stats.betabinom(m, k, n + 1 - k)
        expected = law.ppf(0.025) / m, law.ppf(0.975) / m
        assert conformal.coverage_band(n, m, alpha) == pytest.approx(expected)
        sd = stats.beta(k, n + 1 - k).std()
        assert conformal.coverage_deviation(n, alpha) == pytest.approx(sd)
    assert conformal.coverage_band(8, 50, 0.1) == (1.0, 1.0)
    published = {19: 0.0655, 100: 0.0296, 500: 0.0134, 1000: 0.0095}
    for n, deviation in published.items():
        assert conformal.coverage_deviation(n, 0.1) == pytest.approx(deviation, abs=5e-5)


def test_p_values_have_the_published_numbers():
    for count, risk, p in ((1000, 0.05, 1.6297e-8), (500, 0.08, 0.2041139), (100, 0.05, 0.1565102)):
        assert conformal.hoeffding_bentkus(count, risk, 0.1) == pytest.approx(p, rel=1e-4)
    for count, losses in ((500, 40), (100, 5), (1000, 50), (20, 0)):
        p = stats.binom(count, 0.1).cdf(losses)
        assert conformal.exact_tail(count, losses, 0.1) == pytest.approx(p)
    assert conformal.exact_tail(500, 40, 0.1) == pytest.approx(0.0750893, abs=1e-7)
    assert conformal.exact_tail(100, 5, 0.1) == pytest.approx(0.0575769, abs=1e-7)


def test_weights_move_the_quantile_as_the_published_cumulative_sums_say():
    scores, weights = np.array([0.1, 0.2, 0.3, 0.4, 5.0]), np.array([1.0, 1, 2, 4, 8])
    cumulative = np.array([0.0588, 0.1176, 0.2353, 0.4706, 0.9412])
    for share, score in zip(cumulative, scores, strict=True):
        found = conformal.weighted_quantiles(scores, weights, np.ones(1), 1 - share + 1e-3)
        assert found.tolist() == [score]
    assert conformal.weighted_quantiles(scores, weights, np.ones(1), 0.05).tolist() == [np.inf]
    shuffled = np.array([3, 0, 4, 1, 2])
    again = conformal.weighted_quantiles(scores[shuffled], weights[shuffled], np.ones(1), 0.6)
    assert again.tolist() == [0.4]


def mispaired(
    scores: np.ndarray, weights: np.ndarray, test_weights: np.ndarray, alpha: float
) -> np.ndarray:
    """What a public library does: scores and weights are sorted each on their own."""
    return conformal.weighted_quantiles(np.sort(scores), np.sort(weights), test_weights, alpha)


@pytest.mark.parametrize(
    ("density", "wrong", "plain"),
    [(lambda x: 2 * x, 0.921, 0.855), (lambda x: 2 * (1 - x), 0.975, 0.945)],
)
def test_weighted_quantiles_cover_under_a_known_shift_and_mispaired_ones_do_not(
    density, wrong, plain
):
    rng = np.random.default_rng(11)
    shares = {"right": [], "mispaired": [], "unweighted": []}
    for _ in range(120):
        x = rng.random(500)
        scores = np.abs(rng.normal(size=500)) * (0.5 + x)
        drawn = rng.random(3000)
        test = drawn[rng.random(3000) * 2 < density(drawn)]
        new = np.abs(rng.normal(size=len(test))) * (0.5 + test)
        pair = (scores, density(x), density(test), 0.1)
        shares["right"].append((new <= conformal.weighted_quantiles(*pair)).mean())
        shares["mispaired"].append((new <= mispaired(*pair)).mean())
        shares["unweighted"].append((new <= conformal.conformal_quantile(scores, 0.1)).mean())
    found = {name: np.mean(each) for name, each in shares.items()}
    assert found["right"] == pytest.approx(0.9, abs=0.006)
    assert found["mispaired"] == pytest.approx(wrong, abs=0.008)
    assert found["unweighted"] == pytest.approx(plain, abs=0.006)


def cell(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(4, size=count)
    logits = rng.normal(size=(count, 4)) + 1.5 * np.eye(4)[labels]
    return special.softmax(1.5 * logits, axis=1), labels


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_coverage_of_exchangeable_images_lies_in_its_band_as_often_as_stated(method):
    rng = np.random.default_rng(12)
    score = {
        "lac": lambda p: conformal.lac_scores(p),
        "aps": lambda p: conformal.aps_scores(p, rng.random(len(p))),
        "raps": lambda p: conformal.raps_scores(p, rng.random(len(p)), penalty=0.05),
    }[method]
    low, high = conformal.coverage_band(200, 400, 0.1)
    inside, mean = 0, 0.0
    for _ in range(250):
        (own, known), (new, labels) = cell(200, rng), cell(400, rng)
        limit = conformal.conformal_quantile(conformal.of_labels(score(own), known), 0.1)
        coverage = conformal.set_facts(score(new) <= limit, labels).coverage
        inside += low <= coverage <= high
        mean += coverage / 250
    assert mean == pytest.approx(181 / 201, abs=0.005)
    assert inside >= 250 * 0.95 - 2 * np.sqrt(250 * 0.05 * 0.95)


def test_risk_control_keeps_the_expected_loss_of_new_images():
    rng = np.random.default_rng(13)
    scale = np.linspace(0, 1, 51)
    losses = []
    for _ in range(400):
        needed = rng.beta(2, 5, size=61)  # an image loses what lies beyond its place on the scale
        table = np.maximum(needed[:, None] - scale, 0) > 0
        place = conformal.controlled_place(table[:60].astype(float), 0.2)
        assert place is not None
        losses.append(table[60, place])
    assert np.mean(losses) <= 0.2 + 2 * np.sqrt(0.16 / 400)
    assert np.mean(losses) >= 0.2 - 1 / 61 - 0.02 - 2 * np.sqrt(0.16 / 400)
    assert conformal.controlled_place(np.ones((5, 3)), 0.2) is None


def test_facts_of_sets_are_counted_by_class_and_by_size():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    found = conformal.set_facts(sets, np.array([0, 2, 1, 2]))
    assert found.covered.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert found.by_class.tolist() == [1.0, 0.0, 0.5]
    assert found.by_size == {0: (1, 0.0), 1: (1, 1.0), 2: (1, 0.0), 3: (1, 1.0)}
    assert found.class_gap(0.1) == pytest.approx((0.1 + 0.9 + 0.4) / 3)
    assert found.least_by_size() == 0.0
    assert found.least_by_size(2) == found.coverage


def test_sets_are_those_of_mapie():
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(14)
    labels = rng.integers(3, size=600)
    features = rng.normal(size=(600, 3)) + 1.2 * np.eye(3)[labels]
    model = LogisticRegression().fit(features[:200], labels[:200])
    own, new = model.predict_proba(features[200:400]), model.predict_proba(features[400:])
    split = mapie.SplitConformalClassifier(
        model, confidence_level=0.9, conformity_score="lac", prefit=True
    )
    split.conformalize(features[200:400], labels[200:400])
    theirs = split.predict_set(features[400:])[1][:, :, 0]
    scores = conformal.of_labels(conformal.lac_scores(own), labels[200:400])
    ours = conformal.lac_scores(new) <= conformal.conformal_quantile(scores, 0.1)
    assert (ours == theirs).all()


def test_weights_of_zero_say_nothing_and_divide_nothing():
    scores, none = np.array([0.1, 0.2]), np.zeros(2)
    with np.errstate(all="raise"):
        found = conformal.weighted_quantiles(scores, none, np.array([0.0, 1.0]), 0.1)
        assert found.tolist() == [np.inf, np.inf]
        assert conformal.effective_size(none) == 0.0
    one = np.array([0.0, 1.0])
    assert conformal.weighted_quantiles(scores, one, np.zeros(1), 0.1).tolist() == [0.2]
