"""A store of release 0.1 goes on: resumed, reported and verified as that release left it.

Phantoms are painted with the sines of the processor class: elsewhere they are other data, and the
last digits of a number are others.
"""

import csv
import importlib.util
import io
import json
import shutil
from pathlib import Path

import pytest
from run_entry import medrobust

from medrobust.evaluation.store import OF_AUDITS
from medrobust.reporting.from_store import report_store

GIVEN = Path(__file__).parents[1] / "data" / "store_0_1"
COMMON = ("trainer.accelerator=cpu", "store.dir=store", "store.examples=false")
PHANTOMS = ("dataset.per_class=2", "corruption=gaussian_noise", "severity=2,5")
RUNS = {
    "two models": ("model=phantomclip", *PHANTOMS),
    "kept features": ("model=phantomclip_small", *PHANTOMS, "prompts=bare", "store.features=true"),
    "a probe": (
        *("model=phantomclip_small", *PHANTOMS),
        *("task=few_shot", "adapter=linear_probe", "task.shots=1"),
    ),
    "labels of own data": (
        *("model=phantomclip_small", "dataset=npz", "dataset.file=scans.npz"),
        *("dataset.class_names=[effusion,mass,nodule]", "dataset.modality=chest x-ray"),
        *("prompts=cxr", "dataset.license=own", "corruption=gaussian_noise", "severity=2,5"),
    ),
}
MOVED = {"nll_calibrated"}
"""Metrics whose values a later release changed on purpose (CHANGELOG.md says by how much)."""

ADDED = {"rank"}
"""Aggregates of further losses that a later release has added to `summary.csv`."""


@pytest.fixture(scope="module")
def elsewhere() -> bool:
    """Whether this is another class of machine than the one that made the store."""
    folder = GIVEN.parent / "golden_run"
    spec = importlib.util.spec_from_file_location("golden_run_make", folder / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recorded = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    return module.machine()["instructions"] != recorded["instructions"]


@pytest.fixture
def store(workplace: Path) -> Path:
    shutil.copy(GIVEN / "scans.npz", workplace)
    return Path(shutil.copytree(GIVEN / "store", workplace / "store"))


def contents(folder: Path) -> dict[str, bytes]:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {
        name: without_audit(file) if "data.json" in name else file for name, file in files.items()
    }


def without_audit(file: bytes) -> bytes:
    """Leave out what an audit may find anew: it depends on the pictures that lie in the cache."""
    body = json.loads(file)
    for name in (*OF_AUDITS, "marks"):
        body["facts"].pop(name, None)
    return json.dumps(body).encode()


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run_is_resumed_and_nothing_is_computed(
    store: Path, name: str, elsewhere: bool
) -> None:
    if elsewhere and PHANTOMS[0] in RUNS[name]:
        pytest.skip("another class of machine paints other phantoms")
    before = contents(store)
    assert medrobust(*RUNS[name], *COMMON, "hydra.run.dir=out") == 0
    run = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert run["computed"] == 0
    assert run["cells"] >= 3
    assert contents(store) == before


def test_a_report_says_what_that_release_said(store: Path, elsewhere: bool) -> None:
    report_store(
        *(store, Path("page")),
        reference="phantomclip_small",
        reference_prompts="phantoms",
        interactive=False,
        figures=False,
    )
    digits = 12 if elsewhere else 17
    results, summary = (
        [values(folder / name, digits) for folder in (GIVEN / "report", Path("page"))]
        for name in ("results.csv", "summary.csv")
    )
    before, now = summary
    labels = {row.pop("label") for row in results[1]}  # of later releases, where rows are several
    assert labels == {row["label"] for row in now if row["split"]}
    assert results[1] == results[0]
    assert [row for row in now if row in before] == before
    assert {row["metric"] for row in now if row not in before} == ADDED


def values(path: Path, digits: int) -> list[dict[str, str]]:
    """Rows of a table without bounds, which later statistics give otherwise, to so many digits."""
    found = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert found
    kept = [{n: v for n, v in row.items() if n not in ("low", "high")} for row in found]
    for row in kept:
        row["value"] = row["value"] and f"{float(row['value']):.{digits}g}"
    return [row for row in kept if row["metric"] not in MOVED]


def test_its_cells_are_computed_again_to_the_same_numbers(
    store: Path, capsys, elsewhere: bool
) -> None:
    status = medrobust("verify", "store", "--cells", "22", "dataset.file=scans.npz")
    said = capsys.readouterr().out
    if elsewhere:
        assert status == 1
        assert "3 agree, 0 differ, 19 not computed" in said
    else:
        assert status == 0
        assert "22 agree, 0 differ, 0 not computed" in said
