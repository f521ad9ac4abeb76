"""Lesions read from stored cells: counts by hand, FROC of a grid, and what is said without."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Boxes, WindowLabels
from medrobust.evaluation.facts_record import arrays_of, facts_of, read_facts
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.froc import Boxes as FrocBoxes
from medrobust.metrics.froc import froc
from medrobust.readings.cells.lesion_units import LesionSplit
from medrobust.readings.lesions import Lesions, section
from medrobust.reporting import Report, ReportRequest, build_report, expected_from_cells
from medrobust.reporting.measure import variant

IMAGES, EACH = 20, 3


def facts(split: str, *, grid: bool = False) -> SplitFacts:
    count = IMAGES * EACH
    plain = data_record(f"wide-{split}-{grid}", classes=2, count=count, label_kind="binary-class")
    images = np.repeat(np.arange(IMAGES), EACH)
    left = 10 * (np.arange(count) % EACH)
    windows = np.stack([left, np.zeros(count, int), left + 10, np.full(count, 10)], axis=1)
    values = (np.arange(count) % (EACH + 2) == 0).astype(np.int64)
    kept = values > 0 if grid else np.ones(count, bool)
    lesions = Boxes(windows[kept].astype(np.float32), images[kept], values[kept])
    return replace(
        plain,
        name="wide",
        split=split,
        positive=1,
        target=WindowLabels(values, windows, images, lesions, grid),
        groups=np.array([f"{split} p{image // 2}" for image in images]),
    )


def reported(folder: Path, asked: Lesions, *, grid: bool = False) -> tuple[Report, dict]:
    store, cells = Store(folder / "store"), {}
    for split, name, level in (("val", "clean", 0), ("test", "clean", 0), ("test", "fog", 3)):
        data = facts(split, grid=grid)
        key = cell_key(data, "clip", name, level)
        spec = replace(key.spec, split=split)
        key = replace(key, spec=spec, head={**key.head, "absent": [["none"]]})
        cells[split, name] = write_cell(store, data, key, skill=1.0)
    shown = [cells["test", "clean"], cells["test", "fog"]]
    request = ReportRequest(
        store=store,
        cells=shown,
        folder=folder / "out",
        expected=expected_from_cells(shown),
        run={},
        validation={(variant(shown[0]), shown[0].spec.dataset): cells["val", "clean"]},
        readings={"lesions": asked},
    )
    return build_report(request), cells


def lines(report: Report, name: str = "lesions.csv") -> list[dict[str, str]]:
    found = section(report)
    assert found is not None
    return list(csv.DictReader(StringIO(found.files[name].decode())))


def suspicion(cell) -> np.ndarray:
    logits = cell.arrays["logits"].astype(float)
    return logits[:, 1] - logits[:, 0]


def test_sensitivity_at_the_specificity_of_clean_validation_lesions_by_hand(
    tmp_path: Path,
) -> None:
    report, cells = reported(tmp_path, Lesions(specificity=0.8))
    for line, name in zip(lines(report), ("clean", "fog"), strict=True):
        for level in ("lesion", "image", "patient"):
            each = []
            for cell in (cells["val", "clean"], cells["test", name]):
                codes = {
                    "lesion": np.arange(IMAGES * EACH),
                    "image": np.repeat(np.arange(IMAGES), EACH),
                    "patient": np.repeat(np.arange(IMAGES // 2), 2 * EACH),
                }[level]
                units = np.unique(codes)
                score = np.array([suspicion(cell)[codes == unit].max() for unit in units])
                ill = np.array([cell.data.labels[codes == unit].any() for unit in units])
                each.append((score, ill))
            (before, healthy), (score, ill) = each
            if healthy.all():
                assert line[f"sensitivity_{level}"] == ""
                continue
            limits = [t for t in np.sort(before) if (before[~healthy] < t).mean() >= 0.8]
            limit = limits[0] if limits else np.inf
            found = float(line[f"sensitivity_{level}"])
            assert found == pytest.approx((score[ill] >= limit).mean())
            if not ill.all():
                right = float(line[f"specificity_{level}"])
                assert right == pytest.approx((score[~ill] < limit).mean())
        assert line["froc_centre"] == ""


def test_froc_of_a_grid_is_that_of_its_windows(tmp_path: Path) -> None:
    report, cells = reported(tmp_path, Lesions(suppress=1.0), grid=True)
    for line, name in zip(lines(report), ("clean", "fog"), strict=True):
        cell = cells["test", name]
        target = cell.data.target
        windows = FrocBoxes(target.windows.astype(float), target.images)
        truth = FrocBoxes(target.lesions.values.astype(float), target.lesions.images)
        for rule in ("centre", "iou"):
            curve = froc(windows, suspicion(cell), truth, IMAGES, rule=rule, least_iou=0.1)
            assert float(line[f"froc_{rule}"]) == pytest.approx(curve.score)
            assert (
                float(line[f"froc_{rule}_low"]) <= curve.score <= float(line[f"froc_{rule}_high"])
            )
        assert (line["detections"], line["lesions"]) == ("60", "12")


def test_a_grid_without_background_stays_a_grid_and_old_stores_tell_it_by_their_labels() -> None:
    some, boxes = facts("test", grid=True), facts("test")
    full = replace(some, target=replace(some.target, values=np.ones(len(some), np.int64)))
    for data, grid, old in ((full, True, False), (some, True, True), (boxes, False, False)):
        told, arrays = json.loads(json.dumps(facts_of(data))), arrays_of(data)
        without = {name: one for name, one in arrays.items() if name != "window_grid"}
        for stored, expected in ((arrays, grid), (without, old)):
            again = read_facts(told, stored)
            assert isinstance(again.target, WindowLabels)
            assert LesionSplit.of(again, again.target).grid is expected


def test_negative_units_are_counted_by_their_number_of_lesions(tmp_path: Path) -> None:
    report, _ = reported(tmp_path, Lesions())
    found = lines(report, "lesion_counts.csv")
    assert {(line["unit"], line["lesions"]) for line in found} <= {("image", "3"), ("patient", "6")}
    negative = sum(not facts("test").labels[3 * image : 3 * image + 3].any() for image in range(20))
    assert {line["units"] for line in found if line["unit"] == "image"} == {str(negative)}


def test_images_that_are_no_lesions_are_left_out_and_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    data = data_record("toy", classes=3)
    keys = [cell_key(data, "clip", *one) for one in (("clean", 0), ("fog", 3))]
    cells = [write_cell(store, data, key) for key in keys]
    request = ReportRequest(
        store=store,
        cells=cells,
        folder=tmp_path / "out",
        expected=expected_from_cells(cells),
        run={},
        readings={"lesions": Lesions()},
    )
    found = section(build_report(request))
    assert found is not None
    assert not found.files
    assert "its images are no lesions" in found.html
    assert section(build_report(replace(request, readings={}))) is None


@pytest.mark.parametrize("wrong", [{"how": "median"}, {"specificity": 0}, {"iou": 2}])
def test_wrong_choices_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigurationError, match=r"readings\.lesions"):
        Lesions(**wrong)
