"""CheXstray and MMC+ against what their formulas give, computed here step by step with scipy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from medrobust.base.fingerprints import fingerprint
from medrobust.exceptions import InvalidDataError
from medrobust.metrics.comparisons import generator
from medrobust.monitor import published_windows
from medrobust.monitor.published import (
    RECIPES,
    Published,
    groups_of,
    standard,
    statistics,
    unified,
    window_of,
)
from medrobust.monitor.published_windows import fit
from medrobust.monitor.studies import DAY, Studies
from medrobust.monitor.watch import fit_monitor, update_monitor

CHEXSTRAY = Published("chexstray", None, window=4, fewest=6, repeats=3, resampled=25)
MMC_PLUS = Published("mmc_plus", 10.0, window=4, fewest=6, repeats=3)


def table(first, days, per_day, seed, name="s"):
    """Two numbers, a category and a vector, of which the first number is missing now and then."""
    rng = np.random.default_rng(seed)
    count = days * per_day
    age = rng.normal(50, 10, count)
    age[::7] = np.nan
    return Studies(
        ids=np.array([f"{name}{first}-{i}" for i in range(count)]),
        times=(first + np.arange(count) // per_day) * DAY,
        patients=np.array([f"{name}{first}-{i}" for i in range(count)]),
        numbers={"age": age, "kvp": rng.normal(110, 5, count)},
        categories={"view": rng.choice(["PA", "AP", "LL"], count)},
        vectors={"embedding": rng.normal(size=(count, 3)).astype(np.float32)},
    )


REFERENCE, WINDOW = table(0, 12, 5, 0), table(12, 5, 5, 1)
TIMES = fingerprint(WINDOW.times.tolist())


def test_defaults_are_the_published_ones():
    assert RECIPES["chexstray"] == Published("chexstray", None, 30, 150, 20, 2500)
    assert RECIPES["mmc_plus"] == Published("mmc_plus", 10.0, 30, 150, 20)


def test_a_window_has_both_its_ends():
    rows = window_of(REFERENCE, 8, CHEXSTRAY)
    assert sorted(set(REFERENCE.days[rows].tolist())) == [4, 5, 6, 7, 8]


def test_chexstray_is_the_mean_of_ks_and_chi_squared_over_resamples():
    found = statistics(REFERENCE, WINDOW, CHEXSTRAY)
    assert list(found) == ["embedding 0", "embedding 1", "embedding 2", "age", "kvp", "view"]
    drawn = generator(f"medrobust monitor chexstray/0/{TIMES}").integers(0, 25, (3, 25))
    for name in ("age", "kvp"):
        known, own = REFERENCE.numbers[name], WINDOW.numbers[name]
        expected = [
            stats.ks_2samp(known[np.isfinite(known)], own[r][np.isfinite(own[r])]).statistic
            for r in drawn
        ]
        assert found[name] == pytest.approx(np.mean(expected))
    names = ["AP", "LL", "PA"]
    texts = [[(values == n).sum() for n in names] for values in [REFERENCE.categories["view"]]]
    expected = [
        stats.chi2_contingency(
            [texts[0], [(WINDOW.categories["view"][r] == n).sum() for n in names]]
        ).statistic
        for r in drawn
    ]
    assert found["view"] == pytest.approx(np.mean(expected))


def test_mmc_plus_is_the_mean_of_what_lies_beyond_the_reference_itself():
    found = statistics(REFERENCE, WINDOW, MMC_PLUS)
    assert list(found) == ["embedding", "age", "kvp", "view"]
    rng = generator(f"medrobust monitor mmc_plus/0/{TIMES}")

    def moved(first, second):
        cost = ((first[:, None].astype(float) - second[None].astype(float)) ** 2).sum(axis=2)
        return cost[optimize.linear_sum_assignment(cost)].mean()

    def apart(first, second):
        shares = [np.array([(v == n).mean() for n in ("AP", "LL", "PA")]) for v in (first, second)]
        return np.sqrt(0.5 * ((np.sqrt(shares[0]) - np.sqrt(shares[1])) ** 2).sum())

    def beyond(distance, known, own):
        parts = []
        for _ in range(3):
            first, second = (known[rng.integers(0, len(known), len(own))] for _ in range(2))
            parts.append(max(distance(first, own) - distance(first, second), 0.0))
        return np.mean(parts)

    vectors = [s.vectors["embedding"] for s in (REFERENCE, WINDOW)]
    assert found["embedding"] == pytest.approx(beyond(moved, *vectors), rel=1e-6)
    for name in ("age", "kvp"):
        pair = [s.numbers[name][np.isfinite(s.numbers[name])] for s in (REFERENCE, WINDOW)]
        assert found[name] == pytest.approx(beyond(stats.wasserstein_distance, *pair))
    texts = [s.categories["view"] for s in (REFERENCE, WINDOW)]
    assert found["view"] == pytest.approx(beyond(apart, *texts))


def test_rows_of_the_reference_in_the_window_are_taken_out_of_mmc_plus():
    same = statistics(REFERENCE, REFERENCE.rows(np.arange(20)), MMC_PLUS)
    others = replace(REFERENCE, vectors={"embedding": REFERENCE.vectors["embedding"][20:]})
    rng = np.random.default_rng(0)
    known, own = others.vectors["embedding"], REFERENCE.vectors["embedding"][:20]
    first = known[rng.integers(0, len(known), 20)]
    assert len(first) == 20
    assert same["embedding"] >= 0
    assert not (known[:, None] == own[None]).all(axis=2).any()


def test_mmc_falls_is_cut_and_standardised_by_sample_spread():
    recipe = RECIPES["chexstray"]
    known = standard({"a": np.array([1.0, 3.0]), "b": np.array([2.0, 2.0])}, recipe)
    assert known == {"a": (2.0, pytest.approx(np.sqrt(2))), "b": (2.0, 1.0)}
    groups = {"a": "scores", "b": "metadata"}
    value, z = unified({"a": 2 + np.sqrt(2), "b": 50.0}, known, recipe, groups)
    assert z == {"a": pytest.approx(1.0), "b": 10.0}
    assert value == pytest.approx(-5.5)
    weighted, _ = unified({"a": 2 + np.sqrt(2), "b": 50.0}, known, recipe, groups, {"a": 3, "b": 1})
    assert weighted == pytest.approx(-(3 * 1 + 10) / 4)


def test_mmc_plus_rises_and_gives_each_group_a_third():
    recipe = RECIPES["mmc_plus"]
    names = ("embedding", "scores", "age", "view")
    known = standard({name: np.array([0.0, 2.0]) for name in names}, recipe)
    spread = np.sqrt(2) + 1e-6
    assert known["age"] == (1.0, pytest.approx(spread))
    groups = {"embedding": "embedding", "scores": "scores", "age": "metadata", "view": "metadata"}
    values = {"embedding": 1 + 30 * spread, "scores": 1.0, "age": 1 + 3 * spread, "view": 1.0}
    value, z = unified(values, known, recipe, groups)
    assert z["embedding"] == pytest.approx(30)  # nothing is cut
    assert value == pytest.approx((30 + 0 + (3 + 0) / 2) / 3)


def test_groups_are_one_vector_or_its_components():
    assert groups_of(REFERENCE, MMC_PLUS)["embedding"] == "embedding"
    assert groups_of(REFERENCE, CHEXSTRAY)["embedding 2"] == "embedding"
    assert groups_of(REFERENCE, CHEXSTRAY)["view"] == "metadata"


def test_mmc_plus_leaves_windows_out_that_reach_before_the_reference():
    few = replace(MMC_PLUS, fewest=26)
    with pytest.raises(InvalidDataError, match="fewer than two windows"):
        fit(REFERENCE, few, None)
    record, _ = fit(REFERENCE, replace(few, name="chexstray", fewest=6), 3.0)
    assert record["limit"] == 3.0
    nothing = replace(REFERENCE, numbers={}, categories={}, vectors={})
    with pytest.raises(InvalidDataError, match="has no stream"):
        fit(nothing, few, None)


def test_every_window_of_a_published_recipe_is_told_when_it_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "chexstray", CHEXSTRAY)
    told = []
    tell = lambda done, total: told.append((done, total))  # noqa: E731
    fit_monitor(tmp_path / "m", REFERENCE, key=b"k" * 32, recipe="chexstray", on_step=tell)
    total = told[0][1]
    assert told == [(done, total) for done in range(1, total + 1)]
    told.clear()
    update_monitor(tmp_path / "m", table(12, 6, 5, 1), key=b"k" * 32, on_step=tell)
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("name", ["chexstray", "mmc_plus"])
def test_a_published_monitor_is_updated_in_parts_as_at_once(tmp_path, monkeypatch, name):
    recipe = CHEXSTRAY if name == "chexstray" else MMC_PLUS
    monkeypatch.setitem(RECIPES, name, recipe)
    new = table(12, 6, 5, 1)
    new = replace(new, numbers={**new.numbers, "kvp": new.numbers["kvp"] + 40})
    windows = []
    halves = [new.rows(np.arange(15)), new.rows(np.arange(15, 30))]
    for number, (key, parts) in enumerate(
        ((b"k" * 32, [new]), (b"k" * 32, halves), (b"m" * 32, [new]))
    ):
        place = tmp_path / f"{name}{number}"
        fit_monitor(place, REFERENCE, key=key, recipe=name, limit=1.0)
        for part in parts:
            found = update_monitor(place, part, key=key)
        windows.append((place / "windows.json").read_text())
        assert found.alarm
        assert found.status["contributions"][0][0] == "kvp"
        assert (found.status["statistic"] < 0) == (name == "chexstray")
    assert windows[0] == windows[1]
    made = [[(one["z"], one["statistic"]) for one in json.loads(text)] for text in windows]
    assert made[0] == made[2]  # the key that hides names moves no number


@pytest.mark.slow
@pytest.mark.parametrize(
    "edit",
    [
        lambda windows: windows[-1].update(statistic=0.0, alarm=False),
        lambda windows: windows[-1].update(statistic=float("nan")),
        lambda windows: windows[-1]["z"].update(kvp=0.0),
        lambda windows: windows[-1].update(seal=windows[-2]["seal"]),
        lambda windows: windows[-1].update(windows[-2]),
        lambda windows: windows.insert(0, "no window"),
        lambda windows: [window.pop("seal", None) for window in windows],
    ],
)
def test_a_window_that_was_edited_is_made_anew_and_no_other(tmp_path, monkeypatch, edit):
    monkeypatch.setitem(RECIPES, "mmc_plus", MMC_PLUS)
    place, key = tmp_path / "monitor", b"k" * 32
    fit_monitor(place, REFERENCE, key=key, recipe="mmc_plus", limit=2.0)
    new = replace(WINDOW, numbers={**WINDOW.numbers, "kvp": WINDOW.numbers["kvp"] + 40})
    assert update_monitor(place, new, key=key).alarm
    names = ("windows.json", "status.json")
    before = [(place / name).read_text() for name in names]
    windows = json.loads(before[0])
    edit(windows)
    (place / "windows.json").write_text(json.dumps(windows))
    made = []

    def counted(*given):
        made.append(given)
        return statistics(*given)

    monkeypatch.setattr(published_windows, "statistics", counted)
    assert update_monitor(place, new, key=key).alarm
    assert [(place / name).read_text() for name in names] == before
    without = sum("seal" not in one for one in windows if isinstance(one, dict) and one["content"])
    assert len(made) == (without or ("no window" not in windows))


def test_a_window_of_another_monitor_is_not_taken_for_its_own(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "mmc_plus", MMC_PLUS)
    key, found = b"k" * 32, []
    for name, reference in (("one", REFERENCE), ("other", table(0, 12, 5, 7))):
        fit_monitor(tmp_path / name, reference, key=key, recipe="mmc_plus", limit=2.0)
        update_monitor(tmp_path / name, WINDOW, key=key)
        found.append((tmp_path / name / "windows.json").read_text())
    (tmp_path / "other" / "windows.json").write_text(found[0])
    update_monitor(tmp_path / "other", WINDOW, key=key)
    assert (tmp_path / "other" / "windows.json").read_text() == found[1] != found[0]
