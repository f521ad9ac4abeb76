"""Rows of `adapter.online`: planned beside the model's own, each cell the same in any company."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grouped import changed
from online_jobs import RESOURCES, Classifier, cells_of, evaluated, named
from stores import data_record
from tuning import PROMPTS, experiment

from medrobust.adapters import Tuned
from medrobust.corruptions import Corruption, Suite
from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.plan import plan
from medrobust.evaluation.run import CellRunner
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models import Guidance, PromptSet
from medrobust.models.own import OwnModel
from medrobust.readings.adaptation import draw_rows, section
from medrobust.reporting import make_report
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.reference import as_published, choose_reference, conditions
from medrobust.tasks.classification.online import adapted_heads, stream_order
from medrobust.tasks.lookup import task_of

ALL = ("lame", "t3a", "tda", "prior", "transport", "nuisance")
OFF = (
    {"method": "lame", "strength": 0},
    {"method": "t3a", "entries": 0},
    {"method": "tda", "alpha": 0, "negative_alpha": 0},
    {"method": "nuisance", "directions": 0},
)


@pytest.fixture(scope="module")
def job_of_many(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, int], Any]:
    """Clean and seven corruptions, each with the model's own answers and six more."""
    folder = tmp_path_factory.mktemp("many")
    found = named(cells_of(evaluated(folder, *ALL, corruption=Suite("medimeta_c"))))
    assert len(found) == 8 * 7
    return found


def test_each_method_is_a_row_beside_the_models_own_of_one_encoding(tmp_path: Path) -> None:
    (planned,) = plan(evaluated(tmp_path, *ALL), RESOURCES)
    keys = [cell.key for cell in planned.cells]
    assert [key.spec.adapter for key in keys] == ["none", *ALL] * 2
    assert len({key.encoding_fingerprint for key in keys}) == 2
    (alone,) = plan(evaluated(tmp_path), RESOURCES)
    assert [cell.key.fingerprint for cell in alone.cells] == [k.fingerprint for k in keys[::7]]


def test_an_order_is_a_row_only_of_methods_that_depend_on_it(tmp_path: Path) -> None:
    (planned,) = plan(evaluated(tmp_path, "lame", "tda", orders=(0, 1)), RESOURCES)
    found = [cell.key.spec.adapter for cell in planned.cells][:4]
    assert found == ["none", "lame", "tda", "tda order 1"]
    assert len({cell.key.fingerprint for cell in planned.cells}) == 8


def test_a_cell_alone_equals_the_same_cell_as_the_last_of_a_job(
    job_of_many: dict[tuple[str, str, int], Any], tmp_path: Path
) -> None:
    how = {"batch_size": 7, "num_workers": 1}
    _, corruption, severity = list(job_of_many)[-1]
    last = replace(Corruption(corruption), suite="medimeta_c")
    alone = named(cells_of(evaluated(tmp_path, *ALL, corruption=last, **how)))
    for name in ALL:
        cell, twin = (of[name, corruption, severity] for of in (alone, job_of_many))
        assert twin.fingerprint == cell.fingerprint
        assert np.array_equal(twin.arrays["logits"], cell.arrays["logits"])


def test_methods_of_no_strength_store_the_models_logits_to_the_bit(tmp_path: Path) -> None:
    cells = cells_of(evaluated(tmp_path, *OFF))
    own = {c.spec.severity: c.arrays["logits"] for c in cells if c.spec.adapter == "none"}
    assert len(cells) == 2 * (1 + len(OFF))
    assert all(np.array_equal(c.arrays["logits"], own[c.spec.severity]) for c in cells)


def test_features_of_an_earlier_run_serve_methods_without_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells_of(evaluated(tmp_path, keep_features=True))
    fresh = cells_of(evaluated(tmp_path / "fresh", "tda", "t3a"))
    monkeypatch.setattr(CellRunner, "_test", lambda *given: pytest.fail("it encodes"))
    kept = cells_of(evaluated(tmp_path, "tda", "t3a", keep_features=True))
    for one, other in zip(kept, fresh, strict=True):
        assert np.array_equal(one.arrays["logits"], other.arrays["logits"])


def test_a_gain_is_counted_from_the_models_own_row_and_so_is_the_reference(tmp_path: Path) -> None:
    found = named(cells_of(evaluated(tmp_path, "tda", "nuisance", orders=(2,))))
    own = found["none", "clean", 0]
    for adapter in ("tda order 2", "nuisance"):
        cell = found[adapter, "clean", 0]
        assert as_published(cell, [own]) == [own]
        assert choose_reference(cell, conditions([own])) is own
    assert "adaptation" not in own.record
    made = found["tda order 2", "clean", 0].record["adaptation"]
    assert (made["label"], made["draw"]) == ("tda", 2)
    assert found["nuisance", "clean", 0].record["adaptation"]["draw"] is None


def test_what_a_model_recognises_of_a_corruption_stands_in_the_cell(tmp_path: Path) -> None:
    cells = [c for c in cells_of(evaluated(tmp_path, "nuisance")) if c.spec.adapter == "nuisance"]
    for cell in cells:
        shares = cell.record["adaptation"]["recognised"]
        assert len(shares) == 9
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert "a blurred {modality}" in shares
    off = {"method": "nuisance", "directions": 0}
    silent = cells_of(evaluated(tmp_path, off))[1]
    assert "recognised" not in silent.record["adaptation"]


def test_the_order_follows_the_keys_of_the_images() -> None:
    index = np.random.default_rng(0).choice(10**15, 50, replace=False)
    order = stream_order(index, "set/test", 0)
    moved = np.random.default_rng(1).permutation(50)
    assert np.array_equal(index[moved][stream_order(index[moved], "set/test", 0)], index[order])
    fewer = index[:30]
    assert [i for i in index[order] if i in fewer] == list(
        fewer[stream_order(fewer, "set/test", 0)]
    )
    others = [stream_order(index, "set/test", 1), stream_order(index, "set/val", 0)]
    assert not any(np.array_equal(order, other) for other in others)
    assert sorted(order) == list(range(50))


def test_a_classifier_without_features_has_methods_of_answers_alone(tmp_path: Path) -> None:
    job = evaluated(tmp_path, "prior", "transport", model=OwnModel(Classifier()))
    assert {c.spec.adapter for c in cells_of(job)} == {"none", "prior", "transport"}
    for name in ("lame", "t3a", "tda", "nuisance"):
        job = evaluated(tmp_path, name, model=OwnModel(Classifier()))
        with pytest.raises(ConfigurationError, match=f"adapter.online={name}"):
            plan(job, RESOURCES)


def test_guided_texts_cannot_be_moved(tmp_path: Path) -> None:
    other = PromptSet(name="other", templates=["a scan of {}"])
    guided = replace(PROMPTS, guidance=Guidance(2.0, other))
    with pytest.raises(ConfigurationError, match="no plain set of them"):
        plan(evaluated(tmp_path, "t3a", prompts=guided), RESOURCES)
    (planned,) = plan(evaluated(tmp_path, "lame", prompts=guided), RESOURCES)
    assert [cell.key.spec.adapter for cell in planned.cells][:2] == ["none", "lame"]


def test_other_tasks_and_label_sets_refuse_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="task=retrieval has others"):
        plan(evaluated(tmp_path, "lame", task=task_of("retrieval")), RESOURCES)
    several = data_record(label_kind="multi-label, binary-class")
    side = RESOURCES.side(evaluated(tmp_path, "lame").model)
    with pytest.raises(ConfigurationError, match="several labels an image"):
        adapted_heads([{"kind": "zero_shot"}], several, side)


def test_orders_are_draws_of_one_row_of_gains(tmp_path: Path) -> None:
    cells = cells_of(evaluated(tmp_path, "tda", "lame", orders=(0, 1, 2)))
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
        ("tda", "3"),
        ("lame", ""),
    ]
    assert all(row["gain"] for row in rows[1:])
    section_ = section(report)
    assert section_ is not None
    assert b"a gain below zero is harm" in section_.files["adaptation.md"]


@pytest.mark.slow
def test_a_tuned_adapter_is_adapted_further(tmp_path: Path) -> None:
    job = adapted(experiment(tmp_path), RESOURCES, Store(tmp_path))
    tuned = job.model.adapter
    assert isinstance(tuned, Tuned)
    cells = cells_of(changed(job, adapter=replace(tuned, online=("tda",))))
    assert [cell.spec.adapter for cell in cells][:2] == [tuned.name, f"{tuned.name} + tda"]
    made = cells[1].record["adaptation"]
    assert (made["label"], made["draw"]) == (f"{tuned.origin()['label']} + tda", "0/0")
