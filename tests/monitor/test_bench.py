"""The test bench: what is noticed, how soon, at which false alarms, and what it costs."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell

from medrobust.cli.monitor import main
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError
from medrobust.metrics.drift.detectors import LARGEST, SHAPE
from medrobust.monitor.bench import Bench, summary
from medrobust.monitor.bench_changes import bench_store
from medrobust.monitor.bench_page import COLUMNS, bench_html, write_bench
from medrobust.monitor.stored import Choice, clean_cell

SMALL = Bench(
    per_day=30,
    reference=600,
    window=5,
    budget=60,
    onset=10,
    days=30,
    streams=12,
    clean=120,
    prevalences=(0.2, 1.0),
    detectors=("ewma", "shewhart", "online_mmd"),
)
LEVELS = (1, 5)


def logits(data, severity):
    rng = np.random.default_rng(severity)
    truth = np.eye(3)[data.labels]
    return (rng.normal(size=truth.shape) + (3.0 - 0.5 * severity) * truth).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("bench") / "store")
    data = data_record("toy", count=240)
    for name, level in [("clean", 0), *(("contrast", level) for level in LEVELS)]:
        key = cell_key(data, "m", name, level)
        cell = write_cell(made, data, key, logits=logits(data, level))
        rng = np.random.default_rng(level)
        features = rng.normal(size=(240, 6)) + 0.2 * level
        made.write_features(str(cell.record["encoding_fingerprint"]), features.astype(np.float32))
    return made


@pytest.fixture(scope="module")
def found(store):
    return list(bench_store(store, clean_cell(store, Choice()), SMALL))


def test_severe_and_frequent_corruptions_are_noticed_sooner(found):
    known = summary(found, "ewma")
    often, rare = known["contrast", 5, 1.0], known["contrast", 5, 0.2]
    assert (often.power, often.delay) == (1.0, pytest.approx(2, abs=1))
    assert rare.delay is None or rare.delay > often.delay
    assert known["contrast", 1, 0.2].power <= often.power
    assert often.studies == often.delay * 30
    assert often.low <= often.delay <= often.high


def test_accuracy_lost_is_that_of_the_cells(store, found):
    cell = clean_cell(store, Choice())
    right = [
        (logits(cell.data, level).argmax(axis=1) == cell.data.labels).mean() for level in (0, 5)
    ]
    one = summary(found, "ewma")["contrast", 5, 0.2]
    assert one.accuracy == pytest.approx(right[0])
    assert one.changed == pytest.approx(0.8 * right[0] + 0.2 * right[1])
    often = summary(found, "ewma")["contrast", 5, 1.0]
    assert often.wrong == pytest.approx(often.studies * (right[0] - right[1]))


def test_every_stream_and_detector_has_its_row_and_its_false_alarms(found):
    names = {one.statistic for one in found}
    assert {LARGEST, "embedding mean", "score 0", "predicted class"} <= names
    assert {one.detector for one in found} == {"ewma", "shewhart", "online_mmd"}
    assert {one.change for one in found} == {"contrast", "hard studies", "label shift"}
    early = np.mean([one.false_alarms / SMALL.streams for one in found])
    assert early == pytest.approx(SMALL.onset / SMALL.budget, abs=0.1)


def test_the_online_mmd_is_tried_on_the_embedding_alone(found, tmp_path):
    own = [replace(one, detector="shewhart") for one in found if one.detector == "online_mmd"]
    same = [one for one in found if (one.statistic, one.detector) == (SHAPE, "shewhart")]
    assert own == same
    assert summary(found, "online_mmd")["contrast", 5, 1.0].delay <= 3
    page = write_bench(tmp_path, found, SMALL, "m on toy.").read_text()
    of = json.loads((tmp_path / "bench.json").read_text())
    assert (of["about"], of["window"], of["budget"], of["per_day"]) == ("m on toy.", 5, 60, 30)
    assert "wrong until the alarm, beyond clean" in page
    assert re.search(r"largest of all</td>(<td>\d+ %[^<]*</td>){2}<td>–</td></tr>", page)


def test_what_changes_nothing_is_noticed_by_chance_alone(tmp_path):
    made, data = Store(tmp_path), data_record("same", count=240)
    for name, level in [("clean", 0), ("contrast", 1)]:
        write_cell(made, data, cell_key(data, "m", name, level), logits=logits(data, 0))
    small = replace(SMALL, detectors=("ewma", "shewhart"))  # there are no features
    found = list(bench_store(made, clean_cell(made, Choice()), small))
    powers = [one.power for one in found if one.change == "contrast"]
    assert np.mean(powers) == pytest.approx(1 - np.exp(-30 / 60), abs=0.15)


def test_the_command_writes_table_and_page(store, tmp_path, capsys):
    options = ["--dataset", "toy", "--budget", "30", "--detector", "ewma", "--prevalence", "1"]
    out = tmp_path / "bench"
    assert main(["bench", str(store.root), "--out", str(out), *options]) == 0
    assert capsys.readouterr().out == f"{out / 'bench.html'}\n"
    rows = list(csv.DictReader(io.StringIO((out / "bench.csv").read_text())))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == (2 + 2) * len({row["statistic"] for row in rows})
    page = (out / "bench.html").read_text()
    assert "How soon would I notice?" in page
    assert "not seen" in page or " d (" in page


def test_the_command_says_what_it_leaves_out_and_where_a_run_lies(
    found, tmp_path, capsys, monkeypatch
):
    made, data = Store(tmp_path / "store"), data_record("plain", count=240)
    for name, level in [("clean", 0), ("contrast", 1)]:
        write_cell(made, data, cell_key(data, "m", name, level), logits=logits(data, 0))
    out = tmp_path / "bench"
    bench = ["bench", str(made.root), "--out", str(out)]
    with pytest.raises(InvalidDataError, match="online_mmd follows the stream 'embedding shape'"):
        main([*bench, "--detector", "online_mmd"])
    tried = []
    monkeypatch.setattr(
        "medrobust.monitor.bench_changes.bench_store",
        lambda store, cell, chosen, *_: tried.extend(chosen.detectors) or found[:1],
    )
    monkeypatch.setattr("medrobust.monitor.wandb_runs.send_bench", lambda *_: None)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main([*bench, "--wandb", "demo"]) == 0
    assert tried == ["shewhart", "cusum", "ewma", "page_hinkley"]
    assert capsys.readouterr().err.splitlines() == [
        "no online_mmd: it follows the embedding, and no features were kept.",
        f"W&B: the run lies in {out / 'wandb'}.",
    ]


def test_the_page_tells_what_chance_notices(found):
    assert "39 % by chance" in bench_html(found, SMALL, "m on toy.")


def test_choices_that_cannot_be_are_refused(store, tmp_path):
    with pytest.raises(ConfigurationError, match="above 0 and at most 1"):
        Bench(prevalences=(0.0,))
    with pytest.raises(UnknownNameError, match="ewma"):
        Bench(detectors=("ewna",))
    with pytest.raises(ConfigurationError, match=r"silent before its day 30.*take 60"):
        Bench(budget=59)
    with pytest.raises(ConfigurationError, match=r"window=1000 is longer .* 90 days: give"):
        Bench(window=1000)
    with pytest.raises(ConfigurationError, match="longer than 36,500 days"):
        Bench(budget=float("inf"))
    with pytest.raises(ConfigurationError, match=r"is no store: name the folder"):
        main(["bench", str(tmp_path / "none")])
    Bench(budget=59, detectors=("ewma", "cusum", "shewhart"))
    with pytest.raises(ConfigurationError, match="no clean cell fits; there are: m toy"):
        main(["bench", str(store.root), "--dataset", "none", "--out", str(tmp_path)])
    alone = Store(tmp_path / "alone")
    data = data_record("alone")
    cell = write_cell(alone, data, cell_key(data, "m"))
    with pytest.raises(ConfigurationError, match="no corrupted cell"):
        list(bench_store(alone, cell, SMALL))


def test_a_stream_may_turn_into_images_of_another_view(tmp_path):
    made = Store(tmp_path / "store")
    data = data_record("toy", count=240)
    views = np.array([["lateral" if i % 4 == 0 else "frontal"] for i in range(240)])
    data = replace(data, fingerprint="f" * 64, metadata=views, metadata_columns=("view",))
    cell = write_cell(made, data, cell_key(data, "m", "clean", 0), logits=logits(data, 0))
    features = np.random.default_rng(0).normal(size=(240, 6)) + (views == "lateral")
    made.write_features(str(cell.record["encoding_fingerprint"]), features.astype(np.float32))
    clean = clean_cell(made, Choice())
    small = replace(SMALL, prevalences=(1.0,), detectors=("ewma",))
    turned = list(bench_store(made, clean, small, turns=[("view", "lateral")]))
    own = [one for one in turned if one.change == "view=lateral"]
    by_stream = {one.statistic: one for one in own}
    assert by_stream[LARGEST].power == 1.0
    assert by_stream["embedding mean"].delay <= 5
    assert "view=lateral (no corruption)" in bench_html(turned, small, "about.")
    with pytest.raises(ConfigurationError, match="0 images of 240 have"):
        list(bench_store(made, clean, small, turns=[("view", "oblique")]))
    with pytest.raises(ConfigurationError, match="no metadata column 'scanner'; it has: view"):
        list(bench_store(made, clean, small, turns=[("scanner", "B")]))


def test_a_stream_may_turn_into_another_site(store):
    data = data_record("site_b", count=150)
    cell = write_cell(store, data, cell_key(data, "m"), logits=logits(data, 5))
    features = np.random.default_rng(9).normal(size=(150, 6)) + 1.0
    store.write_features(str(cell.record["encoding_fingerprint"]), features.astype(np.float32))
    found = list(bench_store(store, clean_cell(store, Choice(dataset="toy")), SMALL, [cell]))
    one = summary(found, "ewma")["site site_b", 0, 1.0]
    assert (one.power, one.delay) == (1.0, pytest.approx(2, abs=1))
    assert one.changed == pytest.approx((cell.arrays["logits"].argmax(1) == data.labels).mean())
