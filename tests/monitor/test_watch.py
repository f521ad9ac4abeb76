"""A monitor folder: fitted, updated, killed, updated again, by two processes, with odd input."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from forked import forked

from medrobust.exceptions import (
    ConfigurationError,
    InvalidDataError,
    StoreError,
    UnknownNameError,
)
from medrobust.monitor import watch
from medrobust.monitor.folder import MonitorFolder
from medrobust.monitor.limit_words import silent_words
from medrobust.monitor.models import Model, check_same, typed_model
from medrobust.monitor.page import _verdict, page
from medrobust.monitor.studies import DAY, Studies, joined, seconds_of
from medrobust.monitor.watch import fit_monitor, update_monitor
from medrobust.monitor.windows import Settings

KEY = b"k" * 32
START = seconds_of("2026-01-01") // DAY
SETTINGS = Settings(window=3, fewest=10, budget=100, detector="ewma")


def studies(first, days, per_day, seed, *, shift=0.0, name="s"):
    rng = np.random.default_rng(seed)
    count = days * per_day
    ids = np.array([f"{name}{first}-{i}" for i in range(count)])
    kvp = rng.normal(110, 5, count)
    kvp[rng.random(count) < 0.1] = np.nan
    scores = rng.dirichlet([2, 1, 1], count)
    return Studies(
        ids=ids,
        times=(START + first + np.arange(count) // per_day) * DAY,
        patients=np.array([f"{name}-p{first}-{i // 2}" for i in range(count)]),
        numbers={"kvp": kvp},
        categories={"view": rng.choice(["PA", "AP", ""], count, p=[0.6, 0.3, 0.1])},
        vectors={
            "embedding": (rng.normal(size=(count, 6)) + shift).astype(np.float32),
            "scores": scores.astype(np.float32),
        },
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    place = tmp_path_factory.mktemp("fitted") / "monitor"
    reference = replace(studies(0, 60, 12, 0), zone="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medrobust.monitor.windows.REFERENCES", 16)
        fit_monitor(place, reference, key=KEY, settings=SETTINGS)
    return place


@pytest.fixture
def monitor(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "monitor")


def content(place):
    return {
        path.relative_to(place): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_clean_studies_raise_no_alarm_and_shifted_ones_do(monitor):
    clean = update_monitor(monitor, studies(60, 10, 12, 1), key=KEY)
    assert (clean.added, clean.alarm, clean.remarks) == (120, False, ())
    drifted = update_monitor(monitor, studies(70, 8, 12, 2, shift=0.8), key=KEY)
    assert drifted.alarm
    assert drifted.status["since"] >= "2026-03-12"
    assert {name for name, _ in drifted.status["contributions"][:2]} <= {
        "embedding mean",
        "embedding shape",
        "embedding distance",
    }
    kept = json.loads((monitor / "status.json").read_text())
    assert kept == drifted.status


def test_the_online_mmd_alarms_for_the_embedding_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("medrobust.monitor.windows.REFERENCES", 8)
    place = tmp_path / "monitor"
    settings = replace(SETTINGS, detector="online_mmd", budget=60)
    fit_monitor(place, studies(0, 60, 12, 0), key=KEY, settings=settings)
    other = studies(60, 6, 12, 1)
    other = replace(other, numbers={"kvp": other.numbers["kvp"] + 40})
    found = update_monitor(place, other, key=KEY)
    windows = json.loads((place / "windows.json").read_text())
    assert windows[-1]["z"]["kvp"] > 10
    assert windows[-1]["statistic"] == pytest.approx(windows[-1]["z"]["embedding shape"], abs=1e-6)
    assert not found.status["alarms"]
    drifted = update_monitor(place, studies(66, 4, 12, 2, shift=0.8), key=KEY)
    assert drifted.alarm
    assert [name for name, _ in drifted.status["contributions"]] == ["embedding shape"]
    before = content(place)
    update_monitor(place, studies(66, 4, 12, 2, shift=0.8), key=KEY)
    assert content(place) == before
    text = page(MonitorFolder(place).record(), windows, drifted.status)
    assert "online_mmd follows embedding shape alone: no other stream alarms." in text


def test_the_same_studies_twice_change_nothing(monitor):
    new = studies(60, 5, 12, 1)
    update_monitor(monitor, new, key=KEY)
    before = content(monitor)
    again = update_monitor(monitor, new, key=KEY)
    assert again.added == 0
    assert "60 studies known already" in again.remarks[0]
    assert content(monitor) == before
    known = update_monitor(monitor, joined([new, studies(65, 1, 12, 3)]), key=KEY)
    assert known.added == 12


def test_a_study_given_twice_counts_once(monitor):
    new = studies(60, 5, 12, 1)
    found = update_monitor(monitor, joined([new, new.rows(np.arange(4))]), key=KEY)
    assert found.added == 60
    assert "4 rows of studies that were given twice" in found.remarks[0]


def test_no_name_is_kept(monitor):
    update_monitor(monitor, studies(60, 3, 12, 1, name="patient-name"), key=KEY)
    for path in monitor.rglob("*.*"):
        assert b"patient-name" not in path.read_bytes()
        if path.name == "ids.npy":
            assert not any("patient-name" in one for one in np.load(path).tolist())


@contextmanager
def before_writes(act):
    """Call a function before each step that changes files; bytes are written in two halves."""
    acting = False

    def stepped(step):
        def call(*args, **options):
            nonlocal acting
            if not acting:
                acting = True
                act()
                acting = False
            return step(*args, **options)

        return call

    def in_halves(path, content):
        half = len(content) // 2
        for how, part in (("wb", content[:half]), ("ab", content[half:])):
            with path.open(how) as file:
                stepped(file.write)(part)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "fsync", "replace", "rmdir", "unlink"):
            patch.setattr(os, name, stepped(getattr(os, name)))
        patch.setattr(Path, "write_bytes", in_halves)
        yield


def test_what_any_moment_of_an_update_leaves_ends_as_an_undisturbed_one(monitor, tmp_path):
    new, moments = studies(60, 6, 12, 1), []

    def kept():
        moments.append(shutil.copytree(monitor, tmp_path / f"{len(moments)}"))

    with before_writes(kept):
        update_monitor(monitor, new, key=KEY)
    assert len(moments) > 30  # two halves of eight files, their folders, forced and renamed
    for place in moments:
        update_monitor(place, new, key=KEY)
        assert content(place) == content(monitor), place.name


@pytest.mark.slow
def test_an_update_that_is_killed_at_any_write_ends_as_an_undisturbed_one(monitor, tmp_path):
    new = studies(60, 6, 12, 1)
    undisturbed = shutil.copytree(monitor, tmp_path / "undisturbed")
    update_monitor(undisturbed, new, key=KEY)
    for stop in itertools.count(1):
        place = shutil.copytree(monitor, tmp_path / f"{stop}")
        writes = itertools.count(1)

        def end_here(stop=stop, writes=writes):
            if next(writes) == stop:
                os.kill(os.getpid(), signal.SIGKILL)

        with before_writes(end_here):
            done = forked(partial(update_monitor, place, new, key=KEY))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        update_monitor(place, new, key=KEY)
        assert content(place) == content(undisturbed), stop
    assert stop > 30


def test_what_a_killed_update_had_not_finished_is_removed(monitor):
    (monitor / "studies" / ".ab-cd").mkdir(parents=True)
    (monitor / "studies" / ".ab-cd" / "sums.npy").write_bytes(b"half")
    (monitor / ".status.json-ef").write_bytes(b"{")
    (monitor / "notes").mkdir()
    (monitor / "notes" / ".0001.json-ab").write_bytes(b"{")
    update_monitor(monitor, studies(60, 3, 12, 1), key=KEY)
    assert not [path for path in monitor.rglob(".*") if path.name != ".lock"]


def test_a_folder_that_cannot_be_written_is_said(monitor, monkeypatch):
    def refused(self, *args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    with pytest.raises(StoreError, match="an update needs a folder that it may write to"):
        update_monitor(monitor, studies(60, 1, 12, 1), key=KEY)


def _update(place, first, seed):
    update_monitor(place, studies(first, 3, 12, seed), key=KEY)


def test_two_processes_lose_no_study(monitor):
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_update, args=(monitor, f, f)) for f in (60, 63)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert update_monitor(monitor, studies(60, 1, 12, 60), key=KEY).status["studies"] == 72


def test_late_studies_are_taken_in_and_said(monitor, tmp_path):
    in_order = shutil.copytree(monitor, tmp_path / "in_order")
    first, second = studies(60, 4, 12, 1), studies(64, 4, 12, 2)
    for part in (first, second):
        update_monitor(in_order, part, key=KEY)
    skipped = update_monitor(monitor, second, key=KEY)
    assert skipped.remarks == (
        "no study from 2026-03-02 to 2026-03-05, between the reference and this first update: were "
        "some forgotten? They are taken in when they come.",
    )
    assert skipped.status["missing_days"] == []  # the stream begins with its first study
    late = update_monitor(monitor, first, key=KEY)
    assert "48 studies came late: windows from 2026-03-02 on" in late.remarks[0]
    assert content(monitor) == content(in_order)


def test_a_missing_day_is_said(monitor):
    new = studies(60, 6, 12, 1)
    found = update_monitor(monitor, new.rows(new.days != START + 63), key=KEY)
    assert found.remarks == (
        "no study on 2026-03-05: were some forgotten? They are taken in when they come.",
    )
    assert found.status["missing_days"] == ["2026-03-05"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: replace(s, times=s.times - 30 * DAY), "the last day of the reference"),
        (lambda s: replace(s, times=s.times + 9000 * DAY), "correct the time stamp"),
        (lambda s: replace(s, zone="+14:00"), r"state the zone \+14:00, and .* reference no zone"),
        (lambda s: replace(s, numbers={}), "no column of numbers 'kvp'"),
        (lambda s: replace(s, vectors={"scores": s.vectors["scores"]}), "vectors: 'embedding'"),
        (
            lambda s: replace(s, vectors={**s.vectors, "embedding": s.vectors["scores"]}),
            "they come from another model",
        ),
    ],
)
def test_studies_that_do_not_belong_are_refused_in_a_sentence(monitor, change, sentence):
    before = content(monitor)
    with pytest.raises(InvalidDataError, match=sentence):
        update_monitor(monitor, change(studies(60, 3, 12, 1)), key=KEY)
    assert content(monitor) == before


def test_another_key_or_model_is_refused(monitor):
    new = studies(60, 3, 12, 1)
    with pytest.raises(ConfigurationError, match="not the one that the monitor was fitted with"):
        update_monitor(monitor, new, key=b"o" * 32)
    with pytest.raises(ConfigurationError, match=r"from model 'b', .* a model that is not named"):
        update_monitor(monitor, new, key=KEY, model=typed_model("b"))


def test_models_are_called_by_name_and_by_fingerprint_where_names_are_alike():
    fitted = Model("m plain", "f" * 64).record()
    check_same(Model("m", "f" * 64), fitted)
    other = Model("m plain", "0" * 64)
    alike = r"model 'm plain' \(fingerprint 00000000\), .* 'm plain' \(fingerprint ffffffff\)"
    with pytest.raises(ConfigurationError, match=alike):
        check_same(other, fitted)
    with pytest.raises(ConfigurationError, match=r"name was not kept \(fingerprint ffffffff"):
        check_same(other, {"model": "f" * 64})  # monitors of before


def test_images_that_were_read_in_another_way_are_refused_by_key():
    padded = Model("m", "f" * 64, {"size": 224, "fit": "pad"})
    check_same(padded, padded.record())
    check_same(padded, Model("m", "f" * 64).record())  # monitors of before
    check_same(padded, Model("m", "f" * 64, {"size": 224, "window": "header"}).record())
    with pytest.raises(ConfigurationError, match=r"with dataset\.fit=squash, .* dataset\.fit=pad"):
        check_same(replace(padded, reading={"size": 224, "fit": "squash"}), padded.record())


@pytest.mark.slow
def test_two_fits_of_the_same_studies_give_the_same_limit_whatever_the_key(tmp_path):
    few = Settings(window=3, fewest=10, budget=30)
    reference, new = studies(0, 35, 12, 0), studies(35, 4, 12, 1)
    reference = replace(reference, categories={"view": np.full(len(reference), "PA")})
    new = replace(new, categories={"view": np.full(len(new), "PA")})
    turned = np.random.default_rng(0).permutation(len(reference))
    found = []
    other = reference.rows(turned)
    for key, seed, given in ((b"1", 0, reference), (b"2", 0, other), (b"1", 1, reference)):
        place = tmp_path / f"{key.hex()}{seed}"
        record = fit_monitor(place, given, key=key * 32, settings=replace(few, seed=seed))
        update_monitor(place, new, key=key * 32)
        found.append((record["standard"], (place / "windows.json").read_bytes()))
    assert found[0] == found[1]
    assert found[0][0]["limit"] != found[2][0]["limit"]  # as far as draws alone move it


@pytest.mark.slow
def test_damage_and_absence_are_named(monitor, tmp_path):
    with pytest.raises(StoreError, match="holds no monitor"):
        update_monitor(tmp_path / "none", studies(60, 1, 12, 1), key=KEY)
    with pytest.raises(StoreError, match="is there already"):
        fit_monitor(monitor, studies(0, 60, 12, 0), key=KEY, settings=SETTINGS)
    update_monitor(monitor, studies(60, 3, 12, 1), key=KEY)
    sums = next(monitor.glob("studies/*/sums.npy"))
    damaged = bytearray(sums.read_bytes())
    damaged[-1] ^= 1
    sums.write_bytes(bytes(damaged))
    with pytest.raises(StoreError, match="not what was written"):
        update_monitor(monitor, studies(63, 1, 12, 1), key=KEY)


def test_a_copied_folder_of_studies_is_refused_by_name(monitor):
    update_monitor(monitor, studies(60, 3, 12, 1), key=KEY)
    folder = next((monitor / "studies").iterdir())
    copy = shutil.copytree(folder, folder.with_name("copy"))
    with pytest.raises(StoreError, match=rf"copy does not have the name .*{folder.name}"):
        update_monitor(monitor, studies(63, 1, 12, 2), key=KEY)
    shutil.rmtree(copy)
    MonitorFolder(monitor).add({"ids": np.load(folder / "ids.npy")[:5], "days": np.arange(1)})
    with pytest.raises(StoreError, match="repeats 5 studies of another folder"):
        update_monitor(monitor, studies(63, 1, 12, 2), key=KEY)


@pytest.mark.parametrize("before", [False, True])
def test_a_missing_folder_of_studies_is_said(monitor, before):
    for first in (60, 63):
        update_monitor(monitor, studies(first, 3, 12, first), key=KEY)
    if before:  # monitors had no list
        (monitor / "batches.json").unlink()
    folder = next((monitor / "studies").iterdir())
    shutil.rmtree(folder)
    said = "holds 36 studies, and status.json counts 72" if before else f"{folder.name} with 36"
    with pytest.raises(StoreError, match=said):
        update_monitor(monitor, studies(66, 1, 12, 2), key=KEY)
    for name in ("batches.json", "status.json"):
        (monitor / name).unlink(missing_ok=True)
    assert update_monitor(monitor, studies(66, 1, 12, 2), key=KEY).status["studies"] == 48


def test_an_id_of_another_day_is_refused(monitor):
    first, next_day = studies(60, 1, 12, 1), studies(61, 1, 12, 2)
    update_monitor(monitor, first, key=KEY)
    before = content(monitor)
    of_reference = studies(0, 60, 12, 0).ids[:12]
    both = joined([replace(next_day, ids=studies(62, 1, 12, 3).ids), studies(62, 1, 12, 3)])
    for given, whose in (
        (replace(next_day, ids=first.ids), "another day's study, the first on 2026-03-03"),
        (replace(next_day, ids=of_reference), "a study of the reference, the first on 2026-03-03"),
        (both, "another day's study"),
    ):
        said = f"12 rows of {len(given)} bear the id of {whose}"
        with pytest.raises(InvalidDataError, match=said):
            update_monitor(monitor, given, key=KEY)
    assert content(monitor) == before


def test_an_id_of_another_day_of_one_update_is_refused(monitor):
    given = studies(60, 3, 12, 1)
    update_monitor(monitor, given, key=KEY)
    before = content(monitor)
    third = replace(studies(62, 1, 12, 2), ids=given.ids[given.days == START + 60])
    with pytest.raises(InvalidDataError, match="12 rows of 12 bear the id of another day's study"):
        update_monitor(monitor, third, key=KEY)
    assert content(monitor) == before


def test_a_wrong_clock_is_refused_in_the_first_update_and_a_closed_site_said_once(monitor):
    closed = studies(60 + 100, 1, 12, 1)
    with pytest.raises(InvalidDataError, match=r"between 2026-03-01 and 2026-06-10, 101 days"):
        update_monitor(monitor, closed, key=KEY)
    assert update_monitor(monitor, closed, key=KEY, gap=101).added == 12
    assert update_monitor(monitor, studies(161, 1, 12, 2), key=KEY).added == 12
    with pytest.raises(InvalidDataError, match="pass --gap 139"):
        update_monitor(monitor, studies(300, 1, 12, 3), key=KEY)


def test_a_reference_that_is_too_short_or_doubled_is_refused(tmp_path):
    short = studies(0, 20, 12, 0)
    with pytest.raises(InvalidDataError, match="28 days or more"):
        fit_monitor(tmp_path / "m", short, key=KEY, settings=SETTINGS)
    with pytest.raises(InvalidDataError, match="more than once"):
        fit_monitor(tmp_path / "m", joined([short, short.rows(np.arange(2))]), key=KEY)
    with pytest.raises(UnknownNameError, match="mmc_plus"):
        fit_monitor(tmp_path / "m", short, key=KEY, recipe="mmcplus")
    with pytest.raises(ConfigurationError, match="--limit 5 is for published recipes"):
        fit_monitor(tmp_path / "m", short, key=KEY, limit=5.0)
    for odd in (float("nan"), float("inf"), 0.0, -1.0):
        with pytest.raises(ConfigurationError, match=r"--limit .* above 0"):
            fit_monitor(tmp_path / "m", short, key=KEY, recipe="chexstray", limit=odd)
    clocks = joined([short, replace(studies(400, 1, 1, 1), labels=None)])
    with pytest.raises(InvalidDataError, match=r"381 days: correct .* or pass --gap 381"):
        fit_monitor(tmp_path / "m", clocks, key=KEY)
    assert not (tmp_path / "m").exists()


def test_an_empty_update_makes_windows_anew(monitor):
    update_monitor(monitor, studies(60, 3, 12, 1), key=KEY)
    before = content(monitor)
    (monitor / "windows.json").write_text("[")
    update_monitor(monitor, studies(60, 3, 12, 1), key=KEY)
    assert content(monitor) == before


def test_an_update_says_until_when_page_hinkley_is_silent():
    record = {
        "reference": {"last": 51},
        "settings": {"detector": "page_hinkley"},
        "standard": {"limit": {}},
    }
    notes = [{"day": "1970-04-01", "reset": True}, {"day": "1970-04-09", "reset": False}]
    for day, known, until in (
        ("1970-03-22", [], "1970-03-23"),
        ("1970-03-23", [], None),
        ("1970-04-30", notes, "1970-05-01"),
        ("1970-05-01", notes, None),
    ):
        assert watch._silent_until(record, {"day": day, "notes": known}) == until
    assert "silent until 1970-05-01: it" in silent_words(record, notes)
    few = [{"day": "1970-02-22", "statistic": None, "alarm": False, "z": {"a": None}}]
    assert watch.status_of({**record, "limit": 2.0}, few, [])["silent_until"] == "1970-03-23"
    windows = [{"day": "1970-03-22", "statistic": 0.0, "alarm": False, "z": {"a": 1.0}}]
    status = watch.status_of({**record, "limit": 2.0}, windows, [])
    assert (status["alarm"], status["silent_until"]) == (False, "1970-03-23")
    assert _verdict(status) == "silent until 1970-03-23"


def test_status_names_the_first_day_of_the_present_alarm():
    windows = [
        {"day": f"d{i}", "statistic": 1.0, "alarm": alarm, "z": {"a": 1.0, "b": None}}
        for i, alarm in enumerate([True, False, True, True])
    ]
    status = watch.status_of({"limit": 0.5}, windows, [])
    assert (status["since"], status["alarm"], len(status["alarms"])) == ("d2", True, 3)
