"""Calibration of stored cells: shift, scaling on clean validation images, reliability bins."""

from pathlib import Path

import numpy as np
import pytest
from run_entry import rows as table_of
from validated import MULTI_LABEL, read_part, write_validated

from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.metrics.calibration import expected_calibration_error, fit_temperature
from medrobust.metrics.scores import probabilities
from medrobust.readings import Calibration


def read(root: Path, *readings: str) -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    (cells, bins), part = read_part(
        root, readings or ("calibration",), "calibration", "calibration.csv", "reliability.csv"
    )
    return cells, bins, part


def test_numbers_are_those_of_the_cells_before_and_after_the_temperature_of_validation(tmp_path):
    store = write_validated(tmp_path / "store")
    rows, bins, _ = read(store.root)
    results = table_of(tmp_path / "out/results.csv")
    cells = {cell.fingerprint: cell for cell in store.cells()}
    val = next(cell for cell in cells.values() if cell.spec.split == "val")
    heat = fit_temperature(val.arrays["logits"], val.data.labels, "multi-class")
    assert len(rows) == 10
    for row in rows:
        cell = cells[row["cell"]]
        scale = {"none": 1.0, "temperature": heat}[row["scaling"]]
        chances = probabilities(cell.arrays["logits"].astype(float) / scale, "multi-class")
        right = (chances.argmax(axis=1) == cell.data.labels).mean()
        assert float(row["accuracy"]) == pytest.approx(right)
        shift = chances.max(axis=1).mean() - right
        assert float(row["shift"]) == pytest.approx(shift, abs=1e-9)
        assert float(row["shift_low"]) < shift < float(row["shift_high"])
        ece = expected_calibration_error(chances, cell.data.labels, "multi-class")
        assert float(row["ece"]) == pytest.approx(ece, abs=2e-3)  # edges of bins apart
        assert float(row["ece_low"]) <= float(row["ece"]) <= float(row["ece_high"])
        known = next(r for r in results if (r["cell"], r["metric"]) == (row["cell"], "ece"))
        if row["scaling"] == "none":
            ends = [float(row[f"ece_{end}"]) for end in ("low", "high")]
            assert ends == pytest.approx([float(known[end]) for end in ("low", "high")], abs=2e-3)
        own = [b for b in bins if (b["cell"], b["scaling"]) == (row["cell"], row["scaling"])]
        counts = np.array([int(b["images"]) for b in own])
        assert counts.sum() == 300
        assert counts @ np.array([float(b["share_right"]) for b in own]) == round(300 * right)


def test_clean_confidences_hold_after_scaling_and_corrupted_ones_are_too_high(tmp_path):
    store = write_validated(
        tmp_path / "store", fall=0.18, count=600, val_count=600, severities=(5,)
    )
    rows, _, page = read(store.root)
    scaled = {(r["corruption"], r["severity"]): r for r in rows if r["scaling"] == "temperature"}
    clean = scaled["clean", "0"]
    assert float(clean["shift_low"]) < 0.02
    assert float(scaled["gaussian_noise", "5"]["shift_low"]) > 0.1
    assert "it is too sure in 2 of 3 cells" in page


def test_vector_scaling_and_labels_are_read(tmp_path):
    store = write_validated(tmp_path / "store", label_kind=MULTI_LABEL)
    rows, _, _ = read(store.root, "calibration", "calibration.scaling=vector")
    before, after = (
        np.mean([float(r["nll"]) for r in rows if r["scaling"] == s and r["severity"] == "0"])
        for s in ("none", "vector")
    )
    assert after <= before + 0.01
    assert len(rows) == 10


def test_one_class_is_a_sentence_and_a_wrong_setting_is_refused(tmp_path):
    store = write_validated(tmp_path / "store", val_labels=np.zeros(200, np.int64))
    assert "all validation images are of one class" in read(store.root)[2]
    with pytest.raises(UnknownNameError, match="temperature"):
        Calibration(scaling="temprature")
    with pytest.raises(ConfigurationError, match=r"calibration.bins=1"):
        Calibration(bins=1)
