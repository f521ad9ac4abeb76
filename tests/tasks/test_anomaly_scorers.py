"""Memory banks, Gaussians and windows: against scikit-learn and numpy, whatever the order."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.tasks.anomaly.scorers import bank as bank_module
from medrobust.tasks.anomaly.scorers.bank import BankBuilder, MemoryBank, coreset
from medrobust.tasks.anomaly.scorers.gaussian import GaussianBuilder
from medrobust.tasks.anomaly.scorers.windows import (
    harmonic_map,
    harmonic_scales,
    window_means,
    window_members,
)

IMAGES, PLACES, WIDTH = 9, 12, 7
INDEX = np.array([40, 3, 99, 2**62, 7, 12, 5, 6, 8])


def states(seed: int = 0, count: int = IMAGES) -> Tensor:
    return torch.randn(count, PLACES, WIDTH, generator=torch.Generator().manual_seed(seed))


def built(builder: Any, given: Tensor, cuts: tuple[int, ...], order: Any = None) -> Any:
    rows = np.arange(IMAGES) if order is None else np.asarray(order)
    for start, end in pairwise((0, *cuts, IMAGES)):
        some = rows[start:end]
        builder.add(INDEX[some].tolist(), {4: given[some], 9: 2 * given[some] + 1})
    return builder.finish()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("at_once", [1 << 24, 50])
def test_distances_are_those_of_scikit_learn(
    metric: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_module, "AT_ONCE", at_once)
    normal, queries = states(), states(1, 4)
    bank = built(BankBuilder(INDEX, metric=metric), normal, ())[4]
    known = NearestNeighbors(n_neighbors=1, metric=metric).fit(normal.flatten(0, 1).double())
    truth = known.kneighbors(queries.flatten(0, 1).double())[0].reshape(4, PLACES)
    np.testing.assert_allclose(bank.distances(queries), truth, atol=1e-6)
    # What lies in the bank is at distance 0, which the square of a sum would blur.
    assert float(bank.distances(normal).max()) < 1e-7


def test_near_places_of_long_vectors_keep_their_distance() -> None:
    base = torch.full((1, 1, 64), 1000.0)
    step = torch.zeros(1, 1, 64)
    step[..., 0] = 0.5
    bank = MemoryBank(base[0], "euclidean")
    assert float(bank.distances(base + step)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("cuts", "order"),
    [((), None), ((1, 2, 3, 4, 5, 6, 7, 8), None), ((4,), [8, 1, 0, 3, 2, 7, 6, 5, 4])],
)
@pytest.mark.parametrize("size", [None, 0.4, 10])
def test_a_bank_does_not_depend_on_order_and_batches(cuts: Any, order: Any, size: Any) -> None:
    given = states()
    first = built(BankBuilder(INDEX, size=size, candidates=60, seed=5), given, (3,))
    again = built(BankBuilder(INDEX, size=size, candidates=60, seed=5), given, cuts, order)
    other = built(BankBuilder(INDEX, size=size, candidates=60, seed=6), given, (3,))
    kept = {None: 54, 0.4: 21, 10: 10}[size]  # of 60, six an image
    for block in (4, 9):
        assert len(first[block].vectors) == kept
        assert torch.equal(first[block].vectors, again[block].vectors)
        assert not torch.equal(first[block].vectors, other[block].vectors)


def test_a_coreset_is_the_greedy_one_by_hand() -> None:
    vectors = states().flatten(0, 1)
    found = coreset(vectors, 15, seed=3).tolist()
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    first = next(row for row in found if greedy(apart, row, 15) == found)
    radius = apart[:, found].min(axis=1).max()
    assert first in found
    worse = [apart[:, np.random.default_rng(s).choice(108, 15, False)] for s in range(50)]
    assert radius < min(one.min(axis=1).max() for one in worse)


def greedy(apart: Any, first: int, size: int) -> list[int]:
    chosen = [first]
    while len(chosen) < size:
        chosen.append(int(apart[:, chosen].min(axis=1).argmax()))
    return sorted(chosen)


def test_equal_rows_are_each_chosen_once() -> None:
    assert coreset(torch.ones(6, 3), 6, seed=0).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_coreset_of_wide_vectors_covers_them() -> None:
    centres = 10 * torch.randn(8, 300, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(160, 300, generator=torch.Generator().manual_seed(1))
    found = coreset(centres.repeat(20, 1) + 0.1 * noise, 8, seed=0)
    assert sorted((found % 8).tolist()) == list(range(8))


@pytest.mark.parametrize("dims", [3, 100])
@pytest.mark.parametrize(("cuts", "order"), [((), None), ((1, 5), [8, 1, 0, 3, 2, 7, 6, 5, 4])])
def test_gaussians_are_those_of_numpy(dims: int, cuts: Any, order: Any) -> None:
    given, queries = states(), states(1, 5)
    found = built(GaussianBuilder(INDEX, dims=dims, seed=2), given, cuts, order)[4]
    assert len(found.dims) == min(dims, WIDTH)
    kept, asked = (one[..., found.dims].double().numpy() for one in (given, queries))
    truth = np.empty((5, PLACES))
    for place in range(PLACES):
        covariance = np.cov(kept[:, place].T) + 0.01 * np.eye(kept.shape[2])
        apart = asked[:, place] - kept[:, place].mean(axis=0)
        truth[:, place] = np.sqrt(np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart))
    np.testing.assert_allclose(found.distances(queries), truth, rtol=1e-4)
    again = built(GaussianBuilder(INDEX, dims=dims, seed=2), given, (2, 3))[4]
    assert torch.equal(again.distances(queries), found.distances(queries))


def test_one_normal_image_is_enough_for_gaussians() -> None:
    builder = GaussianBuilder(np.array([4]), dims=50)
    given = states(0, 1)
    builder.add([4], {1: given})
    found = builder.finish()[1].distances(given + 0.1)
    np.testing.assert_allclose(found, np.full((1, PLACES), WIDTH**0.5), rtol=1e-5)  # 0.1 / √0.01


def test_gaussians_of_many_images_are_of_a_spread_that_their_order_does_not_decide() -> None:
    def fitted(order: Any) -> Any:
        return built(GaussianBuilder(INDEX, images=5, seed=1), states(), (2,), order)[9]

    assert torch.equal(fitted(None).mean, fitted([8, 7, 6, 5, 4, 3, 2, 1, 0]).mean)
    whole = built(GaussianBuilder(INDEX, seed=1), states(), ())[9]
    assert not torch.equal(fitted(None).mean, whole.mean)


@pytest.mark.parametrize("builder", [BankBuilder, GaussianBuilder])
def test_images_that_are_missing_doubled_or_strange_are_named(builder: Any) -> None:
    given = {1: states()[:2]}
    with pytest.raises(ConfigurationError, match="99 is none of the normal"):
        builder(INDEX[:2]).add([40, 99], given)
    twice = builder(INDEX[:2])
    twice.add([40, 3], given)
    with pytest.raises(ConfigurationError, match="40 was added twice"):
        twice.add([40], {1: states()[:1]})
    one = builder(INDEX[:3])
    one.add([40, 3], given)
    with pytest.raises(ConfigurationError, match=r"1 of 3 normal images was .*index 99"):
        one.finish()
    with pytest.raises(ConfigurationError, match="no normal image was added"):
        builder(INDEX).finish()
    with pytest.raises(ConfigurationError, match="each once"):
        builder(np.array([], dtype=np.int64))
    with pytest.raises(
        ConfigurationError, match=r"\(1, P, D\) for 1 image; these are \(2, 12, 7\)"
    ):
        builder(INDEX).add([40], given)
    broken = states()[:2].clone()
    broken[1, 3, 2] = torch.nan
    with pytest.raises(NotFiniteError, match="places of 1 of 2 normal images are not finite"):
        builder(INDEX[:2]).add([40, 3], {1: broken})


def test_candidates_bound_what_is_kept_of_many_images() -> None:
    builder = BankBuilder(np.arange(500), candidates=1_100)
    for start in range(0, 500, 50):
        builder.add(range(start, start + 50), {1: states(start, 50)})
    assert builder.finish()[1].vectors.shape == (1_000, WIDTH)  # two an image
    with pytest.raises(ConfigurationError, match="candidates=100"):
        BankBuilder(np.arange(500), candidates=100)


@pytest.mark.parametrize(("grid", "side"), [((4, 5), 2), ((5, 3), 3), ((3, 3), 1)])
def test_harmonic_means_over_windows_by_hand(grid: tuple[int, int], side: int) -> None:
    members = window_members(grid, side)
    rows, columns = grid[0] - side + 1, grid[1] - side + 1
    assert members.shape == (rows * columns, grid[0] * grid[1])
    scores = torch.rand(2, rows * columns, generator=torch.Generator().manual_seed(0))
    truth = np.zeros((2, *grid))
    counts = np.zeros(grid)
    for window in range(rows * columns):
        row, column = divmod(window, columns)
        where = np.s_[row : row + side, column : column + side]
        truth[:, where[0], where[1]] += 1 / scores[:, window].numpy()[:, None, None]
        counts[where] += 1
    found = harmonic_map(scores, members)
    np.testing.assert_allclose(found.view(2, *grid), counts / truth, rtol=1e-5)


def test_a_score_of_zero_stays_and_scales_join_with_the_image() -> None:
    members = window_members((3, 3), 2)
    found = harmonic_map(torch.tensor([[0.0, 1, 1, 1]]), members)
    assert found[0, 0] < 1e-20
    assert found[0, 8] == 1
    joined = harmonic_scales([torch.full((1, 9), 0.5), torch.full((1, 9), 0.25)], torch.ones(1))
    np.testing.assert_allclose(joined, np.full((1, 9), 3 / (2 + 4 + 1)), rtol=1e-6)
    with pytest.raises(ConfigurationError, match="not negative"):
        harmonic_map(-torch.ones(1, 4), members)
    with pytest.raises(ConfigurationError, match="no window of 4 x 4 places fits 3 x 5"):
        window_members((3, 5), 4)


def test_windows_are_means_of_their_places() -> None:
    joint = states()
    members = window_members((3, 4), 2)
    means = window_means(joint, members)
    truth = joint.view(IMAGES, 3, 4, WIDTH)[:, 1:3, 2:4].mean(dim=(1, 2))
    torch.testing.assert_close(means[:, 5], truth)
    assert functional.normalize(means, dim=-1).shape == (IMAGES, 6, WIDTH)


@pytest.mark.parametrize("encoded", [False, True])
def test_windows_score_by_harmonic_means_of_their_sentences(encoded: bool) -> None:
    from medrobust.models.patches import PatchFeatures, PatchLevel
    from medrobust.tasks.anomaly.windowed import WindowScorer

    states_of = functional.normalize(states(5)[0, :2], dim=-1)
    features, joint = functional.normalize(states(6)[:2, 0], dim=-1), states(7, 2)
    level = PatchLevel(3, joint, (3, 4), lambda one: 2 * one)
    alone = (lambda places: joint[:, places].mean(dim=2)) if encoded else None
    scorer = WindowScorer(states_of, 5.0, 3, encoded=encoded)
    maps, scores = scorer(features, PatchFeatures([level], alone))

    def abnormal(vector: Any) -> float:
        cosines = states_of.numpy() @ vector / np.linalg.norm(vector)
        return float(1 / (1 + np.exp(5 * (cosines[0] - cosines[1]))))

    for image in range(2):
        whole, places = abnormal(features[image].numpy()), joint[image].view(3, 4, WIDTH).numpy()
        assert float(scores[image]) == pytest.approx(whole, rel=1e-5)
        inverse = np.full((3, 4), 1 / whole)
        for side in (2, 3):
            sums, covers = np.zeros((3, 4)), np.zeros((3, 4))
            for row in range(4 - side):
                for column in range(5 - side):
                    part = np.s_[row : row + side, column : column + side]
                    sums[part] += 1 / abnormal(places[part].reshape(-1, WIDTH).mean(axis=0))
                    covers[part] += 1
            inverse += sums / covers
        np.testing.assert_allclose(maps[image], 3 / inverse, rtol=1e-4)
