"""Suites of one's own: named by their file and what it says, wherever it lies and whenever read."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from cells import experiment
from grouped import changed
from run_entry import medrobust, rows

from medrobust.corruptions import Corruption, Suite
from medrobust.corruptions import config as columns
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import CellKey, Store, StoredCell
from medrobust.exceptions import MedRobustError
from medrobust.jobs.records import expected_tables
from medrobust.reporting.from_store import report_store

RESOURCES = Resources()
DIM = "corruptions:\n  dim: {kernel: contrast, factor: [0.9, 0.7, 0.5, 0.4, 0.3]}\n"
BRIGHT = "  bright: {kernel: brightness, shift: [0.1, 0.2, 0.3, 0.4, 0.5]}\n"


def written(folder: Path, content: str, name: str = "mine.yaml") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    return str(folder / name)


def job(folder: Path, suite: str) -> Experiment:
    return changed(experiment(folder / "store"), corruption=Suite(suite))


def run(given: Experiment) -> list[StoredCell]:
    """Run a job; return its corrupted cells."""
    CellRunner(given, RESOURCES, Store(given.where.store)).run(plan(given, RESOURCES))
    found = read_cells(Store(given.where.store), plan(given, RESOURCES))
    return [cell for cell in found if cell.spec.severity]


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("store/cells/*/*/*") if "clean" not in path.name)


def test_files_of_one_name_that_differ_are_two_suites_of_one_store(tmp_path) -> None:
    first, second = (
        written(tmp_path / ward, DIM + BRIGHT.replace("0.1", shift))
        for ward, shift in (("east", "0.1"), ("west", "0.15"))
    )
    (dim, bright), (dim_too, bright_too) = run(job(tmp_path, first)), run(job(tmp_path, second))
    names = {dim.spec.suite, dim_too.spec.suite}
    assert len(names) == 2
    assert all(name.startswith("mine-") for name in names)
    assert bright.spec.suite == dim.spec.suite
    assert bright.fingerprint != bright_too.fingerprint
    assert dim.fingerprint == dim_too.fingerprint  # both say the same of it
    assert len(folders(tmp_path)) == 4
    report = report_store(tmp_path / "store", tmp_path / "page", interactive=False, figures=False)
    assert {matrix.table.suite for matrix in report.matrices} == names
    for path in (tmp_path / "page").rglob("*"):
        assert path.is_dir() or str(tmp_path / "east").encode() not in path.read_bytes()


def test_the_same_file_elsewhere_is_the_same_cells(tmp_path) -> None:
    cells = run(job(tmp_path, written(tmp_path / "here", DIM + BRIGHT)))
    entries = (DIM + BRIGHT).splitlines(keepends=True)
    moved = written(tmp_path / "there", "# moved\n" + entries[0] + entries[2] + entries[1])
    again = run(job(tmp_path, moved))
    assert {cell.folder for cell in again} == {cell.folder for cell in cells}
    assert len(folders(tmp_path)) == 2


def test_a_file_that_was_edited_is_another_suite_and_keeps_what_it_still_says(
    tmp_path, monkeypatch
) -> None:
    (before,) = run(job(tmp_path, mine := written(tmp_path / "here", DIM)))
    written(tmp_path / "here", DIM + BRIGHT)
    monkeypatch.setattr(
        "medrobust.models.phantomclip.PhantomCLIP._image_embedding", lambda *images: 1 / 0
    )
    given = job(tmp_path, mine)
    runner = CellRunner(given, RESOURCES, Store(given.where.store))
    runner.run(plan(given, RESOURCES))
    assert [cell.spec.corruption for cell in runner.failed] == [
        "bright"
    ]  # dim was not encoded again
    dim, missing = read_cells(runner.store, plan(given, RESOURCES))[1:], runner.failed
    assert [cell.spec.corruption for cell in dim] == ["dim"]
    assert {cell.spec.suite for cell in dim} == {cell.spec.suite for cell in missing}
    assert dim[0].spec.suite != before.spec.suite
    assert np.array_equal(dim[0].arrays["logits"], before.arrays["logits"])


def test_a_file_that_changes_under_a_run_changes_none_of_its_cells(tmp_path) -> None:
    given = job(tmp_path, mine := written(tmp_path / "here", DIM))
    planned = plan(given, RESOURCES)
    Path(mine).write_text(DIM.replace("0.9", "0.1"))
    CellRunner(given, RESOURCES, Store(given.where.store)).run(planned)
    (changed_cell,) = run(given)
    Path(mine).write_text(DIM)
    (cell,) = run(job(tmp_path / "alone", mine))
    found = read_cells(Store(given.where.store), planned)[-1]
    assert found.fingerprint == cell.fingerprint
    assert np.array_equal(found.arrays["logits"], cell.arrays["logits"])
    assert not np.array_equal(changed_cell.arrays["logits"], cell.arrays["logits"])


def test_cells_that_are_named_by_a_path_are_read_and_taken_over(tmp_path, monkeypatch) -> None:
    """As cells are that were stored when the suite was called by its path."""
    mine = written(tmp_path / "here", DIM)
    with monkeypatch.context() as before:
        before.setattr(columns, "suite_name", lambda suite, entries: suite)
        (old,) = run(job(tmp_path, mine))
    assert old.spec.suite == mine
    report = report_store(tmp_path / "store", tmp_path / "old", interactive=False, figures=False)
    assert [matrix.table.suite for matrix in report.matrices] == [mine]
    monkeypatch.setattr(
        "medrobust.models.phantomclip.PhantomCLIP._image_embedding", lambda *images: 1 / 0
    )
    (new,) = run(job(tmp_path, mine))
    assert new.fingerprint == old.fingerprint
    assert str(tmp_path) not in json.dumps(asdict(new.spec))
    report = report_store(tmp_path / "store", tmp_path / "both", interactive=False, figures=False)
    assert {matrix.table.suite for matrix in report.matrices} == {mine, new.spec.suite}


@pytest.mark.parametrize(
    "content", [None, "corruptions: {}", "corruptions:\n  dim: {kernel: nothing}\n", "take: [", DIM]
)
def test_what_a_sweep_keeps_of_a_refused_file_has_no_folder_in_it(workplace, content) -> None:
    if content:
        written(workplace / "Anna", content)
    with pytest.raises(MedRobustError) as refused:
        Corruption("brightness", "Anna/mine.yaml").expand(None)
    assert "mine" in refused.value.for_records
    assert "Anna" not in refused.value.for_records


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ({}, ""),
        ({"region": "mask"}, "@inside_foreground"),
        ({"region": "outside", "region_of": "disc"}, "@outside_disc"),
        ({"domain": "stored", "region": "mask"}, "@stored@inside_foreground"),
    ],
)
def test_endings_follow_the_name(tmp_path, options, ending) -> None:
    mine = written(tmp_path / "here", "corruptions:\n  dose: {kernel: low_dose, photons: 9000}\n")
    (plain,) = Corruption("dose", mine).expand(None)
    (placed,) = Suite(mine, **options).expand(None, "CT")
    assert placed.suite == f"{plain.suite}{ending}"
    assert placed.expand(None) == (placed,)


def test_the_name_of_a_stored_suite_must_fit_what_was_done(tmp_path) -> None:
    from medrobust.evaluation.contradictions import contradiction

    (cell,) = run(job(tmp_path, written(tmp_path / "here", DIM)))
    record = cell.record
    for suite, told in (
        (cell.spec.suite, None),
        (f"{cell.spec.suite}@pairs", "its suite is not that of its encoding"),
    ):
        spec = type(cell.spec)(**{**asdict(cell.spec), "suite": suite})
        key = CellKey(spec, record["encoding"], record["head"], cell.data.fingerprint)
        stated = (record["fingerprint"], record["encoding_fingerprint"])
        assert contradiction(key, cell.data, stated) == told


def test_plans_name_their_tables_by_it(tmp_path) -> None:
    given = job(tmp_path, written(tmp_path / "here", DIM + BRIGHT))
    plans = plan(given, RESOURCES)
    (table,) = expected_tables(plans, given.data.severities)
    assert table.corruptions == ("dim", "bright")
    assert {cell.key.spec.suite for cell in plans[0].cells} == {"none", table.suite}


OWN = DIM.replace("\n", f"\n{BRIGHT}", 1)
RUN = (
    *("model=phantomclip_small", "corruption=medimeta_c", "severity=2", "dataset.per_class=1"),
    *("validation=false", "readings=robustness_radius,worst_pair"),
    *("readings.worst_pair.total=4", "readings.worst_pair.budget=1"),
    "model.micro_batch=4",
    "readings.robustness_radius.resolution=1",
)


@pytest.mark.slow  # what it computes is computed above, without searches
def test_a_run_by_command_leaves_no_path_in_names_tables_and_pages(workplace, capsys) -> None:
    wards = [written(workplace / ward, OWN, "my own@2.yaml") for ward in ("east", "west")]
    for ward, mine in zip(("east", "west"), wards, strict=True):
        assert medrobust(*RUN, f"corruption.suite='{mine}'", f"hydra.run.dir=runs/{ward}") == 0
    store = Path("outputs/store")
    cells = sorted(store.glob("cells/*/*/*/s*"))
    suites = {row["suite"] for row in rows("runs/east/results.csv")} - {"none"}
    (suite,) = suites
    assert suite.startswith("my-own-2-")
    assert {row["suite"] for row in rows("runs/west/results.csv")} - {"none"} == suites
    for name in ("results.csv", "worst_pair.csv", "robustness_radius.csv"):
        first, second = (Path(f"runs/{ward}/{name}").read_bytes() for ward in ("east", "west"))
        assert first == second
    found = {json.loads((one / "cell.json").read_text())["cell"]["suite"] for one in cells}
    assert found == {"none", suite, f"{suite}@between", f"{suite}@pairs"}
    typed = (".hydra", "run.json", "plan.json")  # hold what was typed, and where the store is
    for path in (*store.rglob("*"), *Path("runs").rglob("*")):
        if path.is_file() and not any(part in typed for part in path.parts):
            assert str(workplace).encode() not in path.read_bytes(), path
    capsys.readouterr()
    wanted = f"corruption.suite={workplace}/new/my own@2.yaml"
    written(
        workplace / "new",
        OWN + "  further: {kernel: brightness, shift: 0.3}\n",
        "my own@2.yaml",
    )
    assert medrobust("verify", str(store), "--cells", "99", wanted) == 0
    assert capsys.readouterr().out.count("identical") == len(cells)
    for ward in wards:
        Path(ward).unlink()
    words = [word for word in RUN if word.startswith("readings")]
    assert medrobust("report", str(store), "--out", "page", "--light", *words) == 0
    assert rows("page/worst_pair.csv") == rows("runs/east/worst_pair.csv")
    written(workplace / "new", OWN.replace("0.7", "0.6"), "my own@2.yaml")
    assert medrobust("verify", str(store), "--cells", "99", wanted) == 1
