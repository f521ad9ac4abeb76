"""Quality against correctness, and operating limits, from stored cells to page and tables."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from discs import make_store

from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.quality import measure
from medrobust.readings import OperatingLimit
from medrobust.readings.lookup import asked
from medrobust.readings.operating_limit import falls_below, limits
from medrobust.reporting.from_store import report_store
from medrobust.reporting.wandb_readings import lines_of

ASKED = {
    "quality": {"shown": 2},
    "operating_limit": {"tolerance": 10, "sensitivity": 80.0, "classes": ["class 1"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("quality_readings")
    make_store(place / "store", "test", seed=2)
    report_store(
        place / "store", place / "report", interactive=False, figures=False, readings=asked(ASKED)
    )
    return place / "report"


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / name).read_text("utf-8").splitlines()))


def test_the_measure_that_predicts_failure_is_found(folder: Path) -> None:
    rows = table(folder, "quality.csv")
    pooled = {r["measure"]: r for r in rows if r["corruption"] == "all conditions"}
    assert float(pooled["noise_sigma"]["failure_auroc_low"]) > 0.5
    assert float(pooled["noise_sigma"]["rank_correlation_low"]) > 0
    within = [r for r in rows if r["corruption"] == "gaussian_noise" and r["severity"] == "5"]
    for row in within:  # errors were planted by condition, not by image
        assert float(row["failure_auroc_low"]) <= 0.5 <= float(row["failure_auroc_high"])
    parts = [r for r in table(folder, "quality_curves.csv") if r["measure"] == "noise_sigma"]
    right = [float(row["isotonic"]) for row in parts]
    assert right == sorted(right, reverse=True)
    assert right[0] > 0.75 > 0.5 > right[-1]
    page = (folder / "report.html").read_text("utf-8")
    assert "Image quality against correctness" in page
    lines = lines_of(table(folder, "quality_curves.csv"), "part", "right", "measure")
    assert len(lines) == len(pooled)
    (line,) = (line for key, line in lines.items() if key.endswith("measure noise_sigma"))
    assert line == (list(range(1, 11)), [float(row["right"]) for row in parts])


def test_the_limit_lies_where_the_planted_error_exceeds_the_tolerance(folder: Path) -> None:
    (noise,) = [
        r for r in table(folder, "operating_limit.csv") if r["corruption"] == "gaussian_noise"
    ]
    assert 1 < float(noise["limit"]) < 3  # 5 % at severity 1, 30 % at 3, 2 % clean
    assert float(noise["earliest"]) <= float(noise["limit"]) <= float(noise["latest"])
    assert float(noise["noise_sigma"]) > 5
    assert "Operating limits" in (folder / "report.html").read_text("utf-8")


def test_a_limit_is_interpolated_and_none_where_no_severity_reaches_it() -> None:
    rising = [(0.02, 0.0, 0.04), (0.10, 0.06, 0.14)]
    assert limits([1, 3], rising, 0.06) == pytest.approx((2.0, 1.4, 3.0))
    assert limits([1, 3], rising, 0.12) == (None, pytest.approx(2.6), None)
    assert limits([2], [(0.1, 0.05, 0.2)], 0.05)[0] == 1.0


def test_the_limit_of_a_class_lies_where_its_sensitivity_falls_below_what_was_asked(
    folder: Path,
) -> None:
    rows = table(folder, "operating_limit_classes.csv")
    assert {row["class"] for row in rows} == {"class 1"}
    (noise,) = [row for row in rows if row["corruption"] == "gaussian_noise"]
    # wrong on 2 % of clean images, 5 % at severity 1, 30 % at 3, 60 % at 5
    assert float(noise["clean"]) > 0.9
    assert 1 < float(noise["limit"]) < 3.2
    assert float(noise["earliest"]) <= float(noise["limit"]) <= float(noise["latest"])
    page = (folder / "report.html").read_text("utf-8")
    assert "fewer than 80 % of the images of a class" in page


def test_a_sensitivity_that_clean_images_do_not_reach_has_the_limit_zero() -> None:
    shares = [(0.7, 0.6, 0.85), (0.5, 0.4, 0.6), (0.4, 0.3, 0.5)]
    assert falls_below([1, 3], shares, 0.8) == pytest.approx((0.0, 0.0, 0.2))
    assert falls_below([1, 3], shares, 0.35) == (None, pytest.approx(2.0), None)


@pytest.mark.slow
def test_a_class_that_no_set_has_and_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    make_store(tmp_path / "store", "test", seed=2)
    asked_for = asked({"operating_limit": {"sensitivity": 90, "classes": ["clas 1"]}})
    with pytest.raises(UnknownNameError, match="'class 1'"):
        report_store(tmp_path / "store", tmp_path / "out", interactive=False, figures=False,
                     readings=asked_for)  # fmt: skip
    with pytest.raises(ConfigurationError, match="sensitivity=999"):
        OperatingLimit(sensitivity=999)
    with pytest.raises(ConfigurationError, match="as a list"):
        OperatingLimit(classes="class 1")


def test_measures_of_a_whole_image_miss_a_small_finding() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:224, :224]
    plain = 90 + 20 * np.sin(x / 40) + rng.normal(size=x.shape) * 4
    finding = 60 * np.exp(-((x - 80) ** 2 + (y - 120) ** 2) / (2 * 7.0**2))  # 1 % of the area
    with_it, without, noisy = (
        torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))[None, None]
        for image in (plain + finding, plain, plain + finding + rng.normal(size=x.shape) * 8)
    )
    names = ["ssim", "noise_sigma", "laplacian_variance", "entropy", "contrast"]
    clean = {n: v.item() for n, v in measure(with_it, names, clean=with_it).items()}
    erased = {n: v.item() for n, v in measure(without, names, clean=with_it).items()}
    blurred = {n: v.item() for n, v in measure(noisy, names, clean=with_it).items()}
    assert erased["ssim"] > 0.97 > 0.7 > blurred["ssim"]
    for name in ("noise_sigma", "laplacian_variance"):
        assert erased[name] == pytest.approx(clean[name], rel=0.02)
        assert blurred[name] > 1.5 * clean[name]
