"""Few-shot tuning end to end, as a user runs it."""

import json
import re
from pathlib import Path

import pytest
from run_entry import medrobust, rows

FAST = (
    "model=phantomclip_small",
    "dataset=phantoms_site_b",
    "dataset.per_class=2",
    "validation=false",
    "corruption=brightness",
    "severity=5",
    "task.epochs=1",
)
WHAT = "balanced_error"
ARTIFACT = ("adapter_config.json", "adapter_model.safetensors", "medrobust.json", "README.md")


def values(path: str) -> list[tuple[str, str, str]]:
    return [(row["corruption"], row["metric"], row["value"]) for row in rows(path)]


def test_a_model_is_tuned_and_its_adapter_serves_any_later_run(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = [text.replace("per_class=2", "per_class=1") for text in FAST]
    tuned = (*fast, "task=few_shot", "adapter=lora", "adapter.rank=2", "task.shots=1")
    assert medrobust(*tuned, "dry_run=true") == 0
    assert "20 images of phantoms_site_b" in capsys.readouterr().out
    assert not Path("outputs/store/adapters").exists()
    assert medrobust(*tuned, "hydra.run.dir=first") == 0
    (folder,) = Path("outputs/store/adapters").iterdir()
    assert {path.name for path in folder.iterdir()} == set(ARTIFACT)
    assert {row["adapter"] for row in rows("first/results.csv")} == {"lora 1 shots draw 0"}
    made = folder.stat().st_mtime_ns
    assert medrobust(*tuned, "dry_run=true", "resume=false", "hydra.run.dir=dry") == 0
    assert "tune  phantomclip_small" in capsys.readouterr().out
    assert folder.stat().st_mtime_ns == made
    card = (folder / "README.md").read_text()
    assert "base_model: package:phantomclip_small.safetensors" in card
    assert str(workplace) not in card + (folder / "medrobust.json").read_text()

    plain = [text for text in fast if not text.startswith("task.")]
    assert medrobust(*plain, f"model.adapter={folder}", "hydra.run.dir=second") == 0
    assert values("second/results.csv") == values("first/results.csv")
    assert json.loads(Path("second/run.json").read_text())["computed"] == 0
    assert "gains need phantomclip_small as published" in capsys.readouterr().out
    assert medrobust(*plain, "hydra.run.dir=published") == 0
    assert not Path("published/adaptation.csv").exists()
    assert medrobust(*plain, f"model.adapter={folder}", "hydra.run.dir=compared") == 0
    before = {row[0]: float(row[2]) for row in values("published/results.csv") if row[1] == WHAT}
    after = {row[0]: float(row[2]) for row in values("first/results.csv") if row[1] == WHAT}
    gains = {
        row["metric"]: float(row["gain"])
        for row in rows("compared/adaptation.csv")
        if row["adaptation"] == "lora 1 shots"
    }
    assert gains["clean error"] == pytest.approx(before["clean"] - after["clean"])
    corrupted = before["brightness"] - after["brightness"]
    assert gains["mean corruption error"] == pytest.approx(corrupted)
    assert "as published" in capsys.readouterr().out

    half = ("adapter=path", f"adapter.path={folder}", "adapter.interpolation=0.5")
    assert medrobust(*plain, *half, "hydra.run.dir=third") == 0
    assert json.loads(Path("third/run.json").read_text())["computed"] == 2


@pytest.mark.slow
def test_draws_make_a_table_with_intervals(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", "experiment=adapter_bakeoff", "model=phantomclip_small", "task.epochs=1")
    sweep += ("reference=phantomclip_small", "dataset.per_class=1", "dataset.limit=20")
    sweep += ("corruption=brightness", "severity=5", "task.fraction=0.5", "hydra.sweep.dir=sweep")
    kinds = (
        "adapter=prompt_ensemble,untuned,linear_probe,lora_corrupted_otherwise,full_interpolated"
    )
    assert medrobust(*sweep, kinds, "task.shot_seed=0,1") == 0
    printed = capsys.readouterr().out
    table = rows("sweep/adaptation.csv")
    labels = {row["adaptation"] for row in table}
    assert labels == {
        "as published",
        "prompt_ensemble",
        "linear_probe 50%",
        "lora_corrupted_otherwise 50%",
        "full 50%, 0.5 of the way",
    }
    assert {row["dataset"] for row in table} == {"phantoms_site_b", "phantoms"}
    adapted = [row for row in table if row["adaptation"] != "as published"]
    assert all(row["low"] for row in adapted if row["metric"] != "mCE")
    told = {r["reason"] for r in rows("sweep/reasons.csv") if r["table"] == "adaptation.csv"}
    assert "a class has 1 patient, 5 are needed" in told  # of its mCE, and of gains
    clean = {
        (row["dataset"], row["adaptation"]): row for row in table if row["metric"] == "clean error"
    }
    for (dataset, label), row in clean.items():
        if label != "as published":
            gain = float(clean[dataset, "as published"]["value"]) - float(row["value"])
            assert float(row["gain"]) == pytest.approx(gain, abs=1e-9)
    line = Path("sweep/adaptation.md").read_text().splitlines()[4]
    values = re.findall(r"[-+]?\d+\.\d", line)
    assert len(values) == 9  # with one patient a class, mCE and gains have no bounds
    assert [value for value in values if value not in printed] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "more"),
    [
        ("robustmedclip_paper", ()),
        ("robustmedclip_paper_exact", ("~dataset.label_order",)),
    ],
)
def test_the_papers_protocols_run_on_phantoms(
    workplace: Path, experiment: str, more: tuple[str, ...]
) -> None:
    arguments = ("-m", f"experiment={experiment}", *FAST, "task.fraction=0.5", "adapter.rank=2")
    assert medrobust(*arguments, *more, "hydra.sweep.dir=sweep") == 0
    (folder,) = Path("outputs/store/adapters").iterdir()
    record = json.loads((folder / "medrobust.json").read_text())
    assert record["recipe"]["alpha"] == record["recipe"]["rank"] == 2
    assert record["task"]["optimizer"]["lr"] == 1e-4
    if experiment == "robustmedclip_paper_exact":
        assert record["data"][0]["pool"] == "val"
        assert record["task"]["features"] == "raw"
    else:
        assert "left out" in record["data"][0]["notes"][-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task=few_shot"], "adapter=none is none that can be tuned"),
        (["adapter=lora"], "add tuning=few_shot"),
        (["task=few_shot", "adapter=lora", "task.pool=test"], "only ever evaluated"),
        (["task=few_shot", "adapter=lora", "task.shots=1", "task.fraction=0.1"], "give one"),
        (["model.adapter=nowhere"], "adapter_model.safetensors"),
        (["task=few_shot", "adapter=lora", "adapter.targets=[conv]"], "has no such parts"),
    ],
)
def test_what_cannot_be_tuned_fails_in_one_sentence(
    workplace: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert medrobust("dataset.per_class=2", "corruption=clean", *arguments) == 1
    error = capfd.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
