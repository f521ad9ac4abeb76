"""`medrobust monitor`: from tables to an alarm's exit status and a page."""

import csv
import json

import numpy as np
import pytest

from medrobust.cli.monitor import ALARM, main
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError


def table(file, first, days, per_day, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "time", "view"])
        for row in range(days * per_day):
            day = np.datetime64(first) + row // per_day
            rows.writerow([f"{first}-{row}", f"{day}T08:00", rng.choice(["PA", "AP"])])
    embedding = rng.normal(size=(days * per_day, 4)) + shift
    np.save(file.with_name(f"{file.stem}.features.npy"), embedding.astype(np.float32))
    return str(file)


@pytest.fixture
def monitor(tmp_path, capsys):
    clean = table(tmp_path / "clean.csv", "2026-01-01", 60, 12, 0)
    out = str(tmp_path / "monitor")
    options = ["--budget", "200", "--window", "3", "--fewest", "10", "--model", "m"]
    assert main(["fit", "--reference", clean, "--out", out, *options]) == 0
    assert "one false alarm in 20" in capsys.readouterr().out
    return out


def test_clean_studies_end_with_0_and_an_alarm_with_3(monitor, tmp_path, capsys):
    fine = table(tmp_path / "fine.csv", "2026-03-02", 6, 12, 1)
    assert main(["update", monitor, fine, "--model", "m"]) == 0
    assert capsys.readouterr().out.startswith("72 new studies. No alarm. 2026-03-07: ")
    worse = table(tmp_path / "worse.csv", "2026-03-08", 6, 12, 2, shift=1.0)
    assert main(["update", monitor, worse, "--model", "m", "--json"]) == ALARM
    status = json.loads(capsys.readouterr().out)
    assert status["alarm"]
    assert status["contributions"][0][0].startswith("embedding")
    assert main(["report", monitor]) == 0
    page = (tmp_path / "monitor" / "report.html").read_text()
    assert f"ALARM since {status['since']}" in page
    assert page.count("<svg") == 5
    assert "http" not in page.replace("http-equiv", "")


def test_the_key_lies_beside_and_is_demanded(monitor, tmp_path):
    key = tmp_path / "monitor.key"
    assert key.stat().st_mode & 0o077 == 0
    fine = table(tmp_path / "fine.csv", "2026-03-02", 1, 12, 1)
    key.write_text("0" * 64 + "\n")
    with pytest.raises(ConfigurationError, match="Pass --key FILE"):
        main(["update", monitor, fine, "--model", "m"])


def test_another_model_is_refused(monitor, tmp_path):
    fine = table(tmp_path / "fine.csv", "2026-03-02", 1, 12, 1)
    with pytest.raises(ConfigurationError, match="two models"):
        main(["update", monitor, fine])


def test_words_and_folders_that_are_nothing_are_named(tmp_path, monitor):
    with pytest.raises(UnknownNameError, match="update"):
        main(["updaet"])
    with pytest.raises(ConfigurationError, match="neither a table nor a store"):
        main(["update", monitor, str(tmp_path)])
    fine = table(tmp_path / "fine.csv", "2026-03-02", 1, 12, 1)
    with pytest.raises(InvalidDataError, match="--time"):
        main(["update", monitor, fine, "--time", "when"])
