"""What every task must keep: inherited by the test of each of them."""

import csv
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import CONFIG, SEVEN, VERSIONS, cell_key

from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import Store
from medrobust.metrics.influence import Areas
from medrobust.metrics.joining import NUMBERED
from medrobust.reporting import Report, wandb
from medrobust.reporting.from_store import report_store
from medrobust.reporting.measure import Measured
from medrobust.tasks import lookup
from medrobust.tasks.agreement import ALLOWED
from medrobust.tasks.base import Cell, HeadDescription, Task, Terms, Units, unlike

CORRUPTIONS, LEVELS = SEVEN[:2], (1, 5)


class TaskContract:
    """Subclasses give a task, facts of a split, a head and arrays; more skill, fewer errors."""

    task: Task
    head: HeadDescription

    def facts(self) -> SplitFacts:
        raise NotImplementedError

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def known(self):
        with lookup.given(self.task):
            yield

    def cell(self, skill: float = 0.7) -> Cell:
        data = self.facts()
        return Cell("0" * 64, self.arrays(data, skill, seed=0), dict(self.head), data)

    def report(self, folder: Path) -> Report:
        data, store = self.facts(), Store(folder / "store")
        store.write_data(data)
        record = {"config": CONFIG, "versions": VERSIONS, "device": "cpu", "load_report": {}}
        conditions = [("clean", 0), *((name, level) for name in CORRUPTIONS for level in LEVELS)]
        for model, skill in {"good": 0.9, "poor": 0.4}.items():
            for seed, (name, level) in enumerate(conditions):
                key = cell_key(data, model, name, level)
                key = type(key)(key.spec, key.encoding, dict(self.head), key.data)
                arrays = self.arrays(data, skill * (1 - 0.1 * level), seed)
                store.write(key, arrays, record)
        given = {"reference": "poor", "interactive": False, "figures": False}
        return report_store(folder / "store", folder / "report", **given)

    def test_arrays_are_those_that_it_declares(self) -> None:
        cell = self.cell()
        assert unlike(self.task.arrays, cell.arrays, cell.data) is None

    def test_a_part_of_all_images_is_scored_as_all_are(self) -> None:
        cell = self.cell()
        found = self.task.scores(cell).terms
        if not any(isinstance(one, Terms) and one.first_order for one in found.values()):
            return
        part = self.task.part(cell, np.ones(len(cell.data), bool))
        again = self.task.scores(part).terms
        for loss, terms in found.items():
            if loss in self.task.of_all_only:
                assert loss not in again
            else:
                assert again[loss].value == pytest.approx(terms.value, abs=1e-12)

    def test_its_head_is_found_by_its_kind(self) -> None:
        assert lookup.task_of(self.head["kind"]) is self.task

    def test_its_metrics_have_names_of_their_own(self) -> None:
        for name in set(lookup.task_names()) - {self.task.kind}:
            assert not set(self.task.metrics) & set(lookup.task_of(name).metrics), name

    def test_terms_are_what_its_metrics_say(self) -> None:
        scores = self.task.scores(self.cell())
        assert set(scores.estimates) <= set(self.task.metrics)
        assert set(scores.terms) <= set(self.task.losses) <= set(self.task.metrics)
        assert self.task.losses[0] in scores.terms
        for loss, found in scores.terms.items():
            assert found.value == pytest.approx(scores.estimates[loss].value, abs=1e-9)
            if isinstance(found, Areas):
                assert found.influence.mean() == pytest.approx(0, abs=1e-5)

    def test_a_number_lies_within_its_interval(self) -> None:
        for name, found in self.task.scores(self.cell()).estimates.items():
            if found.value is not None and found.low is not None:
                assert found.low <= found.value <= found.high, name

    def test_what_is_empty_says_why(self) -> None:
        for name, found in self.task.scores(self.cell()).estimates.items():
            assert found.note or not found.lacks, name

    def test_scores_are_the_same_in_another_process(self) -> None:
        cell = self.cell()
        again = pickle.loads(pickle.dumps(self.task.scores(pickle.loads(pickle.dumps(cell)))))
        assert again.estimates == self.task.scores(cell).estimates

    def test_its_own_arrays_agree_with_it_and_those_of_another_skill_do_not(self) -> None:
        cell, other = self.cell(), self.cell(skill=0.2)
        for move in ALLOWED:
            same = self.task.agreement(cell, dict(cell.arrays), move)
            assert same.agrees, f"{move}: its own arrays do not agree with it: {same.sentence}"
            found = self.task.agreement(cell, other.arrays, move)
            told = f"{move}: arrays of skill 0.2 pass for those of 0.7: {found.sentence}"
            assert not found.agrees, f"{told} (`Task.agreement` may allow less)"
            assert "allowed)" in found.sentence, found.sentence

    def test_units_of_one_image_answer_as_their_image_does(self) -> None:
        cell = self.cell()
        names = cell.data.ids.tolist()
        for way in self.task.ways:
            how = f"{way}_2" if way in NUMBERED else way
            units = Units("patient", names, np.arange(len(names)), how)
            arrays = self.task.joined(cell, units)
            data = replace(cell.data, target=self.task.joined_target(cell.data, units))
            assert unlike(self.task.arrays, arrays, data) is None
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, cell.arrays[name])

    def test_it_reaches_matrix_csv_page_and_wandb(self, tmp_path: Path) -> None:
        report = self.report(tmp_path)
        (matrix,) = report.matrices
        shown = matrix.shown
        assert matrix.task is self.task
        assert shown == self.task.losses[0]
        good, poor = (matrix.mean(shown, row).value for row in range(2))
        assert (good < poor) != matrix.metric.higher_is_better
        text = (tmp_path / "report" / "results.csv").read_text("utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        assert {row["metric"] for row in rows} <= set(self.task.metrics)
        unit = Measured().terms(next(iter(matrix.cells.values())), shown)
        assert isinstance(unit, Terms)
        assert {row["n"] for row in rows if row["metric"] == shown} == {str(len(unit.values))}
        summary = [row for row in report.summary if row["of"] == shown]
        assert {"clean", "mean", "mCE", "CE", "rank"} <= {row["metric"] for row in summary}
        assert np.isfinite([float(row["low"]) for row in summary if row["metric"] == "mean"]).all()
        assert any(row["of"] == shown for row in report.comparisons)
        page = (tmp_path / "report" / "report.html").read_text("utf-8")
        assert matrix.metric.title in page
        logged = wandb._tables(report)
        assert f"matrix/toy/imagenet_c/{shown}" in logged
        for name in {name for section in matrix.sections for name in section.files}:
            assert (tmp_path / "report" / name).is_file()
            assert f'href="{name}"' in page
            assert f"reading/{name.removesuffix('.csv')}" in logged
