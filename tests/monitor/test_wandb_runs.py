"""What leaves for W&B: numbers of an update and a bench, under stable names."""

from types import SimpleNamespace

import pytest

from medrobust.cli.monitor import main
from medrobust.exceptions import ConfigurationError
from medrobust.monitor import wandb_runs
from medrobust.monitor.bench import Noticed


@pytest.fixture
def runs(monkeypatch):
    import wandb

    opened = []

    def init(**given):
        run = SimpleNamespace(given=given, logged={}, summary={}, finished=False)
        run.log = run.logged.update
        run.finish = lambda: setattr(run, "finished", True)
        opened.append(run)
        return run

    monkeypatch.setattr(wandb, "init", init)
    return opened


def test_what_wandb_would_refuse_at_the_end_is_refused_before_anything_is_read(
    monkeypatch, tmp_path
):
    update = ["update", str(tmp_path / "none"), str(tmp_path / "none.csv"), "--wandb"]
    with pytest.raises(ConfigurationError, match=r"--wandb 'a/b': Invalid project name"):
        main([*update, "a/b"])
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="online, and no account is known"):
        main([*update, "demo"])


def test_an_update_is_a_run_with_its_last_window_and_all_windows(runs, tmp_path):
    windows = [
        {"day": "2026-03-01", "studies": 9, "statistic": None, "alarm": False, "z": {"a": None}},
        {"day": "2026-03-02", "studies": 40, "statistic": 3.5, "alarm": True, "z": {"a": 4.0}},
    ]
    status = {
        "day": "2026-03-02", "statistic": 3.5, "limit": 2.0, "studies": 49, "alarm": True,
        "accuracy": {"atc": 0.8},
    }  # fmt: skip
    for _ in range(2):
        wandb_runs.send_update("p", tmp_path / "monitor", status, windows)
    first, again = runs
    assert first.given["id"] == again.given["id"]
    assert (first.given["name"], first.given["group"]) == ("update 2026-03-02", "monitor")
    numbers = {key: value for key, value in first.logged.items() if key != "windows"}
    assert numbers == {
        "statistic": 3.5, "limit": 2.0, "studies": 49.0, "accuracy/atc": 0.8, "z/a": 4.0, "alarm": 1
    }  # fmt: skip
    assert first.logged["windows"].data[1] == ["2026-03-02", 40, 3.5, True, 4.0]
    assert first.finished


def test_an_update_without_a_window_is_logged_too(runs, tmp_path):
    status = {
        "day": None, "statistic": None, "limit": 2.0, "studies": 1, "alarm": False, "accuracy": None
    }  # fmt: skip
    wandb_runs.send_update("p", tmp_path, status, [])
    assert runs[0].summary == {"limit": 2.0, "studies": 1.0, "alarm": 0}


def test_a_bench_is_a_table_of_numbers(runs, tmp_path):
    one = Noticed("noise", 3, 0.3, "score 0", "ewma", 0.4, None, None, 9.0, 1, 0.9, 0.8, None, 40)
    wandb_runs.send_bench("p", tmp_path, [one], "m on d.")
    (run,) = runs
    table = run.logged["bench"]
    row = dict(zip(table.columns, table.data[0], strict=True))
    assert (row["change"], row["severity"], row["prevalence"]) == ("noise", 3.0, 0.3)
    assert (row["delay_days"], row["delay_high"], row["accuracy"]) == (None, 9.0, 0.9)
    assert run.summary == {"noticed": 0.0}
