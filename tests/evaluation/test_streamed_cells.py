"""Methods that adapt the model while images come, as rows: alone or in any company the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grouped import changed
from online_jobs import RESOURCES, Classifier, cells_of, evaluated, named
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.adapters import NoAdapter
from medrobust.evaluation.estimate import alike, estimate
from medrobust.evaluation.plan import PlannedCell, plan
from medrobust.evaluation.ranks import Ranks
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.run.failures import Failures
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, MedRobustError
from medrobust.models.own import OwnModel
from medrobust.readings.adaptation import METRICS, draw_rows, section
from medrobust.readings.adapted.efforts import effort_rows, nothing_learned
from medrobust.reporting import make_report
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.from_store import report_store

SOME = ("tent", "adabn", {"method": "sar", "margin": 0.9})
OFF = (
    {"method": "tent", "rate": 0, "statistics": "training"},
    {"method": "eta", "steps": 0, "statistics": "training"},
    {"method": "alpha_bn", "alpha": 0},
    {"method": "ema_bn", "momentum": 0},
)


@pytest.fixture(scope="module")
def job_of_many(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, int], Any]:
    """Clean and a corruption at two severities, each with the model's own answers and more."""
    folder = tmp_path_factory.mktemp("many")
    found = named(cells_of(evaluated(folder, *SOME, severities=(1, 5))))
    assert len(found) == 3 * 4
    return found


def test_a_cell_alone_equals_the_same_cell_as_the_last_of_a_job(
    job_of_many: dict[tuple[str, str, int], Any], tmp_path: Path
) -> None:
    how = {"batch_size": 7, "num_workers": 1}
    rows = sorted({row for row, _, _ in job_of_many} - {"none"})
    _, corruption, severity = list(job_of_many)[-1]
    alone = named(cells_of(evaluated(tmp_path, *SOME, severities=(severity,), **how)))
    assert len(rows) == 3
    for name in rows:
        cell, twin = (of[name, corruption, severity] for of in (alone, job_of_many))
        assert twin.fingerprint == cell.fingerprint
        assert np.array_equal(twin.arrays["logits"], cell.arrays["logits"])


def test_the_model_answers_as_it_would_without_them(
    job_of_many: dict[tuple[str, str, int], Any], tmp_path: Path
) -> None:
    plain = named(cells_of(evaluated(tmp_path, severities=(1, 5))))
    for key, cell in plain.items():
        twin = job_of_many[key]
        assert twin.fingerprint == cell.fingerprint
        assert np.array_equal(twin.arrays["logits"], cell.arrays["logits"])
    own, tent = (job_of_many[name, "clean", 0].arrays["logits"] for name in ("none", "tent"))
    assert not np.allclose(own, tent, atol=1e-2)


@pytest.mark.slow
def test_without_a_step_logits_are_the_models_to_the_bit(tmp_path: Path) -> None:
    cells = cells_of(evaluated(tmp_path, *OFF))
    own = {c.spec.severity: c.arrays["logits"] for c in cells if c.spec.adapter == "none"}
    assert len(cells) == 2 * (1 + len(OFF))
    assert all(np.array_equal(c.arrays["logits"], own[c.spec.severity]) for c in cells)


def test_rows_that_fail_are_named_with_their_own_reasons(tmp_path: Path, monkeypatch: Any) -> None:
    def broken(session: Any, *_: Any) -> Any:
        raise ZeroDivisionError(f"after {session.method.steps} steps")

    monkeypatch.setattr("medrobust.adapters.online.entropy.TentSession.observe", broken)
    job = evaluated(tmp_path, "tent", {"method": "tent", "steps": 2})
    plans = plan(job, RESOURCES)
    runner = CellRunner(job, RESOURCES, Store(job.where.store))
    runner.run(plans)
    said = {cell.name: cell.reason for cell in runner.failed}
    model, data = "phantomclip_small", "phantoms_site_b/test"
    assert said == {
        f"{model} · {row} · {data} · {what}": f"ZeroDivisionError: after {steps} steps"
        for row, steps in (("tent", 1), ("tent steps=2", 2))
        for what in ("clean", "brightness s5")
    }
    assert {cell.spec.adapter for cell in read_cells(runner.store, plans)} == {"none"}
    with pytest.raises(MedRobustError, match=f"4 cells failed for 2 reasons, {model} · tent · "):
        runner.complain()


def test_failed_cells_of_one_spec_are_told_apart() -> None:
    failures = Failures(alone=True)
    for prompts in ("mine", "yours"):
        key = cell_key(data_record(), "m", prompts=prompts)
        failures.note([PlannedCell(key, None)], RuntimeError(f"by {prompts}"))
    first, second = failures.cells
    assert (first.spec, first.reason) == (second.spec, "RuntimeError: by mine")
    assert first.name.startswith(f"{first.spec} · ")
    assert first.name != second.name


SMALL = (
    {"method": "zero", "views": 3},
    {"method": "mta", "views": 3},
    {"method": "memo", "views": 2},
    {"method": "tpt", "views": 3},
    {"method": "cotta", "views": 2},
    {"method": "rotta", "memory": 8},
    "batclip",
    {"method": "clipartt", "steps": 1},
    {"method": "watt", "rounds": 1, "steps": 1, "templates": ["a photo of a {}"]},
)


@pytest.mark.slow
def test_methods_of_views_texts_and_teachers_answer_a_cell(tmp_path: Path) -> None:
    cells = cells_of(evaluated(tmp_path, *SMALL))
    own, *others = (cell.arrays["logits"] for cell in cells if cell.spec.severity == 0)
    assert len(others) == len(SMALL)
    for logits in others:
        assert logits.shape == own.shape
        assert np.isfinite(logits).all()
        assert not np.array_equal(logits, own)


def test_answers_are_those_of_their_own_images_in_any_order(tmp_path: Path) -> None:
    faint = {"method": "alpha_bn", "alpha": 1e-4}
    found = named(cells_of(evaluated(tmp_path, faint, orders=(0, 1))))
    own, *others = (cell for (_, name, _), cell in found.items() if name != "clean")
    assert len(others) == 2
    for cell in others:
        np.testing.assert_allclose(cell.arrays["logits"], own.arrays["logits"], atol=0.05)


@pytest.mark.slow
def test_every_order_and_protocol_is_a_row_of_its_own(tmp_path: Path) -> None:
    tent = {"method": "tent", "rate": 0.01}
    episodic = {**tent, "protocol": "episodic"}
    found = named(cells_of(evaluated(tmp_path, tent, episodic, orders=(0, 1))))
    rows = [row for row, corruption, _ in found if corruption == "clean"]
    label = "tent rate=0.01"
    assert rows == [
        "none", label, f"{label} order 1",
        "tent protocol=episodic rate=0.01", "tent protocol=episodic rate=0.01 order 1",
    ]  # fmt: skip
    logits = [found[row, "clean", 0].arrays["logits"] for row in rows]
    for i, one in enumerate(logits):
        assert not any(np.array_equal(one, other) for other in logits[:i])


def test_the_protocol_of_all_is_a_key_and_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    given = NoAdapter(online=("tent", "ema_bn"), protocol="episodic")
    assert [method.parameters()["protocol"] for method in given.methods] == ["episodic"] * 2
    with pytest.raises(ConfigurationError, match="is none of adabn"):
        NoAdapter(online=("tent", "adabn"), protocol="episodic")
    with pytest.raises(ConfigurationError, match="is none of tent"):
        NoAdapter(online=("tent",), protocol="sometimes")


@pytest.mark.slow
def test_the_share_of_images_that_a_filter_let_through_is_kept(tmp_path: Path) -> None:
    job = evaluated(tmp_path, {"method": "eta", "margin": 0.9, "similar": 1.0}, "eta", "tent")
    found = named(cells_of(job))
    made = {row: cell.record["adaptation"] for (row, _, severity), cell in found.items()
            if severity == 0 and row != "none"}  # fmt: skip
    assert 0 < made["eta margin=0.9 similar=1.0"]["used"] <= 1
    assert made["eta"]["used"] < made["eta margin=0.9 similar=1.0"]["used"]
    assert "used" not in made["tent"]


def test_the_clean_images_that_hold_it_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    eata = {"method": "eata", "images": 20}
    (planned,) = plan(evaluated(tmp_path, eata), RESOURCES)
    described = planned.cells[1].key.head["online"]
    assert described["source"] == planned.image_set.other_split("train").fingerprint
    cells = cells_of(evaluated(tmp_path, eata))
    assert np.isfinite(cells[1].arrays["logits"]).all()
    with pytest.raises(ConfigurationError, match="Choose eta"):
        plan(evaluated(tmp_path, {"method": "eata", "split": "none"}), RESOURCES)


def test_no_features_are_kept_of_them(tmp_path: Path) -> None:
    job = evaluated(tmp_path, "tent", keep_features=True)
    cells_of(job)
    (planned,) = plan(job, RESOURCES)
    store = Store(job.where.store)
    kept = {cell.key.spec.adapter: store.has_features(cell.key.encoding_fingerprint)
            for cell in planned.cells}  # fmt: skip
    assert kept == {"none": True, "tent": False}
    runner = CellRunner(job, RESOURCES, store)
    runner._test = lambda *given: pytest.fail("it encodes")  # type: ignore[method-assign]
    runner.run([planned])


def test_a_classifier_of_ones_own_is_adapted_where_it_has_what_is_changed(tmp_path: Path) -> None:
    class Normed(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(self.norm(pixels))

    found = cells_of(evaluated(tmp_path, "tent", "adabn", model=OwnModel(Normed())))
    assert {c.spec.adapter for c in found} == {"none", "tent", "adabn"}
    for name, reason in (("tent", "scale and shift"), ("adabn", "batch normalisation")):
        job = evaluated(tmp_path, name, model=OwnModel(Classifier()))
        with pytest.raises(ConfigurationError, match=reason):
            plan(job, RESOURCES)


@pytest.mark.parametrize("protocol", ["per_cell", "continual", "mixed"])
def test_several_processes_cannot_share_a_cell(tmp_path: Path, protocol: str) -> None:
    job = evaluated(tmp_path, {"method": "tent", "protocol": protocol})
    runner = CellRunner(job, RESOURCES, Store(job.where.store), Ranks(0, 2))
    (planned,) = plan(job, RESOURCES)
    queue = _queue(runner, planned)
    with pytest.raises(ConfigurationError, match="cannot share a cell"):
        runner._passes(queue, None)  # type: ignore[arg-type]  # nothing is written


def _queue(runner: CellRunner, planned: Any) -> Any:
    from medrobust.evaluation.run.finished import FinishedCells
    from medrobust.evaluation.run.queue import EncodingQueue

    given = runner.experiment
    finished = FinishedCells(given.model, given.where, RESOURCES, runner.store, lambda done: None)
    queue = EncodingQueue(planned, finished, runner._claims, Ranks())
    queue.waiting = finished.missing(planned)
    return queue


@pytest.mark.slow
def test_orders_are_draws_of_one_row_of_gains(tmp_path: Path) -> None:
    cells = cells_of(evaluated(tmp_path, "eta", orders=(0, 1, 2)))
    report = make_report(
        cells,
        expected=[ExpectedTable("phantoms_site_b", "test", "imagenet_c", ("brightness",), (5,))],
        missing=[],
        reference="phantomclip_small",
        reference_cells=[cell for cell in cells if cell.spec.adapter == "none"],
        notes=[],
        folder=tmp_path,
        run={},
    )
    rows = [row for row in draw_rows(report.matrices) if row["metric"] == "clean error"]
    assert [(row["adaptation"], row["draws"]) for row in rows] == [
        ("as published", ""),
        ("eta", "3"),
    ]
    made = section(report)
    assert made is not None
    assert "images used" in made.html
    shares = [c.record["adaptation"]["used"] for c in cells if c.spec.adapter != "none"]
    (effort,) = effort_rows(report.matrices)
    assert float(effort["used"]) == pytest.approx(np.mean(shares))
    assert float(effort["least"]) == min(shares)


def test_methods_that_learned_nothing_are_named(tmp_path: Path) -> None:
    rotta = {"method": "rotta", "rate": 0.1}
    job = evaluated(tmp_path, rotta, {**rotta, "memory": 8}, {"method": "eta", "margin": 0})
    found = named(cells := cells_of(job))
    logits = {row: found[row, "clean", 0].arrays["logits"] for row, _, _ in found}
    assert np.array_equal(logits["none"], logits["rotta rate=0.1"])  # 12 images, memory 64
    assert not np.array_equal(logits["none"], logits["rotta rate=0.1 memory=8"])
    learned = {c.spec.adapter: c.record.get("adaptation", {}).get("learned") for c in cells}
    assert learned["rotta rate=0.1"] == 0
    assert learned["rotta rate=0.1 memory=8"] == 1
    report = make_report(
        cells,
        expected=[ExpectedTable("phantoms_site_b", "test", "imagenet_c", ("brightness",), (5,))],
        missing=[],
        reference="phantomclip_small",
        reference_cells=[cell for cell in cells if cell.spec.adapter == "none"],
        notes=[],
        folder=tmp_path,
        run={},
    )
    assert nothing_learned(report.matrices) == [
        "rotta rate=0.1 of phantomclip_small learned nothing in 2 of 2 cells: it learns after "
        "every 64 images (memory), and a cell has 12.",
        "eta margin=0 of phantomclip_small learned nothing in 2 of 2 cells: its filter let no "
        "image through.",
    ]
    made = section(report)
    assert made is not None
    assert nothing_learned(report.matrices)[0] in made.html
    assert nothing_learned(report.matrices)[1] in made.tables[-1].note


def test_streams_of_other_conditions_are_rows_of_their_own(tmp_path: Path) -> None:
    tent = {"method": "tent", "protocol": "mixed"}
    first, second = (
        cells_of(evaluated(tmp_path, tent, severities=levels)) for levels in ((1,), (5,))
    )
    report = make_report(
        [*first, *second],
        expected=[ExpectedTable("phantoms_site_b", "test", "imagenet_c", ("brightness",), (1, 5))],
        missing=[],
        reference=None,
        reference_cells=[],
        notes=[],
        folder=tmp_path,
        run={},
    )
    (matrix,) = report.matrices
    rows = {row["adaptation"]: row for row in draw_rows([matrix]) if row["metric"] == "clean error"}
    apart = [row.label.removeprefix("phantomclip_small + ") for row in matrix.rows[1:]]
    assert len(set(apart)) == 2
    assert list(rows) == ["as published", *apart]
    for label, clean in zip(apart, matrix.clean[matrix.shown][1:], strict=True):
        assert float(rows[label]["value"]) == pytest.approx(clean)
    whole = [row["adaptation"] for row in draw_rows([matrix]) if row["metric"] == METRICS[1]]
    assert whole == ["as published"]  # neither stream has both severities
    efforts = effort_rows(report.matrices)
    assert [row["adaptation"] for row in efforts] == apart
    assert {row["table"] for row in efforts} == {"phantoms_site_b/test · imagenet_c"}
    seconds = [[c.record["seconds"] for c in cells if c.spec.adapter != "none"] for cells in
               (first, second)]  # fmt: skip
    assert [float(row["seconds"]) for row in efforts] == pytest.approx(np.mean(seconds, axis=1))


def test_rows_of_fewer_severities_have_no_means_and_the_report_says_what_compares_them(
    tmp_path: Path,
) -> None:
    root = tmp_path / "store"
    data = data_record()
    store, _ = write_matrix(root, data, {"m": 1.0}, corruptions=("contrast",), severities=(1, 3))
    for key in (cell_key(data, "m", adapter="tent"),
                cell_key(data, "m", "contrast", 3, seed=0, adapter="tent")):  # fmt: skip
        write_cell(store, data, key)
    light = {"interactive": False, "figures": False}
    whole = report_store(root, tmp_path / "whole", **light)
    (note,) = [note for note in whole.notes if "severity" in note]
    assert note == (
        "toy/test imagenet_c: m + tent has severity 3 of 1,3 alone, and so no means over this "
        "table: --severity 3 compares rows there"
    )
    means = {row.label: whole.matrices[0].mean(whole.matrices[0].shown, n).value
             for n, row in enumerate(whole.matrices[0].rows)}  # fmt: skip
    assert [value is None for value in means.values()] == [False, True]
    part = report_store(root, tmp_path / "part", severities=("3",), **light)
    assert not any("has severity" in note for note in part.notes)
    (matrix,) = part.matrices
    assert all(matrix.mean(matrix.shown, n).value is not None for n in range(2))


def test_a_probe_is_not_adapted_so(tmp_path: Path) -> None:
    from medrobust.tasks.classification.online import _check

    side = RESOURCES.side(evaluated(tmp_path, "tent").model)
    assert side.trained is not None
    (method,) = side.trained.methods
    with pytest.raises(ConfigurationError, match="a probe"):
        _check(method, {"kind": "probe"}, side)


def test_reduced_precision_and_compilation_are_refused(tmp_path: Path) -> None:
    from medrobust.models.speed import Speed

    for options in ({"precision": "16-mixed"}, {"speed": Speed(compile=True)}):
        with pytest.raises(ConfigurationError, match=r"adapter\.online=tent"):
            plan(changed(evaluated(tmp_path, "tent"), **options), RESOURCES)


def test_a_dry_run_times_a_micro_batch_of_each_method_once(tmp_path: Path) -> None:
    job = evaluated(tmp_path, "tent", "adabn", orders=(0, 1))
    (planned,) = plan(job, RESOURCES)
    assert [len(cells) for cells in alike(planned.cells)] == [2, 4, 4]
    timed: list[str] = []

    def counted(experiment: Any, resources: Any, plan: Any, cell: Any) -> tuple[float, int]:
        timed.append(cell.key.spec.adapter)
        return (1.0, 8) if cell.key.spec.adapter == "none" else (3.0, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medrobust.evaluation.estimate._time_micro_batch", counted)
        patch.setattr("medrobust.evaluation.estimate._time_corruptions", lambda *given: [0.0])
        found = estimate(job, RESOURCES, [(planned, planned.cells)])
    assert timed == ["none", "tent", "adabn"]
    assert found.seconds == 2 * (2 * 1 + 8 * 3)  # 12 images, 8 a micro-batch
