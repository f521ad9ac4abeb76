"""Anomaly detection keeps the contract, and no label of the test split sets its threshold."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from contract import TaskContract
from numpy.typing import NDArray
from run_entry import medrobust, rows
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Labels, MaskedLabels
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError, NotFiniteError, UnknownNameError
from medrobust.metrics.aggregates import error_interval, mce_interval
from medrobust.metrics.pixels import PixelCurve, count_pixels, pixel_influence
from medrobust.models.prompts import PromptSet
from medrobust.reporting.rows import rows_of
from medrobust.tasks.anomaly import TASK, Anomaly
from medrobust.tasks.anomaly.head import StateHead
from medrobust.tasks.anomaly.shown import no_maps, no_pixels
from medrobust.tasks.anomaly.states import (
    abnormal,
    check_both_states,
    masks_of_other_states,
    normal_classes,
    say_positive,
)
from medrobust.tasks.base import Cell, ModelSide

IMAGES, LEVELS = 60, 64
HEAD = MappingProxyType({"kind": "anomaly", "scorer": "prompts", "normal": ["normal"]})


def facts(split: str = "test", labels: NDArray | None = None) -> SplitFacts:
    states = np.arange(IMAGES) % 2 if labels is None else labels
    return SplitFacts(
        name="toy",
        split=split,
        fingerprint=fingerprint(["anomaly", split, states.tolist()]),
        ids=np.array([f"{split} {row}" for row in range(len(states))]),
        target=Labels(states.astype(np.int64)),
        class_names=("normal", "abnormal"),
        label_kind="binary-class",
        positive=1,
        groups=np.array([f"p{row // 4}" for row in range(len(states))]),
        origin="public",
    )


def with_maps(data: SplitFacts, skill: float, draw: np.random.Generator) -> dict[str, NDArray]:
    masks = np.zeros((len(data), 12, 12), bool)
    masks[data.labels == 1, 3:7, 2:8] = True
    values = 4 * skill * masks + draw.normal(size=masks.shape)
    levels = np.clip((values + 8) * 4, 0, LEVELS - 1).astype(np.int64)
    counts = count_pixels(levels, masks, LEVELS)
    return {
        "normal_pixels": counts.normal,
        "lesion_pixels": counts.lesion,
        "region_overlap": counts.overlap,
        "pixel_influence": pixel_influence(PixelCurve(counts), levels, masks, len(data)).astype(
            np.float32
        ),
    }


class TestAnomaly(TaskContract):
    task = TASK
    head = HEAD
    maps = True

    def facts(self) -> SplitFacts:
        return facts()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        draw = np.random.default_rng(seed)
        score = 6 * skill * data.labels + draw.normal(size=len(data))
        maps = (
            {**no_maps(), **with_maps(data, skill, draw)} if self.maps else without_maps(len(data))
        )
        return {"score": score.astype(np.float32), **maps}


class TestWithoutMaps(TestAnomaly):
    maps = False


def without_maps(images: int) -> dict[str, NDArray]:
    return {**no_pixels(images), **no_maps()}


def cell_of(score: NDArray, data: SplitFacts, patients: NDArray | None = None) -> Cell:
    arrays = {"score": score.astype(np.float32), **without_maps(len(score))}
    return Cell("0" * 64, arrays, dict(HEAD), data, patients)


def scored(seed: int, split: str, shift: float = 0.0) -> Cell:
    draw, data = np.random.default_rng(seed), facts(split)
    return cell_of(2 * data.labels + draw.normal(size=IMAGES) + shift, data)


def test_numbers_of_images_are_those_of_scikit_learn() -> None:
    cell = scored(3, "test")
    truth, score = cell.data.labels, cell.arrays["score"]
    found = TASK.scores(cell).estimates
    assert found["image_auroc"].value == pytest.approx(roc_auc_score(truth, score))
    assert found["misranked_pairs"].value == pytest.approx(1 - roc_auc_score(truth, score))
    assert found["image_aupr"].value == pytest.approx(average_precision_score(truth, score))
    best = max(f1_score(truth, score >= each) for each in score)
    assert found["image_f1_max"].value == pytest.approx(best)


def test_false_alarms_are_counted_at_the_threshold_of_clean_validation_images() -> None:
    val, test = scored(1, "val"), scored(2, "test", shift=1.5)
    point = TASK.fit(val)
    flagged = val.arrays["score"][val.data.labels == 1] >= point.threshold
    assert flagged.mean() >= 0.95
    higher = np.nextafter(np.float32(point.threshold), np.float32(np.inf))
    assert (val.arrays["score"][val.data.labels == 1] >= higher).mean() < 0.95
    found = TASK.scores(test, point)
    normal = test.arrays["score"][test.data.labels == 0]
    alarms = float((normal >= point.threshold).mean())
    assert found.estimates["false_alarm_rate"].value == alarms
    assert found.terms["false_alarm_rate"].value == pytest.approx(alarms)
    missed = float((test.arrays["score"][test.data.labels == 1] < point.threshold).mean())
    assert found.estimates["missed_abnormal_rate"].value == missed
    assert "false_alarm_rate" not in TASK.scores(test).estimates


def test_labels_of_the_test_split_move_no_threshold_and_no_false_alarm_of_an_image() -> None:
    val, test = scored(1, "val"), scored(2, "test")
    point = TASK.fit(val)
    poisoned = replace(test, data=facts("test", 1 - test.data.labels))
    np.testing.assert_array_equal(
        TASK.scores(test, point).answers, TASK.scores(poisoned, point).answers
    )
    assert TASK.fit(val) == point


def test_patients_widen_an_interval_and_change_no_value() -> None:
    cell, point = scored(4, "test"), TASK.fit(scored(1, "val"))
    alone = TASK.scores(cell, point).estimates
    grouped = TASK.scores(replace(cell, patients=np.arange(IMAGES) // 10), point).estimates
    assert {n: e.value for n, e in alone.items()} == {n: e.value for n, e in grouped.items()}
    for name in ("image_auroc", "false_alarm_rate"):
        wide, narrow = (one[name].high - one[name].low for one in (grouped, alone))
        assert wide > narrow


def test_a_difference_in_false_alarms_has_the_standard_error_of_normal_images() -> None:
    draw, data = np.random.default_rng(0), facts(labels=np.arange(4000) % 4 > 0)
    cell = cell_of(draw.normal(size=4000), data)
    found = TASK.scores(cell, TASK.fit(cell))
    terms, share = found.terms["false_alarm_rate"].values, found.estimates["false_alarm_rate"].value
    expected = np.sqrt(share * (1 - share) / 1000)
    assert terms.std() / np.sqrt(len(terms)) == pytest.approx(expected, rel=0.01)


def test_bounds_of_what_no_image_moves_are_those_of_the_images_that_it_rests_on() -> None:
    """An order without a fault, over 200 images of which 20 are abnormal, rests on those 20."""
    labels = np.arange(200) % 10 == 0
    found = TASK.scores(cell_of(labels + np.arange(200) / 1000, facts(labels=labels)))
    terms, known = found.terms["misranked_pairs"], found.estimates["misranked_pairs"]
    assert (terms.value, terms.smallest) == (0, 20)
    wide = error_interval(terms.values, None, None, smallest=terms.smallest)
    assert wide == pytest.approx((known.low, known.high))
    nothing, reference = np.zeros((1, 200)), np.ones(1)
    ratio = mce_interval(np.zeros(1), nothing, reference, nothing, smallest=terms.smallest)
    assert ratio == pytest.approx(wide)


@pytest.mark.parametrize("patients", [None, 10, 20])
def test_a_loss_alone_and_as_a_mean_of_one_cell_has_one_interval(patients: int | None) -> None:
    """Results and tables show the same number by two ways; one minus it is the AUROC's."""
    draw, data = np.random.default_rng(5), facts()
    own = None if patients is None else np.arange(IMAGES) // 2 % patients
    score = (3 * data.labels + draw.normal(size=IMAGES)).astype(np.float32)
    arrays = {"score": score, **with_maps(data, 0.4, draw), **no_maps()}
    found = TASK.scores(Cell("0" * 64, arrays, dict(HEAD), data, own))
    for loss, other in (
        ("misranked_pairs", "image_auroc"),
        ("misranked_pixels", "pixel_auroc"),
        ("missed_overlap", "aupro"),
    ):
        terms, known = found.terms[loss], found.estimates[loss]
        given = {"smallest": terms.smallest, "spread": terms.spread}
        assert error_interval(terms.values, None, own, **given) == pytest.approx(
            (known.low, known.high)
        )
        upside_down = found.estimates[other]
        assert (1 - upside_down.high, 1 - upside_down.low) == pytest.approx((known.low, known.high))


def test_rounding_that_is_left_of_patients_alike_makes_no_point_of_an_interval() -> None:
    """Each patient has the same images: their influence cancels but for single precision."""
    data = facts(labels=np.arange(30) % 2)
    arrays = with_maps(data, 1.0, np.random.default_rng(0))
    own = np.float32([0.1, 0.7, -0.8])
    arrays["pixel_influence"] = np.tile(own[:, None], (10, 3))
    assert arrays["pixel_influence"][:3].sum() != 0
    score = np.random.default_rng(1).normal(size=30).astype(np.float32)
    cell = Cell("0" * 64, {"score": score, **arrays, **no_maps()}, dict(HEAD), data)
    alike = TASK.scores(replace(cell, patients=np.arange(30) // 3)).estimates["pixel_f1_max"]
    assert alike.high - alike.low > 0.2
    none = {**cell.arrays, "pixel_influence": np.zeros((30, 3), np.float32)}
    settled = TASK.scores(replace(cell, arrays=none, patients=np.arange(30) // 3)).estimates
    assert alike == settled["pixel_f1_max"]


@pytest.mark.parametrize("patients", [2, 4, 5])
def test_pixels_of_fewer_than_five_abnormal_patients_have_no_interval(patients: int) -> None:
    """Drawn patients: bounds of two would hold the truth 74 times of 100, of four 90 times."""
    data = facts(labels=np.arange(30) % 2)
    draw = np.random.default_rng(0)
    score = draw.normal(size=30).astype(np.float32)
    arrays = {"score": score, **with_maps(data, 0.2, draw), **no_maps()}
    cell = Cell("0" * 64, arrays, dict(HEAD), data, np.arange(30) % patients)
    scores = TASK.scores(cell)
    found = scores.estimates
    for name in ("pixel_auroc", "aupro", "pixel_f1_max", "misranked_pixels", "missed_overlap"):
        assert (found[name].low is None) == (patients < 5)
        assert ("fewer than 5 abnormal" in found[name].note) == (patients < 5)
        if name in scores.terms:
            assert scores.terms[name].unbounded == found[name].note
    assert {"misranked_pixels", "missed_overlap"} <= set(scores.terms)
    assert scores.terms["misranked_pairs"].unbounded == ""


def image_set(
    names: tuple[str, ...], labels: NDArray, kind: str = "multi-class", **further: object
) -> ImageSet:
    return ImageSet(
        name="scans",
        split=str(further.pop("split", "test")),
        fingerprint="f" * 64,
        images=np.zeros((len(labels), 4, 4), np.uint8),
        index=np.arange(len(labels)),
        ids=np.arange(len(labels)).astype(str),
        target=Labels(labels.astype(np.int64)),
        class_names=names,
        label_kind=kind,
        **further,
    )


def test_classes_count_as_normal_that_are_called_so_or_are_named() -> None:
    grades = image_set(("drusen", "Normal", "dme"), np.array([0, 1, 2, 1]))
    assert normal_classes(grades) == ("Normal",)
    assert abnormal(grades, ("Normal",)).tolist() == [True, False, True, False]
    stated = replace(grades, normal=("dme", "drusen"))
    assert normal_classes(stated) == ("drusen", "dme")
    assert abnormal(stated, normal_classes(stated)).tolist() == [False, True, False, True]


def test_of_several_labels_an_image_without_any_is_normal() -> None:
    labels = np.array([[0, 0], [1, 0], [0, 1]])
    findings = image_set(("mass", "scar"), labels, kind="multi-label, binary-class")
    assert normal_classes(findings) == ()
    assert abnormal(findings, ()).tolist() == [False, True, True]
    assert abnormal(findings, ("scar",)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("normal", "said"),
    [
        ((), "no class, or every one, is normal: pass dataset.normal"),
        (("a", "b"), "no class, or every one, is normal"),
        (("c",), "dataset.normal names 'c', which is no class of data set 'scans': 'a', 'b'"),
    ],
)
def test_what_makes_no_two_states_is_refused(normal: tuple[str, ...], said: str) -> None:
    data = image_set(("a", "b"), np.array([0, 1]), normal=normal)
    with pytest.raises(ConfigurationError, match=said):
        normal_classes(data)


def test_a_split_of_one_state_is_refused_and_of_validation_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = image_set(("normal", "scar"), np.zeros(3))
    with pytest.raises(ConfigurationError, match="split 'test' of data set 'scans' has normal"):
        check_both_states(one, ("normal",))
    with caplog.at_level(logging.WARNING):
        check_both_states(replace(one, split="val"), ("normal",))
    assert "no threshold can be set on it" in caplog.text
    assert TASK.fit(cell_of(np.arange(3.0), facts("val", np.zeros(3)))) is None


class Letters:
    """A model of texts whose embedding is where its first letter stands."""

    logit_scale = 10.0

    def to(self, *_: object) -> "Letters":
        return self

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        rows = [[1.0, 0.0] if text.startswith("n") else [0.0, 1.0] for text in texts]
        return torch.tensor(rows)


def test_a_score_is_the_scaled_difference_of_the_cosines() -> None:
    head = StateHead(Letters(), {"texts": [["no", "normal"], ["lesion"]]})
    features = torch.nn.functional.normalize(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), dim=1)
    np.testing.assert_allclose(head.outputs(features)["score"], [2.0, -10.0], rtol=1e-6)
    features[1, 0] = float("nan")
    with pytest.raises(NotFiniteError, match="1 of 2 images"):
        head.outputs(features)


def test_states_are_words_in_every_template_and_the_modality_fills_them() -> None:
    prompts = PromptSet(
        "s",
        ["a photo of a {}."],
        states={"normal": ["{modality}", "fine"], "abnormal": ["broken {modality}"]},
    )
    assert prompts.state_texts(dataset="d", modality="scan") == [
        ["a photo of a scan.", "a photo of a fine."],
        ["a photo of a broken scan."],
    ]
    with pytest.raises(ConfigurationError, match="asks for the modality"):
        prompts.state_texts(dataset="d")
    with pytest.raises(ConfigurationError, match="it is for task=anomaly"):
        prompts.texts(dataset="d", class_texts=["a", "b"])
    with pytest.raises(ConfigurationError, match="words of a normal and of an abnormal"):
        PromptSet("s", ["{}"], states={"normal": ["fine"]})
    plain = PromptSet("p", ["{}"])
    assert plain.state_texts(dataset="d", states=(["a"], ["b", "c"])) == [["a"], ["b", "c"]]
    assert "states" not in plain.description()


def test_an_unknown_scorer_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="scorer of task=anomaly"):
        Anomaly(scorer="prompt")  # type: ignore[arg-type]


def test_of_a_set_without_masks_it_is_said_that_no_pixel_has_a_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    side = ModelSide(SimpleNamespace(name="toy"), (), object)
    images = image_set(("normal", "scar"), np.array([0, 1]))
    with caplog.at_level(logging.INFO), pytest.raises(ConfigurationError, match="toy"):
        TASK.heads(images, side)
    assert "data set 'scans' has no masks: nothing says where" in caplog.text


def masked(lesions: list[bool], labels: list[int], **further: object) -> ImageSet:
    masks = np.zeros((len(labels), 4, 4), np.uint8)
    masks[lesions, 1, 2] = 1
    target = MaskedLabels(np.array(labels, np.int64), masks, "masks")
    data = image_set(("normal", "scar"), np.array(labels), kind="binary-class", **further)
    return replace(data, target=target)


def test_lesions_of_normal_images_and_abnormal_ones_without_are_counted() -> None:
    right = masked([False, True, True], [0, 1, 1], positive=1)
    assert not [*masks_of_other_states(right, ["normal"])]
    said = [
        *masks_of_other_states(
            masked([True, False, False, True], [0, 0, 1, 1], positive=1), ["normal"]
        )
    ]
    assert len(said) == 2
    assert "1 of 2 abnormal images without a pixel of a lesion in its masks: all their" in said[0]
    assert "1 of 2 normal images with pixels of lesions in its masks: these count" in said[1]


@pytest.mark.parametrize("positive", [0, 1])
def test_a_normal_class_that_is_the_positive_one_has_no_part(
    caplog: pytest.LogCaptureFixture, positive: int
) -> None:
    data = image_set(("normal", "scar"), np.array([0, 1]), kind="binary-class", positive=positive)
    with caplog.at_level(logging.INFO):
        say_positive(data, ["normal"])
    told = "whatever its positive class is: 'normal' is normal"
    assert (told in caplog.text) == (positive == 0)


@pytest.mark.parametrize(("lesions", "why"), [(0, "no lesion"), (30, "no normal pixel")])
def test_numbers_of_pixels_without_lesions_or_normal_ones_are_empty_with_a_reason(
    lesions: int, why: str
) -> None:
    counts = np.arange(LEVELS)
    arrays = {
        **no_maps(),
        "score": np.arange(30, dtype=np.float32),
        "normal_pixels": counts * (lesions == 0),
        "lesion_pixels": counts * (lesions > 0),
        "region_overlap": np.eye(1, LEVELS)[0] * lesions,
        "pixel_influence": np.zeros((30, 3), np.float32),
    }
    found = TASK.scores(Cell("0" * 64, arrays, dict(HEAD), facts(labels=np.arange(30) % 2)))
    for name in ("pixel_auroc", "aupro", "pixel_f1_max", "misranked_pixels", "missed_overlap"):
        assert found.estimates[name].value is None
        assert found.estimates[name].note == f"masks show {why}"
        assert name not in found.terms


def test_maps_of_sentences_without_normal_validation_images_name_the_way_out() -> None:
    model = SimpleNamespace(patch_blocks=4, joint_blocks=(1, 2, 3, 4))
    side = ModelSide(SimpleNamespace(name="toy"), (), lambda: model)
    data = masked([False, True], [0, 1], positive=1)
    with pytest.raises(ConfigurationError, match=r"val split .*: task\.maps=false asks for scores"):
        TASK.heads(data, side)
    with pytest.raises(ConfigurationError, match=r"val split .* pass a data set with splits\.$"):
        Anomaly(scorer="gaussian").heads(data, side)


@pytest.mark.parametrize(
    ("scorer", "joint", "blocks"),
    [
        ("prompts", (1, 2, 3, 4), [1, 2, 3, 4]),
        ("prompts", (4,), [4]),
        ("combined", (4,), [4]),
        ("memory_bank", (4,), [1, 2, 3, 4]),
    ],
)
def test_sentences_read_blocks_that_can_be_compared_with_texts(
    scorer: str, joint: tuple[int, ...], blocks: list[int]
) -> None:
    model = SimpleNamespace(patch_blocks=4, joint_blocks=joint)
    side = ModelSide(SimpleNamespace(name="toy"), (), lambda: model)
    assert Anomaly(scorer=scorer)._blocks(side, 4) == blocks
    model.joint_blocks = ()
    if scorer != "memory_bank":
        with pytest.raises(ConfigurationError, match="asks them for scores alone"):
            Anomaly(scorer=scorer)._blocks(side, 4)


def test_windows_are_those_of_one_block(workplace, capsys) -> None:
    asked = ("dataset=phantoms", "dataset.per_class=2", "task=anomaly", "task.scorer=windows")
    assert medrobust(*asked, "task.blocks=[1,2]", "corruption=contrast", "severity=1") == 1
    assert "windows averages places of one block" in " ".join(capsys.readouterr().err.split())


def test_phantoms_with_lesions_are_told_apart_by_one_command(workplace, capsys) -> None:
    small = ("dataset=phantoms", "dataset.per_class=12", "task=anomaly", "model.micro_batch=8")
    run = ("corruption=contrast", "severity=5", "hydra.run.dir=out")
    assert medrobust(*small, *run) == 0
    assert "pairs misranked" in " ".join(capsys.readouterr().out.split())
    found = {(r["metric"], r["severity"]): r for r in rows("out/results.csv")}
    clean, dark = (found["misranked_pairs", level] for level in "05")
    for row in rows("out/summary.csv"):
        level = {"clean": "0", "severity_mean": "5"}.get(row["metric"])
        for end in ("value", "low", "high") if level else ():
            there, here = row[end], found[row["of"], level][end]
            assert here == there == "" or float(here) == pytest.approx(float(there), abs=1e-9)
    assert clean["n"] == "24"
    assert float(clean["value"]) < 0.2 < float(dark["value"])
    assert float(found["missed_abnormal_rate", "5"]["value"]) > 0.5
    page = Path("out/report.html").read_text("utf-8")
    shown = page.split("False alarms per 100 normal studies")[1].split("</details>")[0]
    alarms, passed = (re.findall(r"<td>([\d.]+)</td>", part) for part in shown.split("lets pass:"))
    for rates, loss in ((alarms, "false_alarm_rate"), (passed, "missed_abnormal_rate")):
        assert rates == [f"{100 * float(found[loss, level]['value']):.1f}" for level in "05"]


def row_labels(*heads: tuple[str, str]) -> list[str]:
    """Label the rows of one model whose heads have these names and scorers."""
    cells = [
        SimpleNamespace(
            task="anomaly",
            spec=SimpleNamespace(model="vit", adapter="none"),
            record={"head": {"name": name, "scorer": scorer, "n": n}, "encoding": {}},
        )
        for n, (name, scorer) in enumerate(heads)
    ]
    return [row.label for row in rows_of(cast(Any, cells), [])]


def test_rows_that_differ_in_their_scorer_alone_are_named_by_it() -> None:
    assert row_labels(("states", "windows")) == ["vit"]
    assert row_labels(("states", "prompts"), ("plain", "prompts")) == [
        "vit [states]",
        "vit [plain]",
    ]
    assert row_labels(("states", "prompts"), ("states", "windows"), ("gaussian", "gaussian")) == [
        "vit [states, prompts]",
        "vit [states, windows]",
        "vit [gaussian]",
    ]
    same = row_labels(("states", "prompts"), ("states", "prompts"), ("states", "windows"))
    assert same[2] == "vit [states, windows]"
    assert same[0] != same[1]
    assert all(one.startswith("vit [states, prompts ") for one in same[:2])
    alike = row_labels(("memory_bank", "memory_bank"), ("memory_bank", "memory_bank"))
    assert all(one.startswith("vit [memory_bank ") for one in alike)
