"""Agreement within units against plain loops over all pairs."""

from itertools import combinations

import numpy as np
import pytest

from medrobust.metrics.consistency import (
    agreement,
    cosine_within,
    kept_agreement,
    pairs_of,
)


def listed(units: np.ndarray, sides: np.ndarray | None) -> dict[int, list[tuple[int, int]]]:
    return {
        unit: [
            (a, b)
            for a, b in combinations(np.flatnonzero(units == unit).tolist(), 2)
            if sides is None or sides[a] != sides[b]
        ]
        for unit in range(units.max() + 1)
    }


@pytest.mark.parametrize("labels", [None, 3])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_all_pairs(seed: int, between: bool, labels: int | None) -> None:
    rng = np.random.default_rng(seed)
    units = np.unique(rng.integers(0, 9, 40), return_inverse=True)[1]
    sides = rng.integers(0, 2, 40) if between else None
    shape = (40,) if labels is None else (40, labels)
    clean, corrupted = rng.integers(0, 3 if labels is None else 2, (2, *shape))
    features = rng.normal(size=(40, 5))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    pairs = listed(units, sides)

    def means(value) -> list[float]:
        return [
            np.mean([value(*pair) for pair in own]) if own else np.nan for own in pairs.values()
        ]

    def same(answers: np.ndarray, a: int, b: int) -> bool:
        return bool(np.all(answers[a] == answers[b]))

    assert pairs_of(units, sides).tolist() == [len(own) for own in pairs.values()]
    found = agreement(units, clean, sides)
    np.testing.assert_allclose(found, means(lambda a, b: same(clean, a, b)))
    cosines = cosine_within(units, features, sides)
    np.testing.assert_allclose(cosines, means(lambda a, b: unit[a] @ unit[b]))
    kept = kept_agreement(units, clean, corrupted, sides)
    pairs = {u: [p for p in own if same(clean, *p)] for u, own in pairs.items()}
    np.testing.assert_allclose(kept, means(lambda a, b: same(corrupted, a, b)))


def test_equal_answers_agree_and_images_that_stand_alone_say_nothing() -> None:
    units, answers = np.array([0, 0, 1]), np.array([4, 4, 4])
    assert agreement(units, answers)[0] == kept_agreement(units, answers, answers)[0] == 1
    assert np.isnan(agreement(units, answers)[1])
    assert np.isnan(agreement(units, answers, np.array([0, 0, 1]))).all()
