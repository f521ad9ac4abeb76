"""Groups of losses that are no means of images: each group is scored as a set of its own."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from stores import CONFIG, SEVEN, VERSIONS, cell_key

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Labels
from medrobust.evaluation.store import Store
from medrobust.metrics.intervals import wilson
from medrobust.metrics.pixels import PixelCurve, count_pixels, pixel_influence
from medrobust.readings.subgroup_differences import within
from medrobust.readings.subgroup_terms import OwnLoss
from medrobust.readings.subgroups import FEWEST
from medrobust.reporting.from_store import report_store
from medrobust.tasks.anomaly.shown import no_maps
from medrobust.tasks.base import Terms

COUNT, COLUMNS, LEVELS = 240, SEVEN[:2], (1, 3)
ROWS = np.arange(COUNT)
FAMILIES = np.array(["easy", "hard", "inverted"])[ROWS % 3]
SKILLS = {"easy": 30.0, "hard": 0.3, "inverted": -4.0}
STATES = np.where(ROWS < 60, "normal alone", np.where(ROWS < 120, "both", "rest"))
LABELS = np.where(ROWS < 60, 0, ROWS // 3 % 2)
HEAD = {"kind": "anomaly", "name": "states", "scorer": "prompts", "normal": ["normal"]}


def facts(split: str, patients: int) -> SplitFacts:
    return SplitFacts(
        name="ward",
        split=split,
        fingerprint=fingerprint(["ward", split, patients]),
        ids=np.array([f"{split} {row}" for row in ROWS]),
        target=Labels(LABELS.astype(np.int64)),
        class_names=("normal", "abnormal"),
        label_kind="binary-class",
        positive=1,
        groups=np.array([f"p{row // patients}" for row in ROWS]),
        metadata=np.stack([FAMILIES, STATES], axis=1),
        metadata_columns=("family", "state"),
    )


def scores(split: str, name: str, level: int) -> NDArray[np.float32]:
    draw = np.random.default_rng([len(split), len(name), level])
    skill = np.array([SKILLS[family] for family in FAMILIES])
    return (skill * LABELS + draw.normal(size=COUNT) + 0.4 * level).astype(np.float32)


def maps() -> dict[str, NDArray]:
    draw, masks = np.random.default_rng(5), np.zeros((COUNT, 6, 6), bool)
    masks[LABELS == 1, 1:4, 2:5] = True
    levels = np.clip(8 * masks + draw.integers(0, 24, masks.shape), 0, 31)
    counts = count_pixels(levels, masks, 32)
    moved = pixel_influence(PixelCurve(counts), levels, masks, COUNT)
    arrays = {"normal_pixels": counts.normal, "lesion_pixels": counts.lesion}
    moved = moved.astype(np.float32)
    return {**no_maps(), **arrays, "region_overlap": counts.overlap, "pixel_influence": moved}


@pytest.fixture(scope="module", params=[1, 2], ids=["images", "patients"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, store = tmp_path_factory.mktemp("groups"), None
    store = Store(folder / "store")
    for split in ("test", "val"):
        data = facts(split, request.param)
        store.write_data(data)
        conditions = [("clean", 0)]
        conditions += [(c, s) for c in COLUMNS for s in LEVELS if split == "test"]
        for name, level in conditions:
            key = cell_key(data, "m", name, level)
            key = replace(key, spec=replace(key.spec, split=split), head=HEAD)
            record = {"config": CONFIG, "versions": VERSIONS, "device": "cpu", "load_report": {}}
            store.write(key, {"score": scores(split, name, level), **maps()}, record)
    report_store(store.root, folder / "report", figures=False, interactive=False, reference=None)
    return folder / "report"


def table(made: Path, name: str) -> list[dict[str, str]]:
    with (made / name).open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "test"]


def test_a_group_has_the_area_of_its_own_images(made: Path) -> None:
    rows = [row for row in table(made, "subgroups.csv") if row["of"] == "misranked_pairs"]
    found = {row["group"]: row for row in rows if row["column"] == "family"}
    for family, row in found.items():
        own = family == FAMILIES
        clean = 1 - roc_auc_score(LABELS[own], scores("test", "clean", 0)[own])
        under = [
            1 - roc_auc_score(LABELS[own], scores("test", c, s)[own])
            for c in COLUMNS
            for s in LEVELS
        ]
        assert float(row["clean"]) == pytest.approx(clean, abs=1e-12)
        assert float(row["mean"]) == pytest.approx(np.mean(under), abs=1e-12)
        for name in ("clean", "mean"):
            low, value, high = (float(row[name + end]) for end in ("_low", "", "_high"))
            assert 0 <= low <= value <= high <= 1
            assert low < high
    assert float(found["easy"]["clean"]) == 0.0
    assert float(found["inverted"]["clean"]) > 0.9


def test_a_group_is_judged_at_the_threshold_of_all_validation_images(made: Path) -> None:
    val, test = (scores(split, "clean", 0) for split in ("val", "test"))
    threshold = np.sort(val[LABELS == 1])[int(0.05 * (LABELS == 1).sum())]
    flagged = test >= threshold
    wanted = {
        "false_alarm_rate": (flagged, LABELS == 0),
        "missed_abnormal_rate": (~flagged, LABELS == 1),
    }
    for of, (wrong, among) in wanted.items():
        rows = [row for row in table(made, "subgroups.csv") if row["of"] == of]
        found = {row["group"]: float(row["clean"]) for row in rows if row["column"] == "family"}
        for family, value in found.items():
            share = wrong[among & (family == FAMILIES)].mean()
            assert value == pytest.approx(share, abs=1e-12), (of, family)


def test_clean_rates_of_the_summary_have_the_bounds_of_their_cell(made: Path) -> None:
    """They are over normal images, and over abnormal ones: the others are no part of them."""
    known = {row["metric"]: row for row in table(made, "results.csv") if row["severity"] == "0"}
    summary = [row for row in table(made, "summary.csv") if row["metric"] == "clean"]
    found = {row["of"]: row for row in summary}
    for of, count in (
        ("false_alarm_rate", LABELS == 0),
        ("missed_abnormal_rate", LABELS == 1),
    ):
        assert found[of]["n"] == known[of]["n"] == str(count.sum())
        for name in ("value", "low", "high"):
            assert float(found[of][name]) == pytest.approx(float(known[of][name]), abs=1e-12)


def test_what_a_group_has_no_number_of_is_said(made: Path) -> None:
    rows = table(made, "subgroups.csv")
    notes = {(row["group"], row["of"]): row["note"] for row in rows}
    assert notes["normal alone", "misranked_pairs"] == "one class only"
    assert notes["both", "misranked_pairs"] == ""
    assert notes["both", "missed_overlap"] == "pixels are counted over all images"
    for row in rows:
        assert (row["note"] == "") == (row["clean"] != "") == (row["mean"] != ""), row


def test_differences_between_groups_are_those_of_their_own_numbers(made: Path) -> None:
    rows = [row for row in table(made, "subgroup_differences.csv") if row["column"] == "family"]
    assert {row["of"] for row in rows} == {
        "misranked_pairs", "false_alarm_rate", "missed_abnormal_rate",
    }  # fmt: skip
    (row,) = (
        row
        for row in rows
        if (row["of"], row["group"], row["condition"]) == ("misranked_pairs", "easy", "clean")
    )
    given, others = scores("test", "clean", 0), FAMILIES != "easy"
    rest = 1 - roc_auc_score(LABELS[others], given[others])
    assert [float(row[name]) for name in ("value", "others", "difference")] == pytest.approx(
        [0.0, rest, -rest]
    )
    assert -1 <= float(row["low"]) <= -rest <= float(row["high"]) <= 1
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("value", "others"))
    assert (FAMILIES == "easy").sum() > FEWEST


def test_a_share_that_no_image_moves_rests_on_those_that_it_is_over() -> None:
    """Masks that leave their image: nine and six of thirty still show something, none is missed."""
    rows = {"mild": np.arange(9), "hard": np.arange(3, 9)}
    chosen = np.ones(30, bool)

    def scored(cell: str, part: NDArray[np.bool_]) -> SimpleNamespace:
        return SimpleNamespace(terms={"missed": Terms(np.zeros(len(rows[cell])), rows=rows[cell])})

    mild, both = (
        OwnLoss("mean", np.arange(30), "missed", [cells], scored)
        for cells in (["mild"], ["mild", "hard"])
    )
    data = SimpleNamespace(groups=None)
    for losing, images in ((mild, 9), (both, 6)):
        found = within(losing, data, chosen)
        assert found.value == 0
        assert (found.low, found.high) == pytest.approx(wilson(0.0, images))
