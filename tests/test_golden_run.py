"""One run from pictures to results.csv: to the digit where it was made, within 1/N elsewhere."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "data" / "golden_run"
STEPS = {"accuracy", "balanced_accuracy", "error", "balanced_error", "auprc"}
"""They move in steps: a share by 1/N for an image, the mean AUPRC of balanced classes by up to
1/2N where a positive and a negative at the top change places."""

RENEWED = {"macro_f1", "sensitivity", "specificity"}
"""Their bounds were computed anew on another class of machine, from equal values: 12 digits."""

NAMES = ("model", "adapter", "dataset", "split", "suite", "corruption", "severity", "seed")
NAMES += ("metric", "n", "higher_is_better")


def make():
    spec = importlib.util.spec_from_file_location("golden_run_make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make().golden_run(tmp_path_factory.mktemp("golden"))


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_every_cell_has_its_name_and_its_numbers_within_the_tolerance(made: bytes) -> None:
    golden, found = read((FOLDER / "results.csv").read_bytes()), read(made)
    assert [[row[name] for name in NAMES] for row in found] == [
        [row[name] for name in NAMES] for row in golden
    ]
    assert {row["severity"] for row in golden} == {"0", "1", "5"}
    compared = set()
    for before, after in zip(golden, found, strict=True):
        metric = before["metric"]
        if metric in STEPS | {"auc"}:
            allowed = 1 / int(before["n"]) if metric in STEPS else 1e-3
            difference = abs(float(before["value"]) - float(after["value"]))
            assert difference <= allowed + 1e-12, (before, after)
            compared.add(metric)
    assert {"error", "balanced_error", "auc", "auprc"} <= compared


def test_on_the_machine_class_that_made_it_every_digit_is_the_same(made: bytes) -> None:
    recorded, here = json.loads((FOLDER / "machine.json").read_text()), make().machine()
    if here != recorded:
        other = [name for name in recorded if here[name] != recorded[name]]
        pytest.skip(f"another machine class: {', '.join(other)}")
    golden, found = read((FOLDER / "results.csv").read_bytes()), read(made)
    for row, other in zip(golden, found, strict=True):
        if row["metric"] in RENEWED:
            for end in ("low", "high"):
                bound = row.pop(end), other.pop(end)
                assert bound[0] == bound[1] or float(bound[0]) == pytest.approx(
                    float(bound[1]), rel=1e-12
                )
    assert found == golden
