"""Parity with numbers of POT, river and NannyML: none of them is needed to run this."""

import json
from pathlib import Path

import numpy as np
import pytest

from medrobust.metrics.drift.detectors import PageHinkley
from medrobust.metrics.drift.kernels import squared_distances
from medrobust.metrics.drift.transport import sliced_wasserstein, transport_cost, transport_plan
from medrobust.metrics.drift.univariate import wasserstein
from medrobust.metrics.label_free import (
    calibrated,
    calibration,
    expected_accuracy,
    expected_area,
)
from tests.data.drift_oracles import make

EXPECTED = json.loads((Path(make.__file__).parent / "expected.json").read_text())


@pytest.mark.parametrize(("sizes", "wanted"), list(zip(make.SIZES, EXPECTED["pot"], strict=True)))
def test_transport_is_that_of_pot(sizes, wanted):
    x, y, directions = make.samples(*sizes)
    cost = squared_distances(x, y)
    assert transport_cost(cost) == pytest.approx(wanted["squared"], rel=1e-9)
    assert transport_plan(cost).sum(axis=1) == pytest.approx(np.full(sizes[0], 1 / sizes[0]))
    assert wasserstein(x[:, 0], y[:, 0]) == pytest.approx(wanted["one"], rel=1e-9)
    assert sliced_wasserstein(x, y, directions) == pytest.approx(wanted["sliced"], rel=1e-9)


@pytest.mark.parametrize(("seed", "step"), list(zip(make.SEEDS, EXPECTED["river"], strict=True)))
def test_page_hinkley_alarms_where_rivers_does(seed, step):
    path = PageHinkley().path(make.series(seed))
    assert int((path > 50).argmax()) == step
    assert path[:step].max() <= 50


def test_accuracy_and_auroc_without_labels_are_those_of_nannyml():
    wanted = EXPECTED["nannyml"]
    source, truth, target = make.scored()
    both, other = (np.stack([1 - scores, scores], axis=1) for scores in (source, target))
    chances = calibrated(calibration(both, truth), other)
    assert chances[:20, 1] == pytest.approx(wanted["chances"], abs=1e-9)
    answered = (target >= 0.5).astype(int)
    assert expected_accuracy(chances, answered) == pytest.approx(wanted["accuracy"], abs=1e-9)
    area = expected_area(target, chances[:, 1])
    assert area == pytest.approx(wanted["area"], abs=1e-5)  # it rounds counts to 5 digits
