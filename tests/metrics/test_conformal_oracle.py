"""Conformal sets and p-values beside MAPIE, where it is installed: it is in no extra."""

import warnings

import numpy as np
import pytest

from medrobust.metrics import conformal


def test_sets_of_lac_are_those_of_mapie() -> None:
    mapie = pytest.importorskip("mapie.classification", exc_type=ImportError)
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    x, y = make_classification(1500, n_features=8, n_informative=6, n_classes=4, random_state=0)
    model = LogisticRegression(max_iter=500).fit(x[:500], y[:500])
    calibration, test = (model.predict_proba(part) for part in (x[500:1000], x[1000:]))
    scores = conformal.of_labels(conformal.lac_scores(calibration), y[500:1000])
    for alpha in (0.05, 0.1, 0.2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = mapie.SplitConformalClassifier(
                estimator=model, confidence_level=1 - alpha, conformity_score="lac", prefit=True
            )
            theirs.conformalize(x[500:1000], y[500:1000])
            _, sets = theirs.predict_set(x[1000:])
        ours = conformal.lac_scores(test) <= conformal.conformal_quantile(scores, alpha)
        assert np.array_equal(ours, sets[..., 0])


@pytest.mark.parametrize(("n", "risk", "alpha"), [(1000, 0.05, 0.1), (500, 0.08, 0.1)])
def test_p_values_are_those_of_mapie(n: int, risk: float, alpha: float) -> None:
    methods = pytest.importorskip("mapie.risk_control.methods", exc_type=ImportError)
    theirs = methods.compute_hoeffding_bentkus_p_value(np.array([risk]), n, np.array([alpha]))
    assert conformal.hoeffding_bentkus(n, risk, alpha) == pytest.approx(float(theirs.squeeze()))
