"""Consistency read from stored cells: by hand, between columns, and what is said without them."""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from stores import cell_key, data_record, write_cell

from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings.consistency import Consistency, section
from medrobust.reporting import Report, ReportRequest, build_report, expected_from_cells

COUNT = 48


def written(folder: Path, *, features: bool = False) -> tuple[Store, list[StoredCell]]:
    rng = np.random.default_rng(0)
    data = data_record("eyes", classes=3, count=COUNT)
    groups = np.array([f"p{row // 4}" for row in range(COUNT)])
    columns = np.array([[("left", "right")[row % 2]] for row in range(COUNT)])
    data = replace(data, groups=groups, metadata=columns, metadata_columns=("side",))
    store, cells = Store(folder / "store"), []
    for name, level in (("clean", 0), ("fog", 3)):
        key = cell_key(data, "clip", name, level)
        cells.append(write_cell(store, data, key, skill=1.0))
        if features:
            values = rng.normal(size=(COUNT, 6)).astype(np.float32)
            store.write_features(key.encoding_fingerprint, values)
    return store, cells


def reported(store: Store, cells: list[StoredCell], asked: Consistency | None) -> Report:
    request = ReportRequest(
        store=store,
        cells=cells,
        folder=store.root / "out",
        expected=expected_from_cells(cells),
        run={},
        readings={} if asked is None else {"consistency": asked},
    )
    return build_report(request)


def lines(report: Report) -> list[dict[str, str]]:
    found = section(report)
    assert found is not None
    return list(csv.DictReader(StringIO(found.files["consistency.csv"].decode())))


def test_numbers_of_a_corrupted_cell_by_hand(tmp_path: Path) -> None:
    store, cells = written(tmp_path, features=True)
    for between in (None, "side"):
        clean, fog = lines(reported(store, cells, Consistency(between=between)))
        answers = [cell.arrays["logits"].argmax(1) for cell in cells]
        features = [store.read_features(c.record["encoding_fingerprint"]) for c in cells]
        unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in features]
        agree, kept, cosines, same = [], [], [], []
        for patient in range(COUNT // 4):
            own = range(4 * patient, 4 * patient + 4)
            pairs = [(a, b) for a in own for b in own if a < b and (between is None or (a - b) % 2)]
            agree.append(np.mean([answers[1][a] == answers[1][b] for a, b in pairs]))
            before = [p for p in pairs if answers[0][p[0]] == answers[0][p[1]]]
            if before:
                kept.append(np.mean([answers[1][a] == answers[1][b] for a, b in before]))
            cosines.append(np.mean([unit[1][a] @ unit[1][b] for a, b in pairs]))
            chances = [softmax(c.arrays["logits"][list(own)], axis=1).mean(0) for c in cells]
            same.append(chances[0].argmax() == chances[1].argmax())
        assert float(fog["agreement"]) == pytest.approx(np.mean(agree))
        assert float(fog["kept_agreement"]) == pytest.approx(np.mean(kept))
        assert float(fog["flip_rate"]) == pytest.approx((answers[0] != answers[1]).mean())
        assert float(fog["decision_agreement"]) == pytest.approx(np.mean(same))
        assert float(fog["cosine_within"]) == pytest.approx(np.mean(cosines), abs=1e-6)
        drift = 1 - (unit[0] * unit[1]).sum(axis=1)
        assert float(fog["drift"]) == pytest.approx(drift.mean(), abs=1e-6)
        for name in ("agreement", "flip_rate", "drift"):
            assert float(fog[f"{name}_low"]) <= float(fog[name]) <= float(fog[f"{name}_high"])
        assert clean["flip_rate"] == clean["drift"] == ""
        assert (fog["units"], fog["images"]) == ("12", "48")


def test_what_lacks_is_said_and_features_are_left_out_where_none_are_kept(tmp_path: Path) -> None:
    store, cells = written(tmp_path)
    clean, fog = lines(reported(store, cells, Consistency()))
    assert fog["drift"] == fog["cosine_within"] == ""
    assert clean["agreement"] != ""
    for asked, said in (
        (Consistency(between="visit"), "no metadata column &#x27;visit&#x27;"),
        (Consistency(by="eye"), "readings.consistency.by"),
    ):
        found = section(reported(store, cells, asked))
        assert found is not None
        assert not found.files
        assert said in found.html
    assert section(reported(store, cells, None)) is None
    with pytest.raises(ConfigurationError):
        Consistency(how="median")


def test_units_lie_within_patients_and_images_without_a_side_are_in_no_pair(tmp_path: Path) -> None:
    store, cells = written(tmp_path)
    fog = lines(reported(store, cells, Consistency(by="side")))[1]
    answers = cells[1].arrays["logits"].argmax(1)
    eyes = [(4 * p + side, 4 * p + side + 2) for p in range(12) for side in (0, 1)]
    assert fog["units"] == str(len(eyes))
    assert float(fog["agreement"]) == pytest.approx(
        np.mean([answers[a] == answers[b] for a, b in eyes])
    )
    sides = np.array([[("left", "right", "left", "")[row % 4]] for row in range(COUNT)])
    gaps = [replace(cell, data=replace(cell.data, metadata=sides)) for cell in cells]
    fog = lines(reported(store, gaps, Consistency(between="side")))[1]
    pairs = [[(4 * p + a, 4 * p + 1) for a in (0, 2)] for p in range(12)]
    own = [np.mean([answers[a] == answers[b] for a, b in two]) for two in pairs]
    assert float(fog["agreement"]) == pytest.approx(np.mean(own))
    with pytest.raises(ConfigurationError, match="between=visit is no metadata column of the"):
        Consistency(between="visit").check([cells[0].data])
