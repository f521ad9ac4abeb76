"""The paper's averages stand beside those of a run over its twelve sets, and of no other run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import cell_key, data_record

from medrobust.evaluation.store import Store
from medrobust.readings.paper_averages import facts, section
from medrobust.reporting import make_report, reference_cells
from medrobust.reporting.expected import ExpectedTable

SETS = [name for names in facts()["modalities"].values() for name in names]


def report_of(root: Path, sets: list[str]):
    """Model m errs on half as many images as the reference; on fundus as often."""
    store, cells, expected = Store(root), [], []
    for name in sets:
        data = data_record(name, classes=2)
        store.write_data(data)
        for model, share in (("reference", 1), ("m", 1 if name == "fundus" else 2)):
            for severity, wrong in ((0, 12), (5, 24)):
                corruption = "contrast" if severity else "clean"
                key = cell_key(data, model, corruption, severity)
                if severity:
                    key = replace(key, spec=replace(key.spec, suite="medimeta_c"))
                answers = data.labels.copy()
                answers[: wrong // share] = 1 - answers[: wrong // share]
                store.write(key, {"logits": np.eye(2, dtype=np.float32)[answers]}, {})
                cells.append(store.read(key.spec, key.fingerprint))
        expected.append(ExpectedTable(name, "test", "medimeta_c", ("contrast",), (5,)))
    found, _ = reference_cells(store, cells, "reference", command="")
    return make_report(
        cells,
        expected=expected,
        missing=[],
        reference="reference",
        reference_cells=found,
        notes=[],
        folder=root,
        run={},
    )


def test_five_modalities_count_equally_beside_the_published_averages(tmp_path: Path) -> None:
    text = section(report_of(tmp_path, SETS)).files["published.md"].decode()
    # four modalities at 50, retinal fundus at (100 + 50) / 2
    assert "| m | this run | 55.0 | 55.0 |" in text
    assert "| reference | this run | 100.0 | 100.0 |" in text
    assert "| RMedCLIP | published | 62.8 | 81.0 |" in text
    assert "chooses the epoch on the test split" in text


@pytest.mark.slow
@pytest.mark.parametrize("without", ["aml", "octmnist"])
def test_a_part_of_the_sets_is_not_set_beside_the_whole(tmp_path: Path, without: str) -> None:
    assert section(report_of(tmp_path, [s for s in SETS if s != without])) is None
