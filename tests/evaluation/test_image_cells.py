"""Cells of images and no model: planned, stored, skipped and reported as all others are."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from contract import TaskContract
from numpy.typing import NDArray
from stores import data_record

from medrobust.base.split_facts import SplitFacts
from medrobust.cli.entry import main
from medrobust.corruptions import Corruption, corrupt
from medrobust.datasets import Phantoms
from medrobust.evaluation.experiment import Data
from medrobust.evaluation.image_cells import image_plans
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.quality import ImageQuality, measure
from medrobust.tasks.base import Cell
from medrobust.tasks.image_quality import TASK

COMMAND = (
    *("model=phantomclip_small", "corruption=gaussian_noise", "severity=1,5"),
    *("model.micro_batch=6", "dataset.per_class=1", "dataset.limit=6"),
    *("validation=false", "audit=false", "quality.measures=[psnr,ssim,noise_sigma,snr]"),
)


class TestImageQuality(TaskContract):
    task = TASK
    head = {"kind": "image_quality", "measures": ["ssim", "psnr", "entropy"], "version": 1}  # noqa: RUF012

    def facts(self) -> SplitFacts:
        return data_record()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        rng = np.random.default_rng(seed)
        ssim = np.clip(skill + 0.02 * rng.normal(size=len(data)), 0, 1)
        return {"measures": np.stack([ssim, 40 * ssim, 5 + ssim], axis=1)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    run(folder, "first")
    return folder


def run(folder: Path, name: str, *further: str) -> None:
    places = (f"store.dir={folder / 'store'}", f"hydra.run.dir={folder / name}")
    assert typed(*COMMAND, *places, "quality=default", *further) == 0


def typed(*words: str) -> int:
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return int(stopped.value.code or 0)


def of_images(folder: Path) -> list[StoredCell]:
    return [cell for cell in Store(folder / "store").cells() if cell.spec.model == "images"]


@pytest.mark.slow
def test_every_condition_of_the_run_has_a_cell_without_a_model(ran: Path) -> None:
    cells = of_images(ran)
    conditions = {(c.spec.corruption, c.spec.severity) for c in cells}
    assert conditions == {("clean", 0), ("gaussian_noise", 1), ("gaussian_noise", 5)}
    for cell in cells:
        assert cell.arrays["measures"].shape == (6, 4)
        assert not {"weights", "precision", "micro_batch"} & set(cell.record["encoding"])


def test_the_stored_numbers_are_those_of_the_images_that_the_model_saw(ran: Path) -> None:
    images = Phantoms(per_class=1, limit=6).load("test")
    clean = torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2).contiguous()
    noisy = corrupt(
        clean, "gaussian_noise", severity=5, stream=images.stream,
        index=torch.from_numpy(images.index),
    )  # fmt: skip
    wanted = measure(noisy, ["psnr", "ssim", "noise_sigma", "snr"], clean=clean)
    (cell,) = [c for c in of_images(ran) if c.spec.severity == 5]
    found = dict(zip(cell.head["measures"], cell.arrays["measures"].T, strict=True))
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values.numpy(), rel=1e-6), name


@pytest.mark.slow
def test_they_are_found_again_and_computed_once_for_all_models(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written() -> dict[Path, int]:
        return {c.folder: (c.folder / "cell.json").stat().st_mtime_ns for c in of_images(ran)}

    before = written()
    run(ran, "second", "model=phantomclip")
    assert written() == before
    run(ran, "dry", "dry_run=true")
    assert "skip  images · phantoms/test · gaussian_noise s5" in capsys.readouterr().out


def test_a_run_shows_them_beside_what_models_answer(ran: Path) -> None:
    rows = list(csv.DictReader((ran / "first" / "results.csv").read_text().splitlines()))
    ours = [row for row in rows if row["model"] == "images"]
    assert {"ssim", "psnr", "noise_sigma"} <= {row["metric"] for row in ours}
    (worst,) = [r for r in ours if (r["metric"], r["severity"]) == ("noise_sigma", "5")]
    (clean,) = [r for r in ours if (r["metric"], r["severity"]) == ("noise_sigma", "0")]
    assert float(worst["value"]) > 5 * float(clean["value"])
    page = (ran / "first" / "report.html").read_text("utf-8")
    assert "1 − SSIM" in page
    run_json = (ran / "first" / "run.json").read_text()
    assert '"cells": 6' in run_json


def test_a_store_with_them_is_reported_and_verified(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches = ("--out", str(ran / "report"), "--light", "--no-figures")
    assert typed("report", str(ran / "store"), *switches) == 0
    assert "1 − SSIM" in capsys.readouterr().out
    assert typed("verify", str(ran / "store"), "--cells", "9") == 0
    assert "0 differ, 0 not computed" in capsys.readouterr().out


def test_psnr_of_a_cell_is_that_of_its_mean_squared_error() -> None:
    psnr = np.array([10.0, 30.0, np.inf])
    arrays = {"measures": psnr[:, None]}
    data = data_record()
    cell = Cell("0" * 64, arrays, {"kind": "image_quality", "measures": ["psnr"]}, data)
    mean = (255**2 / 10 + 255**2 / 1000) / 3
    assert TASK.scores(cell).estimates["psnr"].value == pytest.approx(10 * np.log10(255**2 / mean))
    unchanged = Cell("0" * 64, {"measures": np.full((3, 1), np.inf)}, cell.head, data)
    assert TASK.scores(unchanged).estimates["psnr"].value is None


def test_no_model_can_be_asked_for_it() -> None:
    with pytest.raises(ConfigurationError, match="add quality=default to a run"):
        TASK.heads(data_record(), None)  # type: ignore[arg-type]


def test_images_too_small_for_a_measure_are_refused_before_anything_runs() -> None:
    quality = ImageQuality(["ms_ssim", "entropy"])
    data = Data((Phantoms(per_class=1, limit=2),), Corruption("contrast"), (1,), quality=quality)
    small = np.zeros((2, 64, 80, 3), np.uint8)
    planned = SimpleNamespace(image_set=SimpleNamespace(images=small))
    with pytest.raises(InvalidImageError, match=r"ms_ssim takes images of at least 176 .* 64 x 80"):
        image_plans(SimpleNamespace(data=data), [planned], None)  # type: ignore[arg-type, list-item]


def test_niqe_is_fitted_on_clean_validation_images_which_the_fingerprint_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tuning import experiment

    from medrobust.adapters import NoAdapter
    from medrobust.evaluation.image_cells import measured
    from medrobust.evaluation.plan import plan
    from medrobust.evaluation.resources import Resources
    from medrobust.exceptions import DatasetNotFoundError

    given, resources = experiment(tmp_path, adapter=NoAdapter(), tuning=None), Resources()
    noise, quality = Corruption("gaussian_noise"), ImageQuality(["niqe"])
    given = replace(given, data=replace(given.data, corruption=noise, quality=quality))
    plans = plan(given, resources)
    (found,) = image_plans(given, plans, resources)
    validation = resources.image_set(given.data.datasets[0], "val")
    assert found.site is validation
    clean, noisy = found.cells
    assert clean.key.head["site"]["data"] == validation.fingerprint
    assert "site" not in ImageQuality(["ssim"]).head_of(None)
    few, cpu = found.image_set.take(np.arange(4), fingerprint="f" * 64), torch.device("cpu")
    values = [measured(given, few, cell, cpu, site=found.site) for cell in (clean, noisy)]
    assert values[1].min() > values[0].max()

    def without(source: object, split: str | None = None) -> object:
        raise DatasetNotFoundError("none")

    monkeypatch.setattr(resources, "image_set", without)
    with pytest.raises(ConfigurationError, match="niqe is fitted on clean validation images"):
        image_plans(given, plans, resources)
