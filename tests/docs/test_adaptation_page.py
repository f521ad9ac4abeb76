"""docs/adaptation.md on a folder of one's own: its commands one after the other, to the gains."""

import csv
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from pages import commands
from run_entry import answer

from medrobust.cli import entry as cli

RUN = next(c for c in commands() if c.page == "docs/adaptation.md" and "scans/labels.csv" in c.text)
EXPORT = next(
    c for c in commands() if c.page == "docs/adaptation.md" and "medrobust export" in c.text
)


def run(given: list[str]) -> int:
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(given)
    return done.value.code


def gains(folder: str) -> dict[tuple[str, str], str]:
    with Path(folder, "adaptation.csv").open(newline="") as stream:
        return {(row["adaptation"], row["metric"]): row["gain"] for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_the_commands_of_the_page_end_in_gains(workplace: Path) -> None:
    given = EXPORT.words[1:]
    small = [word.replace("per_class=15", "per_class=2") for word in given]
    assert small != given
    done = answer(*small)
    assert done.returncode == 0, done.stderr
    whole = [*RUN.words[2:], "model.micro_batch=8"]
    assert run([*whole, "task.epochs=1", "hydra.sweep.dir=sweep"]) == 0
    found = gains("sweep")
    assert {label for label, _ in found} == {"as published", "lora 50%"}
    assert found["as published", "clean error"] == ""
    measured = {metric: gain for (label, metric), gain in found.items() if label == "lora 50%"}
    assert measured.keys() == {"clean error", "mean corruption error", "mCE"}
    assert all(measured.values())

    (folder,) = Path("outputs/store/adapters").iterdir()
    alone = [w for w in whole if not w.startswith(("tuning", "adapter"))]
    assert run([*alone, f"model.adapter={folder}", "hydra.sweep.dir=alone"]) == 0
    assert gains("alone") == found

    done = answer(
        "report", "outputs/store", "--reference", "phantomclip", "--light", "--no-figures"
    )
    assert done.returncode == 0, done.stderr
    assert gains("outputs/report") == found
