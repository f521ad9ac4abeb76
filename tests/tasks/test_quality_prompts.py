"""Quality prompts keep the contract, are the softmax by hand, and encode no image again."""

from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from contract import TaskContract
from numpy.typing import NDArray
from run_entry import medrobust, rows
from stores import data_record

from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.run import encoder
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, NotFiniteError, UnknownNameError
from medrobust.models import PhantomClip
from medrobust.readings.gate.pairs import Choice, pairs
from medrobust.tasks.base import ModelSide
from medrobust.tasks.quality_prompts import TASK, QualityPrompts
from medrobust.tasks.quality_prompts.head import PairHead

PAIRS = {
    "prompted_blur": {"good": ["a sharp {modality}", "in focus"], "bad": ["a blurred {modality}"]},
    "prompted_noise": {"good": ["clean"], "bad": ["noisy"]},
}
DATA = SimpleNamespace(name="toy", modality="chest x-ray")
MEASURES = ["prompted_poor", "prompted_blur"]


@pytest.fixture(scope="module")
def side() -> ModelSide:
    model = PhantomClip(name="phantomclip_small", variant="small").load()
    return ModelSide(SimpleNamespace(name="phantomclip_small"), (), lambda: model)


class TestQualityPrompts(TaskContract):
    task = TASK
    head = MappingProxyType(
        {"kind": "quality_prompts", "measures": MEASURES, "texts": [["a"], ["b"]] * 2}
    )

    def facts(self) -> SplitFacts:
        return data_record()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        rng = np.random.default_rng(seed)
        bad = np.clip(1 - skill + 0.02 * rng.normal(size=(len(data), 2)), 0, 1)
        return {"measures": bad}


def test_each_chance_is_the_softmax_over_both_sides_by_hand(side: ModelSide) -> None:
    (described,) = QualityPrompts(PAIRS).heads(DATA, side)
    assert described["texts"][0] == ["a sharp chest x-ray", "in focus"]
    draw = np.random.default_rng(3).normal(size=(7, 64))
    features = torch.nn.functional.normalize(torch.from_numpy(draw).float(), dim=1)
    found = QualityPrompts(PAIRS).head(side, described, DATA).outputs(features)["measures"]
    assert found.shape == (7, 2)
    with torch.no_grad():
        for column, (good, bad) in enumerate(((0, 1), (2, 3))):
            sides = []
            for place in (good, bad):
                words = side.model().encode_text(described["texts"][place]).double().numpy()
                mean = words.mean(0)
                sides.append(mean / np.linalg.norm(mean))
            cosines = features.double().numpy() @ np.stack(sides).T
            powers = np.exp(float(side.model().logit_scale) * cosines)
            expected = powers[:, 1] / powers.sum(1)
            np.testing.assert_allclose(found[:, column], expected, rtol=0, atol=1e-5)


def test_an_image_at_the_bad_sentence_is_judged_bad_and_one_at_the_good_sentence_good(
    side: ModelSide,
) -> None:
    (described,) = QualityPrompts(PAIRS).heads(DATA, side)
    with torch.no_grad():
        at = side.model().encode_text(["noisy", "clean"])
    bad, good = PairHead(side.model(), described).outputs(at)["measures"][:, 1]
    assert bad > 0.5 > good
    assert bad == pytest.approx(1 - good)  # their distances to the other side are the same


def test_features_that_are_not_finite_are_refused(side: ModelSide) -> None:
    (described,) = QualityPrompts(PAIRS).heads(DATA, side)
    features = torch.full((2, 64), float("nan"))
    with pytest.raises(NotFiniteError, match="quality prompts of 2 of 2 images"):
        PairHead(side.model(), described).outputs(features)


@pytest.mark.parametrize(
    ("pairs_given", "error", "told"),
    [
        ({"prompted_blurr": PAIRS["prompted_blur"]}, UnknownNameError, "prompted_blur"),
        ({"prompted_blur": {"good": ["a"]}}, ConfigurationError, "under the keys good and bad"),
        ({"prompted_blur": {"good": "a", "bad": ["b"]}}, ConfigurationError, "as a list"),
        ({"prompted_blur": {"good": [], "bad": ["b"]}}, ConfigurationError, "at least one a side"),
        ({}, ConfigurationError, "give at least one"),
        (
            {"prompted_blur": {"good": ["a", "b"], "bad": ["b", "a"]}},
            ConfigurationError,
            "'a' on b",
        ),
        (
            {"prompted_blur": {"good": ["a"], "bad": ["  "]}},
            ConfigurationError,
            r"task\.pairs\.prompted_blur\.bad holds '  ', which is no sentence",
        ),
        ({"prompted_blur": {"good": ["a"], "bad": [3]}}, ConfigurationError, "is no sentence"),
        (
            {"prompted_blur": {"good": ["a {organ}"], "bad": ["b"]}},
            ConfigurationError,
            r"'a \{organ\}' has the unknown field \{organ\}\. There is \{modality\}",
        ),
        ({"prompted_blur": {"good": ["a {}"], "bad": ["b"]}}, ConfigurationError, "unknown field"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs_given, error, told) -> None:
    with pytest.raises(error, match=told):
        QualityPrompts(pairs_given)


def test_the_order_in_which_pairs_are_given_changes_no_head(side: ModelSide) -> None:
    turned = dict(reversed(PAIRS.items()))
    assert QualityPrompts(turned).heads(DATA, side) == QualityPrompts(PAIRS).heads(DATA, side)


def test_equal_sides_and_models_without_sentences_are_refused(side: ModelSide) -> None:
    sides = {"good": ["chest x-ray"], "bad": ["{modality}"]}
    alike = QualityPrompts({"prompted_blur": sides})
    with pytest.raises(ConfigurationError, match="could not be told"):
        alike.heads(DATA, side)
    blind = ModelSide(SimpleNamespace(name="tower"), (), lambda: torch.nn.Identity())
    with pytest.raises(ConfigurationError, match="'tower' has no text side"):
        QualityPrompts(PAIRS).heads(DATA, blind)
    with pytest.raises(ConfigurationError, match=r"give task\.pairs"):
        TASK.heads(DATA, side)


@pytest.mark.slow
def test_prompts_judge_kept_features_and_stand_beside_other_measures(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (
        *("model=phantomclip_small", "dataset.limit=12", "corruption=gaussian_noise", "severity=5"),
        *("validation=false", "audit=false", "store.dir=store", "store.features=true"),
    )
    assert medrobust(*asked, "hydra.run.dir=one", "quality.measures=[contrast]",
                     "quality=alone") == 0  # fmt: skip
    monkeypatch.setattr(encoder.Encoder, "encode", None)  # nothing may be encoded again
    assert medrobust(*asked, "hydra.run.dir=two", "task=quality_prompts") == 0
    store = Store(Path("store"))
    assert {cell.task for cell in store.cells()} == {
        *("classification", "image_quality", "quality_prompts")
    }
    assert medrobust("report", "store", "--out", "both", "readings=quality") == 0
    measured = {row["measure"] for row in rows("both/quality.csv")}
    assert {"contrast", "prompted_blur", "prompted_artifact"} < measured
    joined = pairs([store], Choice(split="test"))  # a gate is checked without the model
    assert {pair.names for pair in joined} == {("contrast",)}
