"""The default recipe: sums of days, statistics of windows, and false alarms within the budget."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError
from medrobust.metrics.drift.clean_streams import clean_period
from medrobust.metrics.drift.detectors import DETECTORS, detector_of
from medrobust.metrics.drift.run_length import first_alarms, limit_over_references, online_mmd
from medrobust.metrics.drift.univariate import chi2_test
from medrobust.monitor import page, windows
from medrobust.monitor.streams import BINS, fit_digester, read_digester
from medrobust.monitor.studies import DAY, Studies
from medrobust.monitor.windows import (
    Settings,
    clean_series,
    daily_sums,
    drawn_path,
    fit_standard,
    window_statistics,
    window_sums,
)


def stream(days, per_day, rng, *, shift=0.0, images=1, dimension=8):
    """Studies of patients who have several images, alike, on one day."""
    count = days * per_day
    patient = np.arange(count) // images
    own = rng.normal(size=(count, dimension))[patient] if images > 1 else 0.0
    rows = 0.5 * own + rng.normal(size=(count, dimension)) + shift
    age = (rng.normal(60, 10, count))[patient]
    return Studies(
        ids=np.arange(count).astype(np.str_),
        times=np.repeat(np.arange(days), per_day) * DAY,
        patients=patient.astype(np.str_),
        numbers={"age": age},
        categories={"view": rng.choice(["PA", "AP", "LL"], count)},
        vectors={"embedding": rows.astype(np.float32)},
    )


def test_statistics_of_sums_are_those_of_studies():
    rng = np.random.default_rng(0)
    reference, window = stream(40, 30, rng), stream(1, 50, rng)
    digester, rows = fit_digester(reference)
    own = digester.digest(window)
    found = digester.statistics(
        own.sum(axis=0, dtype=float)[None],
        np.array([50.0]),
        rows.sum(axis=0, dtype=float),
        float(len(rows)),
    )[0]
    named = dict(zip([one.name for one in digester.streams], found, strict=True))
    scale = np.sqrt(50 * 1200 / 1250)
    ages = [s.numbers["age"] for s in (reference, window)]
    exact = stats.ks_2samp(*ages).statistic * scale
    assert exact * (1 - 2 / BINS) - 0.3 < named["age"] <= exact + 1e-9
    names = ["AP", "LL", "PA"]
    counts = [
        np.array([(s.categories["view"] == n).sum() for n in names]) for s in (reference, window)
    ]
    assert named["view"] ** 2 == pytest.approx(chi2_test(*counts)[0], rel=1e-5)
    embeddings = [s.vectors["embedding"].astype(float) for s in (reference, window)]
    off = embeddings[1].mean(axis=0) - embeddings[0].mean(axis=0)
    covariance = np.cov(embeddings[0].T, bias=True)
    squared = off @ np.linalg.solve(covariance, off)
    assert named["embedding mean"] == pytest.approx(scale * np.sqrt(squared), rel=1e-3)


def test_what_the_online_mmd_follows_is_the_mmd_of_the_windows_vectors():
    rng = np.random.default_rng(7)
    reference, window = stream(40, 10, rng), stream(1, 50, rng, shift=0.3)
    digester, rows = fit_digester(reference)
    found = digester.statistics(
        digester.digest(window).sum(axis=0, dtype=float)[None],
        np.array([50.0]),
        rows.sum(axis=0, dtype=float),
        float(len(rows)),
    )[0, digester.column("online_mmd")]
    arrays, wider = digester.arrays, np.sqrt(400 / (400 - 8 - 1))
    x, y = (s.vectors["embedding"] - arrays["mean"] for s in (reference, window))
    both = np.concatenate([x * wider, y]) @ arrays["components"] @ arrays["waves"]
    kernel = np.cos(both[:, None] - both[None]).mean(axis=-1)  # 1 on the diagonal
    unbiased = online_mmd(kernel, np.arange(400), np.arange(400, 450), 50)[0]
    own, others = (
        (part.sum() - len(part)) / (len(part) * (len(part) - 1))
        for part in (kernel[400:, 400:], kernel[:400, :400])
    )
    biased = unbiased + (1 - own) / 50 + (1 - others) / 400
    assert found**2 / 32 == pytest.approx(biased * 50 * 400 / 450, rel=1e-4)


def test_the_online_mmd_needs_an_embedding():
    reference = stream(40, 10, np.random.default_rng(1))
    digester, rows = fit_digester(replace(reference, vectors={}))
    with pytest.raises(InvalidDataError, match=r"online_mmd follows .* choose another --detector"):
        fit_standard(
            digester, rows, reference.days, reference.patient_codes, Settings(detector="online_mmd")
        )


def test_a_digester_is_read_back_with_its_columns_in_order():
    import json

    reference = stream(40, 30, np.random.default_rng(1))
    digester, _ = fit_digester(reference)
    record = json.loads(json.dumps(digester.record(), sort_keys=True))
    again = read_digester(record, digester.arrays)
    assert again.streams == digester.streams
    assert np.array_equal(again.digest(reference), digester.digest(reference))


def test_missing_values_and_new_categories_have_columns_of_their_own():
    rng = np.random.default_rng(2)
    reference = stream(40, 30, rng)
    digester, _ = fit_digester(reference)
    odd = stream(1, 30, rng)
    odd = Studies(
        odd.ids,
        odd.times,
        odd.patients,
        numbers={"age": np.full(30, np.nan)},
        categories={"view": np.array(["XX"] * 30)},
        vectors=odd.vectors,
    )
    rows = digester.digest(odd)
    places = {one.name: one for one in digester.streams}
    assert (rows[:, places["age"].start] == 1).all()
    assert (rows[:, places["view"].stop - 1] == 1).all()


def test_windows_are_the_sums_of_their_days():
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    days = np.array([5, 5, 6, 8, 8, 9])
    sums, counts = daily_sums(rows, days, 5, 5)
    assert counts.tolist() == [2, 1, 0, 2, 1]
    assert sums[3].tolist() == (rows[3] + rows[4]).tolist()
    assert window_sums(counts, 3).tolist() == [2, 3, 3, 3, 3]


def test_windows_of_drawn_blocks_are_those_of_their_days_one_after_the_other():
    rng = np.random.default_rng(5)
    reference = stream(63, 12, rng)
    odd = reference.numbers["age"].copy()
    odd[::9] = np.nan
    reference = replace(reference, numbers={"age": odd})
    digester, rows = fit_digester(reference)
    pool = clean_period(
        rows, reference.days, reference.patient_codes, digester.sizes_near(rows)
    ).drawn(30, rng)
    pool.counts[3], pool.sums[3] = 0, 0  # a week without studies
    chosen = np.r_[3, 3, rng.integers(0, 30, 12)]
    known, settings = (rows.sum(axis=0, dtype=float), float(len(rows))), Settings(10, 80, 7, 50)
    found = drawn_path(digester, pool, chosen, known, settings)
    expected = window_statistics(digester, *pool.chosen(chosen), known, settings)
    assert 14 < np.isnan(expected[:, 0]).sum() < 50  # two empty weeks, and few studies after
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_sizes_are_squares_of_what_each_stream_compares():
    rng = np.random.default_rng(6)
    reference = stream(30, 12, rng, dimension=3)
    digester, rows = fit_digester(reference)
    off = rng.normal(size=(5, rows.shape[1] + 2))  # two columns of no stream stand alone
    wider = np.c_[rows, np.ones((len(rows), 2), np.float32)]
    found = digester.sizes_near(wider)(off)
    assert found[:, -2:] == pytest.approx(off[:, -2:] ** 2)
    for one in digester.streams:
        part = off[:, one.start : one.stop]
        if one.kind == "ordered":
            part = part.cumsum(axis=1)
        if one.kind == "category":
            shares = rows[:, one.start : one.stop].mean(axis=0, dtype=float)
            part = part / np.sqrt(np.maximum(shares, 1e-9))
        expected = np.broadcast_to((part**2).sum(axis=1)[:, None], part.shape)
        np.testing.assert_allclose(found[:, one.start : one.stop], expected, rtol=1e-12)


def run_lengths(images, seed):
    """Run lengths of each detector on fresh clean streams of one fitted site."""
    rng = np.random.default_rng(seed)
    settings = Settings(window=5, fewest=20, budget=40)
    reference = stream(210, 16, rng, images=images, dimension=4)
    digester, rows = fit_digester(reference)
    columns = [digester.column(name) for name in DETECTORS]
    standard, clean = clean_series(
        digester, rows, reference.days, reference.patient_codes, settings, columns=columns
    )
    known = (rows.sum(axis=0, dtype=float), float(len(rows)))
    fresh = stream(10 * 200, 16, rng, images=images, dimension=4)
    sums, counts = daily_sums(digester.digest(fresh), fresh.days, 0, 2000)
    parts = [slice(200 * k, 200 * (k + 1)) for k in range(10)]
    found = [window_statistics(digester, sums[p], counts[p], known, settings) for p in parts]
    z = standard.z(np.stack(found, axis=1))
    lengths = []
    for name, column, known in zip(DETECTORS, columns, clean, strict=True):
        limit = limit_over_references(detector_of(name).path(known), 40).value
        series = standard.unified(z, column)
        alarms = first_alarms(detector_of(name).path(series), limit)
        lengths.append(np.minimum(alarms, 200).sum() / max((alarms <= 200).sum(), 1))
    return lengths


@pytest.mark.parametrize("images", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_false_alarms_keep_to_the_budget_with_overlapping_windows_and_patients(images, monkeypatch):
    monkeypatch.setattr(windows, "REFERENCES", 16)
    rates = 1 / np.array([run_lengths(images, seed) for seed in range(5)])
    error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
    assert (np.abs(rates.mean(axis=0) - 1 / 40) < 3 * error + 0.15 / 40).all()


@pytest.mark.slow
def test_a_shift_is_seen_within_days():
    rng = np.random.default_rng(3)
    settings = Settings(window=5, fewest=20, budget=100)
    reference = stream(90, 20, rng)
    digester, rows = fit_digester(reference)
    standard = fit_standard(digester, rows, reference.days, reference.patient_codes, settings)
    known = (rows.sum(axis=0, dtype=float), float(len(rows)))
    fresh = stream(20, 20, rng, shift=0.4)
    sums, counts = daily_sums(digester.digest(fresh), fresh.days, 0, 20)
    z = standard.z(window_statistics(digester, sums, counts, known, settings))
    paths = detector_of("ewma").path(standard.unified(z)[:, None])
    assert first_alarms(paths, standard.limit.value)[0] < 8


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InvalidDataError, match="--window 0"):
        Settings(window=0)
    for odd in (0.0, -1.0, float("nan"), float("inf"), 1e9):
        with pytest.raises(InvalidDataError, match="--budget"):
            Settings(budget=odd)
    with pytest.raises(ConfigurationError, match="silent before its day 30"):
        Settings(detector="page_hinkley", budget=30)
    with pytest.raises(UnknownNameError, match="ewma"):
        Settings(detector="ewna")
    reference = stream(40, 3, np.random.default_rng(0))
    digester, rows = fit_digester(reference)
    with pytest.raises(InvalidDataError, match=r"longer than the reference \(40 days\)"):
        fit_standard(digester, rows, reference.days, reference.patient_codes, Settings(window=41))
    with pytest.raises(InvalidDataError, match="widen --window or lower --fewest"):
        fit_standard(digester, rows, reference.days, reference.patient_codes, Settings())


def test_accuracy_is_estimated_from_sums_as_from_studies():
    from medrobust.metrics.label_free import thresholded_confidence

    rng = np.random.default_rng(4)

    def scored(count_days, sharpness):
        made = stream(count_days, 30, rng)
        logits = sharpness * rng.normal(size=(len(made), 3))
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (chances.cumsum(axis=1) > rng.random((len(made), 1))).argmax(axis=1)
        scores = chances.astype(np.float32)
        return replace(made, vectors={**made.vectors, "scores": scores}, labels=labels)

    reference, window = scored(40, 2.0), scored(20, 1.0)
    digester, _ = fit_digester(reference)
    rows = digester.digest(replace(window, labels=None))
    found = digester.accuracy(rows.sum(axis=0, dtype=float)[None], np.array([600.0]))
    tops = [s.vectors["scores"].max(axis=1).astype(float) for s in (reference, window)]
    right = [s.vectors["scores"].argmax(axis=1) == s.labels for s in (reference, window)]
    assert found["atc"][0] == pytest.approx(thresholded_confidence(tops[0], right[0], tops[1]))
    expected = right[0].mean() + tops[1].mean() - tops[0].mean()
    assert found["doc"][0] == pytest.approx(expected, abs=1e-6)
    assert found["doc"][0] == pytest.approx(right[1].mean(), abs=0.06)
    again = read_digester(digester.record(), digester.arrays)
    assert np.array_equal(again.digest(window), digester.digest(window))
    unlabelled, _ = fit_digester(replace(reference, labels=None))
    assert unlabelled.accuracy(rows[:1].astype(float), np.ones(1)) == {}


def test_accuracy_is_estimated_from_probabilities_alone():
    rng = np.random.default_rng(4)
    made = stream(40, 5, rng)
    logits = rng.normal(0, 3, (len(made), 3)).astype(np.float32)
    chances = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    labels = rng.integers(0, 3, len(made))

    def scored(scores, own=labels):
        return replace(made, vectors={**made.vectors, "scores": scores}, labels=own)

    digester, _ = fit_digester(scored(chances))
    sigmoids = 1 / (1 + np.exp(-logits))
    for scores in (logits, sigmoids, np.maximum(logits, 0)):
        with pytest.raises(InvalidDataError, match=r"of 200 are no probabilities .* the softmax"):
            fit_digester(scored(scores))
        with pytest.raises(InvalidDataError, match=r"of 200 are no probabilities .* the softmax"):
            digester.digest(scored(scores, None))
    one = chances.copy()
    one[7] = [0.5, 0.6, -0.1]  # sums to 1
    with pytest.raises(InvalidDataError, match=r"of 1 study of 200 are .*one has -0\.1 to 0\.6"):
        digester.digest(scored(one))
    digester.digest(scored(np.round(chances, 4), None))
    raw, rows = fit_digester(scored(logits, None))  # without labels any scores are watched
    assert raw.accuracy(rows[:1].astype(float), np.ones(1)) == {}
    former = replace(raw, confidence=digester.confidence)  # as monitors of before were fitted
    with pytest.raises(InvalidDataError, match="fit a new one"):
        former.digest(scored(chances, None))
    rows = digester.digest(scored(chances, None))
    sums, counts = rows.sum(axis=0, dtype=float)[None], np.array([200.0])
    assert set(digester.accuracy(sums, counts)) == {"doc", "atc"}
    assert former.accuracy(sums, counts) == {}
    window = {"day": "2026-01-01", "accuracy": {"doc": 1.0, "atc": 1.0}}
    shown = [page._accuracy({"digester": one.record()}, [window], {}) for one in (digester, former)]
    assert "Reference:" in shown[0]
    assert "This monitor was fitted with labels to scores that are no prob" in shown[1]
    assert "Reference:" not in shown[1]
