"""Deferral of stored cells: thresholds of clean validation images, numbers, what is left out."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from validated import MULTI_LABEL, read_part, write_validated

from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.metrics.deferral import deferral, limit_for
from medrobust.readings import Selective


def read(root: Path, *readings: str) -> tuple[list[dict[str, str]], str]:
    """Report a store; return the rows of selective.csv and the section of the page."""
    (rows,), part = read_part(root, readings or ("selective",), "deferral", "selective.csv")
    return rows, part


def softmax(logits: np.ndarray) -> np.ndarray:
    terms = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True)


@pytest.mark.slow
def test_every_number_is_that_of_the_images_above_the_threshold_of_validation(tmp_path):
    store = write_validated(tmp_path / "store")
    rows, _ = read(store.root, "selective", "selective.coverage=0.8", "selective.reader_error=0.1")
    cells = {cell.fingerprint: cell for cell in store.cells()}
    val = next(cell for cell in cells.values() if cell.spec.split == "val")
    threshold = np.sort(softmax(val.arrays["logits"]).max(axis=1))[200 - 160]
    assert len(rows) == 5
    for row in rows:
        cell = cells[row["cell"]]
        chances = softmax(cell.arrays["logits"])
        sure, wrong = chances.max(axis=1), chances.argmax(axis=1) != cell.data.labels
        accepted = sure >= threshold - 1e-12
        expected = {
            "threshold": threshold,
            "validation_coverage": 0.8,
            "coverage": accepted.mean(),
            "selective_risk": wrong[accepted].mean(),
            "error": wrong.mean(),
            "system_error": np.where(accepted, wrong, 0.1).mean(),
            "failure_auroc": roc_auc_score(~wrong, sure),
        }
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, abs=1e-9), name
        for name in ("coverage", "selective_risk", "augrc", "aurc", "failure_auroc"):
            assert float(row[f"{name}_low"]) <= float(row[name]) <= float(row[f"{name}_high"])


def test_risk_is_drawn_over_coverage_for_each_corruption_and_severity(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "medrobust.readings.selective.panels_svg", lambda panels, salt: drawn.update({salt: panels})
    )
    store = write_validated(tmp_path / "store")
    (rows,), _ = read_part(store.root, ("selective",), "deferral", "risk_coverage.csv")
    panels = drawn["risk over coverage m on ward/test"]
    assert {panel.title for panel in panels} == {row["corruption"] for row in rows} - {"clean"}
    for panel in panels:
        assert [round(line.faint, 1) for line in panel.lines] == [1.0, 0.8, 0.0]
        own = [r for r in rows if (r["corruption"], r["severity"]) == (panel.title, "5")]
        line = panel.lines[-1]
        assert line.x == [100 * float(row["coverage"]) for row in own]
        assert line.y == [100 * float(row["risk"]) for row in own]
        for low, value, high in zip(line.low, line.y, line.high, strict=True):
            assert low <= value <= high


def test_curves_that_a_section_names_are_means_over_corruptions(tmp_path):
    from medrobust.reporting.wandb_readings import lines_of

    store = write_validated(tmp_path / "store")
    rows, _ = read(store.root)
    (line,) = lines_of(rows, "severity", "coverage", "").values()
    assert line[0] == [0.0, 1.0, 5.0]
    hard = [float(row["coverage"]) for row in rows if row["severity"] == "5"]
    assert line[1][-1] == pytest.approx(np.mean(hard))


def test_a_shift_breaks_what_validation_promised_and_none_does_not(tmp_path):
    fine = write_validated(tmp_path / "fine" / "store", fall=0.0)
    assert "in none of 5 cells" in read(fine.root)[1]
    broken = write_validated(tmp_path / "broken" / "store", fall=0.18, severities=(5,))
    assert "in 2 of 3 cells the accepted err more" in read(broken.root)[1]


@pytest.mark.slow
def test_exchangeable_images_break_the_promise_no_more_often_than_stated():
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(400):
        sure = rng.random(700)
        wrong = (rng.random(700) > sure).astype(float)
        limit = limit_for(sure[:300], wrong[:300], coverage=0.7)
        found = deferral(
            sure[300:], wrong[300:], limit, labels=None, groups=None, coverage=0.7, reader_error=0
        )
        broken += limit.broken_by(found["selective_risk"])
    assert broken / 400 < 0.025 + 3 * np.sqrt(0.025 / 400)


def test_patients_widen_the_intervals(tmp_path):
    write_validated(tmp_path / "alone" / "store")
    write_validated(tmp_path / "grouped" / "store", patients=5)
    widths = []
    for name in ("alone", "grouped"):
        rows, _ = read(tmp_path / name / "store")
        widths.append(float(rows[0]["coverage_high"]) - float(rows[0]["coverage_low"]))
    assert widths[0] != widths[1]


def test_a_risk_instead_of_a_coverage_sets_the_threshold(tmp_path):
    store = write_validated(tmp_path / "store")
    rows, _ = read(store.root, "selective", "selective.risk=0.03")
    assert float(rows[0]["validation_risk"]) <= 0.03
    out = write_validated(tmp_path / "none" / "store", fall=0.0, val_labels=np.arange(200) // 100)
    page = read(out.root, "selective", "selective.risk=0.0")[1]
    assert "no part of its validation images has a risk of 0" in page or "validation" in page


@pytest.mark.parametrize(
    ("readings", "more", "sentence"),
    [
        (("selective.score=knn",), {}, "score=knn needs features (store.features=true)"),
        (("selective.score=mutual_information",), {}, "needs several prompt sets"),
        (("selective.score=mcm",), {}, "needs the logit scale, which cells of earlier releases"),
        (("selective.score=margin",), {"label_kind": MULTI_LABEL}, "score=msp alone is defined"),
        (("selective",), {"val_labels": np.zeros(200, np.int64)}, "are of one class"),
        (("selective",), {"label_kind": MULTI_LABEL, "absent": None}, "its logits have no zero"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, readings, more, sentence):
    store = write_validated(tmp_path / "store", **more)
    rows, page = read(store.root, "selective", *readings)
    assert sentence in page
    assert not rows


def test_a_store_without_validation_cells_is_a_sentence(tmp_path):
    from stores import data_record, write_matrix

    store, _ = write_matrix(tmp_path / "store", data_record(), {"m": 1.0}, severities=(1,))
    rows, page = read(store.root)
    assert "there are no clean validation images under the same model and texts" in page
    assert not rows


@pytest.mark.parametrize("score", ["mahalanobis", "relative_mahalanobis", "knn"])
def test_scores_of_features_are_read_where_features_were_kept(tmp_path, score):
    store = write_validated(tmp_path / "store", features=True)
    rows, _ = read(store.root, "selective", f"selective.score={score}")
    assert len(rows) == 5
    assert all(np.isfinite(float(row["augrc"])) for row in rows)


def test_prompt_sets_of_one_model_disagree_where_it_is_unsure(tmp_path):
    store = write_validated(tmp_path / "store", prompts=("one", "two"))
    rows, _ = read(store.root, "selective", "selective.score=mutual_information")
    assert len(rows) == 10
    assert all(float(row["failure_auroc"]) > 0.5 for row in rows if row["severity"] == "0")


def test_several_labels_an_image_have_the_share_that_is_wrong_as_loss(tmp_path):
    store = write_validated(tmp_path / "store", label_kind=MULTI_LABEL)
    rows, _ = read(store.root)
    cells = {cell.fingerprint: cell for cell in store.cells()}
    for row in rows:
        cell = cells[row["cell"]]
        wrong = ((cell.arrays["logits"] > 0) != cell.data.labels).mean()
        assert float(row["error"]) == pytest.approx(wrong)
        assert row["failure_auroc"] == row["balanced_augrc"] == ""


def test_settings_that_cannot_be_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="msp"):
        Selective(score="mps")
    with pytest.raises(ConfigurationError, match=r"selective.coverage=0"):
        Selective(coverage=0)
    with pytest.raises(ConfigurationError, match=r"selective.reader_error=2"):
        Selective(reader_error=2)


def test_mcm_is_the_softmax_of_the_cosines_that_logits_and_scale_give(tmp_path, monkeypatch):
    import stores

    def with_scale(store, data, key, *, logits):
        store.write_data(data)
        record = {"status": "done", "seconds": 0.5, "config": stores.CONFIG, "device": "cpu",
                  "versions": stores.VERSIONS, "logit_scale": 20.0}  # fmt: skip
        store.write(key, {"logits": logits}, record)

    monkeypatch.setattr("validated.write_cell", with_scale)
    store = write_validated(tmp_path / "store")
    rows, _ = read(store.root, "selective", "selective.score=mcm")
    cells = {cell.fingerprint: cell for cell in store.cells()}
    for row in rows:
        cell = cells[row["cell"]]
        sure = softmax(cell.arrays["logits"].astype(float) / 20).max(axis=1)
        right = cell.arrays["logits"].argmax(axis=1) == cell.data.labels
        assert float(row["failure_auroc"]) == pytest.approx(roc_auc_score(right, sure))
