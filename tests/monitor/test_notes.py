"""Alarms that somebody knows of: a note silences the exit status, a reset lets detectors forget."""

import json
import shutil

import numpy as np
import pytest

from medrobust.exceptions import ConfigurationError, InvalidDataError, StoreError
from medrobust.monitor.notes import acknowledge
from medrobust.monitor.watch import refresh, update_monitor

from .test_watch import KEY, content, fitted, studies  # noqa: F401


@pytest.fixture
def alarmed(fitted, tmp_path):  # noqa: F811
    place = shutil.copytree(fitted, tmp_path / "monitor")
    assert update_monitor(place, studies(60, 6, 12, 2, shift=1.0), key=KEY).alarm
    return place


@pytest.mark.slow
def test_a_note_silences_the_alarm_until_it_has_ended(alarmed):
    note = acknowledge(alarmed, "  new scanner,\nas planned ")
    assert (note.text, note.day) == ("new scanner, as planned", "2026-03-07")
    found = update_monitor(alarmed, studies(66, 2, 12, 3, shift=1.0), key=KEY)
    assert (found.status["alarm"], found.alarm) == (True, False)
    assert found.status["acknowledged"] == "new scanner, as planned"
    assert found.status["notes"][0]["since"] == found.status["since"]


def test_a_reset_begins_anew_after_the_last_day(alarmed):
    before = json.loads((alarmed / "windows.json").read_text())
    acknowledge(alarmed, "cables were loose", reset=True)
    refresh(alarmed)
    assert json.loads((alarmed / "windows.json").read_text()) == before
    update_monitor(alarmed, studies(66, 1, 12, 3), key=KEY)
    last = json.loads((alarmed / "windows.json").read_text())[-1]
    assert last["statistic"] < before[-1]["statistic"]
    kept = content(alarmed)
    refresh(alarmed)
    assert content(alarmed) == kept


def test_what_cannot_be_acknowledged_is_said(alarmed, fitted, tmp_path):  # noqa: F811
    with pytest.raises(InvalidDataError, match="1 to 500 characters"):
        acknowledge(alarmed, "  ")
    quiet = shutil.copytree(fitted, tmp_path / "quiet")
    with pytest.raises(ConfigurationError, match="judged no day"):
        acknowledge(quiet, "nothing")
    update_monitor(quiet, studies(60, 3, 12, 1), key=KEY)
    with pytest.raises(ConfigurationError, match="--reset"):
        acknowledge(quiet, "nothing")
    acknowledge(alarmed, "once")
    note = alarmed / "notes" / "0001.json"
    note.write_text(note.read_text().replace("once", "twice"))
    with pytest.raises(StoreError, match="damaged or was edited"):
        refresh(alarmed)


def test_one_wrong_clock_is_refused_and_a_closed_site_is_not(fitted, tmp_path):  # noqa: F811
    place = shutil.copytree(fitted, tmp_path / "monitor")
    update_monitor(place, studies(60, 3, 12, 1), key=KEY)
    late = studies(400, 1, 12, 2)
    with pytest.raises(InvalidDataError, match=r"2026-03-04 and 2027-02-05, 338 days.*--gap 338"):
        update_monitor(place, late, key=KEY)
    assert update_monitor(place, late, key=KEY, gap=338).added == 12


def test_a_single_odd_study_is_no_alarm(fitted, tmp_path):  # noqa: F811
    from dataclasses import replace

    place = shutil.copytree(fitted, tmp_path / "monitor")
    new = studies(60, 6, 12, 1)
    views = new.categories["view"].astype("<U8")
    views[3] = "oblique"
    found = update_monitor(place, replace(new, categories={"view": views}), key=KEY)
    assert not found.alarm
    z = [one["z"]["view"] for one in json.loads((place / "windows.json").read_text())]
    assert np.max(z) < 4
