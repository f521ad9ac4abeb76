"""Each objective is its formula, has that formula's gradient, and is refused where it cannot be."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from run_entry import medrobust, rows
from scipy.special import logsumexp
from torch.autograd import gradcheck

from medrobust.base.fingerprints import fingerprint
from medrobust.base.targets import Labels, Texts
from medrobust.datasets import ImageSet
from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.models.patches import PatchFeatures
from medrobust.models.text_pairs import TextPairs
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead
from medrobust.tuning import Tuning
from medrobust.tuning import weighted as objectives
from medrobust.tuning.minimised import Settings, weights_of
from medrobust.tuning.objective import Seen
from medrobust.tuning.planned import adapter_fingerprint
from medrobust.tuning.shot_facts import codes_of, repeats_pairs
from medrobust.tuning.shots import ShotBatch, ShotOrder, ShotPart
from medrobust.tuning.stage import Stage
from medrobust.tuning.weighted import Objectives, asked_objectives


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
    return torch.nn.functional.normalize(values, dim=-1).requires_grad_()


def test_info_nce_is_half_over_texts_and_half_over_images_by_hand() -> None:
    images, texts, scale = unit(5, 3), unit(5, 3, seed=1).detach(), 4.0
    texts[3] = texts[1]
    same = torch.eye(5, dtype=torch.bool)
    same[1, 3] = same[3, 1] = True
    found = objectives.image_text(images, texts, same, scale).detach()
    s = scale * images.detach().numpy() @ texts.numpy().T
    for i in range(5):
        own = [j for j in range(5) if same[i, j]]
        for_image = np.mean([s[i, j] - logsumexp(s[i]) for j in own])
        for_text = np.mean([s[j, i] - logsumexp(s[:, i]) for j in own])
        assert float(found[i]) == pytest.approx(-(for_image + for_text) / 2)
    distinct = objectives.image_text(images, texts, torch.eye(5, dtype=torch.bool), scale).detach()
    label = torch.arange(5)
    both = [torch.nn.functional.cross_entropy(torch.tensor(one), label) for one in (s, s.T)]
    assert float(distinct.mean()) == pytest.approx(float(sum(both)) / 2)


def test_contrast_is_the_log_share_of_partners_by_hand() -> None:
    features, codes, temperature = unit(6, 3), torch.tensor([0, 0, 1, 1, 1, 2]), 0.2
    found = objectives.contrast(features, codes, temperature).detach()
    s = features.detach().numpy() @ features.detach().numpy().T / temperature
    for i in range(6):
        others = [j for j in range(6) if j != i]
        own = [j for j in others if codes[j] == codes[i]]
        hand = -np.mean([s[i, j] - logsumexp(s[i, others]) for j in own]) if own else 0.0
        assert float(found[i]) == pytest.approx(hand)
    assert objectives.contrast(features[:1], codes[:1], 0.2).tolist() == [0.0]


def test_consistency_and_regression_by_hand() -> None:
    first, second = unit(4, 3), unit(4, 3, seed=1)
    cosines = (first * second).sum(dim=1)
    assert torch.allclose(objectives.consistency(first, second), 1 - cosines)
    predicted = torch.tensor([[1.0, 2.0], [0.0, 5.0], [1.0, 1.0]], requires_grad=True)
    measures = torch.tensor([[0.0, 2.0], [3.0, float("nan")], [float("nan")] * 2])
    found = objectives.regression(predicted, measures)
    assert found.tolist() == [0.5, 9.0, 0.0]
    found.sum().backward()
    assert predicted.grad.tolist() == [[1.0, 0.0], [-6.0, 0.0], [0.0, 0.0]]


def test_every_objective_has_the_gradient_of_its_formula() -> None:
    same, codes = torch.eye(4, dtype=torch.bool), torch.tensor([0, 0, 1, 2])
    texts = unit(4, 3, seed=1)
    assert gradcheck(lambda f, t: objectives.image_text(f, t, same, 3.0), (unit(4, 3), texts))
    assert gradcheck(lambda f: objectives.contrast(f, codes, 0.3), (unit(4, 3),))
    clean = unit(4, 3, seed=2).detach()
    assert gradcheck(lambda f: objectives.consistency(f, clean), (unit(4, 3),))
    known = torch.tensor([[1.0, float("nan")], [0.0, 2.0]], dtype=torch.float64)
    values = torch.tensor([[0.3, 0.1], [1.0, 0.4]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda p: objectives.regression(p, known), (values,))
    still = unit(4, 3, seed=2)
    objectives.consistency(unit(4, 3), still).sum().backward()
    assert still.grad is None


def shots(**given) -> ImageSet:
    metadata = np.array([["a", "1"], ["a", "3"], ["", ""], ["", "5"]])
    plain = {
        "name": "toy",
        "split": "train",
        "fingerprint": fingerprint(["toy"]),
        "ids": np.array(list("abcd")),
        "target": Labels(np.array([0, 1, 0, 1])),
        "class_names": ("no", "yes"),
        "label_kind": "multi-class",
        "images": np.zeros((4, 8, 8), np.uint8),
        "index": np.array([10, 11, 12, 13]),
        "groups": np.array(["p", "p", "q", "q"]),
        "metadata": metadata,
        "metadata_columns": ("pair", "size"),
    }
    return ImageSet(**(plain | given))


def head() -> ZeroShotHead:
    return ZeroShotHead(unit(2, 3, seed=3).detach().float(), None, 5.0)


def batch() -> ShotBatch:
    images, index = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([13, 12, 11, 10])
    labels = torch.tensor([1, 0, 1, 0])
    part = ShotPart(0, images, index, labels, torch.full((4,), 0.25), tuple("dcba"))
    return ShotBatch(0, (part,))


def seen(features: torch.Tensor) -> list[Seen]:
    return [Seen(features, PatchFeatures([]))]


def test_losses_are_weighted_and_added_with_what_is_known_of_each_image() -> None:
    weights = {"class_texts": 2.0, "image_text": 1.0, "same_patient": 0.5, "same_pair": 0.25}
    weights |= {"consistency": 3.0, "measures": 0.1}
    settings = Settings(weights, 0.2, "pair", ("size",))
    found = Objectives(settings, [head()], [shots()], corrupts=True)
    features, clean = unit(4, 3).detach().float(), unit(4, 3, seed=1).detach().float()
    cross = torch.arange(4.0)
    heads = torch.nn.ModuleList([head()])
    (total,) = found.of_batch(batch(), seen(features), seen(clean), heads, lambda part, own: cross)
    labels = batch().parts[0].labels
    hand = 2 * cross + objectives.consistency(features, clean) * 3
    same = labels[:, None] == labels[None]
    hand = hand + objectives.image_text(features, head().present[labels], same, 5.0)
    hand = hand + 0.5 * objectives.contrast(features, torch.tensor([1, 1, 0, 0]), 0.2)
    hand = hand + 0.25 * objectives.contrast(features, torch.tensor([3, 2, 0, 0]), 0.2)
    size = np.array([1.0, 3.0, np.nan, 5.0])
    scaled = ((size - np.nanmean(size)) / np.nanstd(size))[::-1]
    hand = hand + 0.1 * torch.from_numpy(np.nan_to_num(scaled.copy()) ** 2).float()
    assert torch.allclose(total, hand, atol=1e-6)
    assert [tuple(p.shape) for p in found.parameters()] == [(1, 3), (1,)]


def test_a_pair_is_of_one_patient_and_moves_an_artifact_where_patients_share_a_number() -> None:
    settings = Settings({"same_pair": 1.0}, pair_column="pair")

    def partners(pairs: str, groups: str | None) -> list[list[int]]:
        metadata = np.array([["" if one == "-" else one, ""] for one in pairs])
        named = None if groups is None else np.array(list(groups))
        one = shots(groups=named, metadata=metadata)
        codes = codes_of(settings, one)["same_pair"]
        assert repeats_pairs(settings, one) == (pairs in ("1111", "1-11") and groups == "pprr")
        return [torch.nonzero(codes == code).flatten().tolist() for code in codes]

    assert partners("1111", "pprr") == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert partners("1-11", "pprr") == [[0], [1], [2, 3], [2, 3]]
    assert partners("1--1", "ppqp") == [[0, 3], [1], [2], [0, 3]]
    assert partners("1111", None) == [[0, 1, 2, 3]] * 4
    how = Tuning(torch.optim.AdamW, shots=4, objective="same_pair", pair_column="pair")
    names = set()
    for pair in ("1122", "1111"):
        one = shots(groups=np.array(list("pprr")), metadata=np.array([[n, ""] for n in pair]))
        drawn = SimpleNamespace(shots=one, selection=None)  # of one fingerprint
        recipe = SimpleNamespace(trains_head=False, description=dict)
        names.add(adapter_fingerprint({}, Stage(recipe, how), [drawn], []))
    assert len(names) == 2


def test_of_several_reports_an_image_is_put_beside_another_one_in_every_epoch() -> None:
    pairs = TextPairs(torch.eye(3), np.array([[0, 0], [0, 2], [1, 1]]), 2.0)
    rows_ = torch.tensor([0, 1])
    assert [pairs.texts_of(rows_, turn).tolist() for turn in (0, 1, 2)] == [[0, 1], [2, 1], [0, 1]]


def test_images_that_belong_together_stand_side_by_side_in_the_order() -> None:
    groups = np.arange(30) % 10
    plain = ShotOrder(30, batch_size=6, epochs=1, seed=0)
    assert plain.order(0) == ShotOrder(30, batch_size=6, epochs=1, seed=0, groups=None).order(0)
    grouped = ShotOrder(30, batch_size=6, epochs=1, seed=0, groups=groups).order(0)
    assert sorted(grouped) == list(range(30))
    assert [len(set(groups[grouped[at : at + 3]])) for at in range(0, 30, 3)] == [1] * 10


def test_weights_stand_in_the_fingerprint_and_the_recipe_of_before_in_none() -> None:
    def described(**given) -> dict:
        return Tuning(torch.optim.AdamW, **given).description()

    plain = described()
    assert not {"objective", "temperature", "pair_column", "measures"} & set(plain)
    assert described(temperature=0.5, measures=["size"]) == plain
    one = described(objective={"class_texts": 1, "same_patient": 0.5})
    assert one["objective"] == {"class_texts": 1.0, "same_patient": 0.5}
    assert one["temperature"] == 0.07
    assert one != described(objective={"class_texts": 1, "same_patient": 0.6})
    assert described(objective=["class_texts"])["objective"] == {"class_texts": 1.0}
    assert weights_of({"class_texts": 1, "consistency": 0}) == {"class_texts": 1.0}


TEXTS = Texts(np.array(["a", "b"]), np.array([[0, 0], [1, 1], [2, 0], [3, 1]]))
ONE_TEXT = Texts(np.array(["a", "a"]), TEXTS.pairs)


@pytest.mark.parametrize(
    ("weights", "given", "told"),
    [
        ({"consistency": 1}, {}, "by tuning.corrupt how they are corrupted"),
        ({"same_pair": 1}, {}, "needs tuning.pair_column"),
        ({"same_pair": 1}, {"pair_column": "visit"}, r"column 'visit'.*dataset\.unit_columns"),
        ({"measures": 1}, {}, r"needs tuning.measures=\[COLUMN"),
        ({"measures": 1}, {"measures": ("pair",)}, "'a' in column 'pair' of 'toy' is no number"),
    ],
)
def test_what_an_objective_lacks_is_said_in_a_sentence(weights, given, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Objectives(Settings(weights, **given), [head()], [shots()])


def test_data_without_patients_classes_or_texts_are_refused() -> None:
    for weights, one, of, told in (
        ("same_patient", shots(groups=None), head(), "needs patients"),
        (
            "same_patient",
            shots(groups=np.array(list("pqrs"))),
            head(),
            "needs two images of one patient",
        ),
        ("image_text", shots(), IdentityHead(), "it has neither"),
        ("image_text", shots(target=Labels(np.ones(4, np.int64))), head(), "have the same one"),
        ("image_text", shots(target=ONE_TEXT, label_kind=None), head(), "have the same one"),
        ("class_texts", replace(shots(), target=TEXTS, label_kind=None), head(), "take image_text"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            Objectives(Settings({weights: 1.0}), [of], [one])
    with pytest.raises(UnknownNameError, match="objective of tuning"):
        weights_of(["class_text"])
    with pytest.raises(ConfigurationError, match="is no weight"):
        weights_of({"class_texts": -1})
    with pytest.raises(ConfigurationError, match="a weight above 0"):
        weights_of([])
    pairs = TextPairs(torch.eye(2), TEXTS.pairs, 2.0)
    asked = SimpleNamespace(objectives=None, choose="best", corrupt=None, logit_scale=None)
    with pytest.raises(ConfigurationError, match=r"pass tuning\.choose=last"):
        asked_objectives(
            asked, torch.nn.ModuleList([pairs]), [replace(shots(), target=TEXTS, label_kind=None)]
        )


FAST = ("model=phantomclip_small", "dataset=phantoms_site_b", "dataset.per_class=3")
RUN = ("validation=false", "corruption=clean", "tuning=few_shot", "tuning.epochs=2")


@pytest.mark.slow
def test_an_adapter_is_tuned_by_several_objectives_and_others_make_another(workplace) -> None:
    every = "{class_texts:1,image_text:0.2,same_patient:0.5,consistency:1}"
    run = (*FAST, *RUN, "adapter=lora_corrupted", "adapter.rank=2", "tuning.fraction=0.7")
    assert medrobust(*run, "hydra.run.dir=plain") == 0
    assert medrobust(*run, f"tuning.objective={every}", "hydra.run.dir=several") == 0
    assert len(list(Path("outputs/store/adapters").iterdir())) == 2
    plain, several = (
        [row["value"] for row in rows(f"{folder}/results.csv")] for folder in ("plain", "several")
    )
    assert plain != several


def test_images_are_tuned_beside_their_reports(workplace, capsys) -> None:
    run = (*FAST, *RUN, "task=retrieval", "adapter=lora", "adapter.rank=2", "tuning.shots=30")
    assert medrobust(*run) == 1
    assert "pass tuning.choose=last" in capsys.readouterr().err
    assert medrobust(*run, "tuning.choose=last", "dry_run=true") == 0
    assert "30 images of phantoms_site_b" in capsys.readouterr().out
    assert medrobust(*run, "tuning.choose=last", "hydra.run.dir=out") == 0
    assert {row["adapter"] for row in rows("out/results.csv")} == {"lora 30 shots draw 0"}


def test_names_say_what_was_minimised() -> None:
    plain = Tuning(torch.optim.AdamW, shots=4)
    several = replace(plain, objective={"class_texts": 1, "consistency": 0.5})
    lora = SimpleNamespace(name="lora", trains_head=False)
    labels = [Stage(lora, one).label for one in (plain, several)]
    assert labels == ["lora 4 shots", "lora 4 shots, class_texts + 0.5 consistency"]
    assert Stage(SimpleNamespace(name="knn", trains_head=True), several).label == "knn 4 shots"
