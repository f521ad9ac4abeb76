"""`medrobust monitor`: from tables to an alarm's exit status and a page."""

import csv
import io
import json
import shutil
from argparse import Namespace
from contextlib import redirect_stdout

import numpy as np
import pytest

from medrobust.cli.monitor import ALARM, _fitted, main
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError


def table(file, first, days, per_day, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "time", "view", "kvp"])
        for row in range(days * per_day):
            day = np.datetime64(first) + row // per_day
            kvp = f"{rng.normal(110, 5):.3f}"
            rows.writerow([f"{first}-{row}", f"{day}T08:00", rng.choice(["PA", "AP"]), kvp])
    embedding = rng.normal(size=(days * per_day, 4)) + shift
    np.save(file.with_name(f"{file.stem}.features.npy"), embedding.astype(np.float32))
    return str(file)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    clean = table(folder / "clean.csv", "2026-01-01", 60, 12, 0)
    options = ["--budget", "200", "--window", "3", "--fewest", "10", "--model", "m"]
    with redirect_stdout(io.StringIO()) as said:
        assert main(["fit", "--reference", clean, "--out", str(folder / "monitor"), *options]) == 0
    assert "one false alarm in 20" in said.getvalue()
    return folder


@pytest.fixture
def monitor(fitted, tmp_path):
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "monitor")


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
    assert page.count("<svg") == 6
    assert "http" not in page.replace("http-equiv", "")


def test_a_few_studies_have_the_kinds_of_columns_of_the_reference(monitor, tmp_path, capsys):
    few = table(tmp_path / "few.csv", "2026-03-02", 1, 3, 1)
    assert main(["update", monitor, few, "--model", "m"]) == 0
    assert capsys.readouterr().out.startswith("3 new studies. No window has enough")
    rows = (tmp_path / "few.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(row.rsplit(",", 1)[0] for row in rows) + "\n")
    with pytest.raises(InvalidDataError, match="no column 'kvp'"):
        main(["update", monitor, few, "--model", "m"])


def test_the_key_lies_beside_and_is_demanded(monitor, tmp_path):
    key = tmp_path / "monitor.key"
    assert key.stat().st_mode & 0o077 == 0
    fine = table(tmp_path / "fine.csv", "2026-03-02", 1, 12, 1)
    with pytest.raises(ConfigurationError, match="the key that hides names: put it back"):
        main(["update", monitor, fine, "--model", "m", "--key", str(tmp_path / "no.key")])
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
    with pytest.raises(ConfigurationError, match=r"today\.csv is not there: give a table"):
        main(["update", monitor, str(tmp_path / "today.csv")])
    fine = table(tmp_path / "fine.csv", "2026-03-02", 1, 12, 1)
    with pytest.raises(ConfigurationError, match=r"--time is 'when', and .* fitted with 'time'"):
        main(["update", monitor, fine, "--time", "when"])
    with pytest.raises(ConfigurationError, match="fitted with 'id': pass --id id"):
        main(["update", monitor, fine, "--id", "view"])
    with pytest.raises(ConfigurationError, match="--per-day chooses of a store"):
        main(["update", monitor, fine, "--model", "m", "--per-day", "5"])
    with pytest.raises(InvalidDataError, match=r"no column 'when'.*Pass --time"):
        main(["fit", "--reference", fine, "--out", str(tmp_path / "m"), "--time", "when"])


@pytest.mark.slow
def test_labels_of_the_reference_give_an_estimate_of_accuracy(tmp_path, capsys):
    def scored(name, first, days, seed):
        file = table(tmp_path / name, first, days, 12, seed)
        rng = np.random.default_rng(seed)
        scores = rng.dirichlet([4, 1], days * 12).astype(np.float32)
        np.save(tmp_path / f"{name[:-4]}.scores.npy", scores)
        lines = (tmp_path / name).read_text().splitlines()
        labels = ["label", *(str(int(rng.random() > s[0])) for s in scores)]
        pairs = zip(lines, labels, strict=True)
        (tmp_path / name).write_text("\n".join(f"{a},{b}" for a, b in pairs) + "\n")
        return file

    clean, new = scored("c.csv", "2026-01-01", 60, 5), scored("n.csv", "2026-03-02", 6, 6)
    out = str(tmp_path / "labelled")
    options = ["--window", "3", "--fewest", "10", "--budget", "200"]
    assert main(["fit", "--reference", clean, "--out", out, "--label", "label", *options]) == 0
    main(["update", out, new])
    assert "Accuracy estimated without labels: " in capsys.readouterr().out
    main(["report", out])
    assert "Accuracy without labels" in (tmp_path / "labelled" / "report.html").read_text()


@pytest.mark.parametrize("recipe", ["chexstray", "mmc_plus"])
def test_what_a_published_recipe_does_not_use_is_refused(tmp_path, recipe):
    clean = table(tmp_path / "clean.csv", "2026-01-01", 40, 2, 0)
    fit = ["fit", "--reference", clean, "--out", str(tmp_path / "m"), "--recipe", recipe]
    typed = {"budget": "365", "window": "7", "fewest": "9", "block": "7", "confidence": ".9"}
    for name, value in {**typed, "detector": "ewma"}.items():
        with pytest.raises(ConfigurationError, match=f"--{name} is for the default .* {recipe} "):
            main([*fit, f"--{name}", value])
    with pytest.raises(ConfigurationError, match="no accuracy: pass --ignore view"):
        main([*fit, "--label", "view"])
    with pytest.raises(InvalidDataError, match=r"needs a longer one, or more studies a day\.$"):
        main(fit)
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "m.key").exists()


def test_a_budget_that_usual_windows_spend_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("medrobust.monitor.windows.REFERENCES", 2)
    clean = table(tmp_path / "clean.csv", "2026-01-01", 40, 12, 0)
    fit = ["fit", "--reference", clean, "--window", "3", "--fewest", "10", "--budget", "1"]
    with pytest.raises(InvalidDataError, match=r"--budget 1 gives the limit -\d.*a longer one"):
        main([*fit, "--out", str(tmp_path / "m")])
    assert not (tmp_path / "m.key").exists()


def test_a_limit_that_was_typed_is_not_called_published(tmp_path, capsys):
    clean = table(tmp_path / "clean.csv", "2026-01-01", 33, 6, 0)
    fit = ["fit", "--reference", clean, "--recipe", "chexstray", "--ignore", "kvp"]
    assert main([*fit, "--out", str(tmp_path / "m"), "--limit", "5"]) == 0
    assert "limit 5.0, by --limit: its false" in (said := capsys.readouterr().out)
    assert "not bounded; it alarms below minus that." in said
    record = {"recipe": "mmc_plus", "streams": [], "limit": 10.0}
    known = {"first": 1, "last": 2, "studies": 3, "patients": 3}
    said = _fitted({**record, "reference": known}, Namespace(out="m", limit=None))
    assert "limit 10.0, as published: its false" in said


def test_an_empty_folder_is_called_empty(tmp_path, monitor):
    (tmp_path / "today").mkdir()
    with pytest.raises(ConfigurationError, match="today is empty: give"):
        main(["update", monitor, str(tmp_path / "today")])
