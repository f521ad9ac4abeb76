"""One answer a patient: numbers by hand, labels that do not fit, and what stays apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_entry import answer, rows
from scipy.special import expit, logit, softmax
from stores import cell_key, data_record, random_logits, write_cell

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Labels
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.joining import WAYS
from medrobust.readings import Aggregation
from medrobust.readings.adaptation import draw_rows
from medrobust.reporting import (
    Report,
    ReportRequest,
    build_report,
    by_variant,
    expected_from_cells,
    wandb,
)
from medrobust.tasks.base import Cell
from medrobust.tasks.classification import TASK

KINDS = ("multi-class", "binary-class", "ordinal-regression", "multi-label, binary-class")
MULTI_LABEL = KINDS[-1]
KEYED = ("rank", "sanity_shuffled_images", "sanity_shuffled_texts")
"""Numbers of resamples and permutations that are keyed by the data."""


def patients(data: SplitFacts, each: int) -> SplitFacts:
    """Give `each` images that share their labels to one patient, those of one apart in the set."""
    names = np.empty(len(data), object)
    for number, label in enumerate(np.unique(data.labels, axis=0)):
        same = data.labels == label
        own = np.flatnonzero(same.all(axis=1) if same.ndim == 2 else same)
        names[own] = [f"p{number}-{place // each}" for place in range(len(own))]
    return replace(data, groups=names.astype(str))


def facts(kind: str = "multi-class", each: int = 3, name: str = "ward") -> SplitFacts:
    classes = 2 if kind == "binary-class" else 3
    return patients(data_record(name, classes=classes, count=60, label_kind=kind), each)


def written(folder: Path, data: SplitFacts) -> tuple[Store, list[StoredCell]]:
    """Write two models with heads that deny labels, too, so that logits have a natural zero."""
    store, cells = Store(folder / data.name), []
    for model, skill in {"weak": 0.5, "strong": 1.5}.items():
        for name, level in [("clean", 0), ("contrast", 1), ("contrast", 3), ("fog", 1), ("fog", 3)]:
            key = cell_key(data, model, name, level)
            key = replace(key, head={**key.head, "absent": [["none"]]})
            cells.append(write_cell(store, data, key, skill=skill))
    return store, cells


def reported(
    store: Store, cells: list[StoredCell], folder: Path, *ways: Aggregation, **more
) -> Report:
    given = {"expected": expected_from_cells(cells), "run": {}, "reference": "weak"} | more
    request = ReportRequest(
        store=store, cells=cells, folder=folder, commands={"weak": "make it"}, aggregations=ways,
        **given,
    )  # fmt: skip
    return build_report(request)


def table(report: Report, dataset: str) -> list[dict[str, str]]:
    return [row for row in report.results if row["dataset"] == dataset]


def cell_of(p: list[float], labels: list[int], kind: str, groups: list[str]) -> Cell:
    """Make a cell whose probability of the first label, or of class 1, is p."""
    data = data_record(count=len(p), classes=2, label_kind=kind)
    z = logit(np.array(p))
    values = np.stack([z, -z] if kind == MULTI_LABEL else [np.zeros(len(p)), z], axis=1)
    truth = np.array(labels, np.int64)
    truth = np.stack([truth, 1 - truth], axis=1) if kind == MULTI_LABEL else truth
    positive = 1 if kind == "binary-class" else None
    data = replace(data, groups=np.array(groups), target=Labels(truth), positive=positive)
    return Cell("0" * 64, {"logits": values.astype(np.float32)}, {"absent": [["no"]]}, data)


@pytest.mark.parametrize(("how", "truth"), [("noisy_or", 0.838), ("max", 0.7), ("mean", 0.4)])
@pytest.mark.parametrize("kind", ["binary-class", MULTI_LABEL])
def test_three_images_of_one_patient_by_hand(kind: str, how: str, truth: float) -> None:
    cell = cell_of([0.1, 0.9, 0.4, 0.7], [1, 0, 1, 1], kind, ["a", "b", "a", "a"])
    units = Aggregation(how=how).units(cell.data)
    logits = TASK.joined(cell, units)["logits"].astype(float)
    found = expit(logits[:, 0] if kind == MULTI_LABEL else logits[:, 1] - logits[:, 0])
    assert found == pytest.approx([truth, 0.9], abs=1e-6)
    assert list(units.names) == ["a", "b"]


@pytest.mark.slow
def test_the_patients_of_several_classes_have_the_mean_of_their_images_probabilities(
    tmp_path: Path,
) -> None:
    data = facts()
    store, cells = written(tmp_path, data)
    report = reported(store, cells, tmp_path / "out", Aggregation())
    names, first = np.unique(data.groups, return_index=True)
    own = {row["cell"]: row for row in table(report, "ward by patient") if row["metric"] == "error"}
    assert len(own) == len(cells)
    for row, cell in zip(own.values(), cells, strict=True):
        chances = softmax(cell.arrays["logits"].astype(float), axis=1)
        joined = np.stack([chances[data.groups == name].mean(axis=0) for name in names])
        wrong = (joined.argmax(axis=1) != data.labels[first]).mean()
        assert float(row["value"]) == pytest.approx(wrong, abs=1e-12)
        assert row["n"] == str(len(names)) == "21"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_image_a_patient_gives_the_numbers_of_images_to_the_bit(
    tmp_path: Path, kind: str
) -> None:
    data = facts(kind, each=1)
    data = replace(data, groups=data.ids)
    store, cells = written(tmp_path, data)
    ways = [Aggregation(how=how) for how in WAYS]
    clean = by_variant([cell for cell in cells if cell.spec.severity == 0])
    report = reported(store, cells, tmp_path / "out", *ways, validation=clean)
    names = [way.named("ward") for way in ways]
    assert len({"ward", *names}) == 6

    def without(rows: list[dict[str, str]], *changed: str) -> list[dict[str, str | None]]:
        return [{**row, **dict.fromkeys(changed)} for row in rows]

    images = without(table(report, "ward"), "dataset", "cell")
    assert images
    aggregates = [row for row in report.summary if row["metric"] not in KEYED]
    by_set = {
        name: without([row for row in aggregates if row["dataset"] == name], "dataset")
        for name in ("ward", *names)
    }
    for name in names:
        assert without(table(report, name), "dataset", "cell") == images
        assert by_set[name] == by_set["ward"]
    assert any(row["metric"] == "mCE" and row["value"] for row in by_set["ward"]) or (
        report.matrices[0].ratios == ()
    )


@pytest.mark.slow
def test_rows_of_images_are_what_they_are_without_patients(tmp_path: Path) -> None:
    store, cells = written(tmp_path, facts())
    alone = reported(store, cells, tmp_path / "out")
    both = reported(store, cells, tmp_path / "out", Aggregation(), Aggregation(how="max"))
    assert table(both, "ward") == list(alone.results)
    assert [row for row in both.summary if row["dataset"] == "ward"] == list(alone.summary)
    assert [row for row in both.comparisons if row["dataset"] == "ward"] == list(alone.comparisons)
    assert (both.total, both.missing) == (alone.total, alone.missing)
    assert [matrix.table.dataset for matrix in both.matrices] == [
        "ward",
        "ward by patient",
        "ward by patient (max)",
    ]


def test_patients_are_divided_by_patients_of_the_reference(tmp_path: Path) -> None:
    store, cells = written(tmp_path, facts())
    report = reported(store, cells, tmp_path / "out", Aggregation())
    images, units = report.matrices
    for matrix, unit in ((images, "image"), (units, "patient")):
        own = {cell.data.unit for group in matrix.groups.values() for cell in group}
        theirs = {cell.data.unit for group in matrix.reference_groups.values() for cell in group}
        assert own == theirs == {unit}
        assert matrix.mce("error", 0).value == pytest.approx(1)
    assert units.units("error") == 21
    assert units.mce("error", 1).value != images.mce("error", 1).value


@pytest.mark.slow
def test_means_over_sets_and_keys_of_wandb_keep_patients_apart(tmp_path: Path) -> None:
    store, cells = Store(tmp_path / "both"), []
    for name in ("ward", "clinic"):
        cells += written(tmp_path / "x", facts(name=name))[1]
    report = reported(store, cells, tmp_path / "out", Aggregation())
    over = {mean.over: set(mean.sets) for mean in report.averages if mean.over.startswith("all")}
    assert over == {
        "all sets": {"ward", "clinic"},
        "all sets by patient": {"ward by patient", "clinic by patient"},
    }
    keys = wandb._tables(report)
    assert {"matrix/ward/imagenet_c/error", "matrix/ward by patient/imagenet_c/error"} <= set(keys)


def test_labels_of_a_patient_are_the_union_or_refused() -> None:
    cell = cell_of([0.2, 0.8, 0.6], [1, 0, 1], MULTI_LABEL, ["a", "a", "b"])
    for how in ("max", "noisy_or"):
        units = Aggregation(how=how).units(cell.data)
        assert TASK.joined_target(cell.data, units).values.tolist() == [[1, 1], [1, 0]]
    with pytest.raises(ConfigurationError, match="images of patient 'a' of toy/test have differ"):
        TASK.joined_target(cell.data, Aggregation().units(cell.data))
    data = replace(facts(), groups=np.array([f"p{i // 3}" for i in range(60)]))
    sentence = r"patient 'p0' of ward/test are of several classes \(class 0, class 1 and class 2\)"
    with pytest.raises(ConfigurationError, match=sentence):
        Aggregation(how="max").check([(data, "classification")])


def test_logits_without_a_natural_zero_join_by_their_maximum_alone() -> None:
    cell = cell_of([0.2, 0.8], [1, 1], MULTI_LABEL, ["a", "a"])
    cell = replace(cell, head={"absent": None, "name": "plain"})
    assert TASK.joined(cell, Aggregation(how="max").units(cell.data))["logits"].shape == (1, 2)
    with pytest.raises(ConfigurationError, match="prompt set 'plain' has no absent texts"):
        TASK.joined(cell, Aggregation().units(cell.data))


def lesions(data: SplitFacts, each: int = 3) -> SplitFacts:
    """Give lesions of a metadata column; patients have two of them."""
    names = patients(data, each).groups
    owners = np.array([f"{name.split('-')[0]}-{int(name.split('-')[1]) // 2}" for name in names])
    column = names[:, None]
    return replace(data, groups=owners, metadata=column, metadata_columns=("lesion_id",))


def test_lesions_that_a_report_was_told_of_are_those_of_the_reference_too(tmp_path: Path) -> None:
    data = lesions(facts())
    store, cells = written(tmp_path, replace(data, metadata=None, metadata_columns=()))
    told = [replace(cell, data=data) for cell in cells if cell.spec.model == "strong"]
    report = reported(store, told, tmp_path / "out", Aggregation("lesion", "lesion_id"))
    assert report.matrices[1].mce("error", 0).value is not None


def test_lesions_of_a_column_have_intervals_over_patients(tmp_path: Path) -> None:
    data = lesions(facts())
    store, cells = written(tmp_path, data)
    report = reported(store, cells, tmp_path / "out", Aggregation("lesion", "lesion_id"))
    matrix = report.matrices[1]
    assert (matrix.table.dataset, len(matrix.data)) == ("ward by lesion", 21)
    codes = report.matrices[1].measured.groups(matrix.data)
    assert codes is not None
    assert codes.max() + 1 == len(np.unique(data.groups)) == 12
    page = (report.write(tmp_path / "out"), tmp_path / "out" / "report.html")[1].read_text("utf-8")
    assert "21 lesions" in page
    assert "95 % intervals over patients" in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"groups": None}, "data set ward/test names no patients"),
        ({"column": True, "metadata_columns": ("site",)}, "no metadata column 'lesion_id'"),
        ({"empty": True}, "lesion_id is empty for 1 image of ward/test"),
    ],
)
def test_a_set_that_does_not_say_what_belongs_together_is_one_sentence(
    tmp_path: Path, change: dict, sentence: str
) -> None:
    data = lesions(facts())
    way = Aggregation() if "groups" in change else Aggregation("lesion", "lesion_id")
    if change.pop("empty", False):
        data.metadata[5, 0] = ""
    change.pop("column", None)
    store, cells = written(tmp_path, replace(data, **change))
    with pytest.raises(ConfigurationError, match=sentence):
        reported(store, cells, tmp_path / "out", way)


def test_studies_that_patients_number_alike_are_those_of_their_patient(tmp_path: Path) -> None:
    data = lesions(facts())
    names = data.metadata[:, 0]
    alike = np.array([str(int(name.split("-")[1]) % 2) for name in names])[:, None]
    way = Aggregation("study", "lesion_id")
    numbers, said = [], []
    for metadata in (data.metadata, alike):
        own = replace(data, metadata=metadata)
        units = way.units(own)
        assert len({*zip(units.codes.tolist(), names.tolist(), strict=True)}) == 21
        assert len(set(units.names)) == units.codes.max() + 1 == 21
        store, cells = written(tmp_path / str(len(said)), own)
        report = reported(store, cells, tmp_path / str(len(said)) / "out", way)
        numbers.append([row["value"] for row in table(report, "ward by study")])
        said.append([note for note in report.notes if "in several patients" in note])
    assert numbers[0] == numbers[1]
    assert said == [
        [],
        ["ward by study: 2 values of lesion_id stand in several patients: a study is that of its "
         "patient"],
    ]  # fmt: skip


@pytest.mark.slow
def test_a_set_without_patients_beside_one_with_them_is_named_and_left_out(tmp_path: Path) -> None:
    cells = written(tmp_path / "x", facts())[1]
    cells += written(tmp_path / "x", replace(facts(name="clinic"), groups=None))[1]
    report = reported(Store(tmp_path / "both"), cells, tmp_path / "out", Aggregation())
    assert [m.table.dataset for m in report.matrices] == ["ward", "clinic", "ward by patient"]
    assert any(note.startswith("data set clinic/test names no patients") for note in report.notes)


def test_the_page_says_how_many_images_a_patient_has_and_that_noisy_or_grows(
    tmp_path: Path,
) -> None:
    data = facts(each=7)
    store, cells = written(tmp_path, data)
    report = reported(store, cells, tmp_path / "out", Aggregation(how="noisy_or"))
    note = (
        "ward by patient (noisy_or): probabilities of 60 images (6 to 7 each) joined to 9 patients "
        "by noisy_or; noisy_or grows with the number of images"
    )
    assert note in report.notes


def test_patients_stand_beside_images_in_a_run_a_sweep_and_a_report_of_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = (
        "dataset=phantom_patients", "dataset.per_class=3", "model=phantomclip_small",
        "corruption=clean", "validation=false", "audit=false", "store.dir=store",
    )  # fmt: skip
    done = answer(*run, "aggregate=patient", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    found = rows("run/results.csv")
    assert {(row["dataset"], row["n"]) for row in found} == {
        ("phantom_patients", "60"),
        ("phantom_patients by patient", "20"),
    }
    sweep = answer("-m", *run, "aggregate=none,patient", "hydra.sweep.dir=sweep")
    assert sweep.returncode == 0, sweep.stderr
    assert rows("sweep/results.csv") == found
    made = answer("report", "store", "--out", "out", "--light", "--no-figures", "aggregate=patient")
    assert made.returncode == 0, made.stderr
    assert rows("out/results.csv") == found
    refused = answer("report", "store", "aggregate=patient", "seed=1")
    assert refused.returncode == 1
    assert "a report takes no 'seed=1'" in refused.stderr


@pytest.mark.slow
def test_patients_of_several_classes_are_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ("dataset=phantoms", "dataset.per_class=3", "model=phantomclip_small", "corruption=clean")
    tuned = ("tuning=few_shot", "adapter=lora")
    for more in (("dry_run=true",), ("validation=false",), tuned):
        done = answer(*run, "aggregate=patient", "store.dir=store", *more)
        assert done.returncode == 1
        sentence = "images of patient 'test/blood/p0000' of phantoms/test are of several classes"
        assert sentence in done.stderr
    assert not list(Path("store").glob("cells/**/cell.json"))


def test_units_of_keyed_hashes_are_named_by_the_column_that_was_asked_for() -> None:
    data = facts()
    values = np.array([[f"{number % 2:032x}"] for number in range(len(data))])
    data = replace(data, groups=None, metadata=values, metadata_columns=("patient",))
    way = Aggregation("study", "patient")
    told = r"^aggregate\.by=patient: images of one study of .* are of several classes"
    with pytest.raises(ConfigurationError, match=told):
        way.check([(data, "classification")])


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"aggregate.how='median' is none of mean, max"):
        Aggregation(how="median")
    with pytest.raises(ConfigurationError, match="name what images are joined to"):
        Aggregation(unit="image")


def test_gains_of_an_adapter_are_counted_from_patients_of_the_model_as_published(
    tmp_path: Path,
) -> None:
    data = facts()
    store = Store(tmp_path / "store")
    store.write_data(data)
    cells = []
    for adapter, skill in {"none": 0.3, "lora": 1.5}.items():
        made = {"adaptation": {"label": "lora", "draw": None}} if adapter != "none" else {}
        for name, level in [("clean", 0), ("contrast", 1)]:
            key = cell_key(data, "weak", name, level, adapter=adapter)
            store.write(key, {"logits": random_logits(data, key, skill)}, made)
            cells.append(store.read(key.spec, key.fingerprint))
    report = reported(store, cells[2:], tmp_path / "out", Aggregation())
    rows = [
        row for row in draw_rows(report.matrices, report.untuned) if row["adaptation"] == "lora"
    ]
    gains = {(row["dataset"], row["n"]): row["gain"] for row in rows if row["metric"] != "mCE"}
    assert set(gains) == {("ward", "60"), ("ward by patient", "21")}
    matrix = report.matrices[1]
    published = next(m for m in report.untuned if m.table == matrix.table)
    before, after = (m.clean["balanced_error"][0] for m in (published, matrix))
    (found,) = (
        row["gain"]
        for row in rows
        if (row["dataset"], row["metric"]) == ("ward by patient", "clean error")
    )
    assert float(found) == pytest.approx(before - after)


def test_a_missing_cell_is_missing_of_patients_too_and_is_counted_once(tmp_path: Path) -> None:
    store, cells = written(tmp_path, facts())
    lost = cells.pop()
    expected = expected_from_cells([*cells, lost])
    report = reported(
        store, cells, tmp_path / "out", Aggregation(), expected=expected, missing=[lost.spec]
    )
    assert (report.total, report.missing) == (10, (lost.spec,))
    images, units = report.matrices
    for matrix in (images, units):
        assert [matrix.mean("error", row).covered for row in range(2)] == [2, 1]
