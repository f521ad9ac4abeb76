"""BATCLIP, CLIPArTT and WATT against rules written out by hand."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scenes import Given, entropy, images, keys, same, train_mode, tuned
from torch.nn import functional

from medrobust.adapters.online import METHODS, Adapting, BatClip, ClipArtt, Watt
from medrobust.adapters.online.paired import Sentences
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip
from medrobust.models.zero_shot import ZeroShotHead, class_features

TEXTS = [
    ["an image of a cat", "a cat"],
    ["an image of a red dog", "a red dog"],
    ["an image of a tree", "a tree"],
    ["an image of a house", "a house"],
]
FEW = dict.fromkeys(("statistics",), "training")
BY_STEPS = [
    one
    for one in METHODS.values()
    if issubclass(one, Adapting) and "steps" in one.__dataclass_fields__
]


@pytest.fixture(scope="module")
def clip() -> Given:
    """The small demonstration model with four classes of two sentences."""
    model = PhantomClip(variant="small").load()
    for weight in model.parameters():
        weight.requires_grad_(requires_grad=False)
    head = ZeroShotHead(class_features(model, TEXTS), None, model.logit_scale)
    return Given(model=model, head=head, texts=TEXTS)


def unit_texts(model: Any, texts: Any = TEXTS) -> torch.Tensor:
    means = []
    for group in texts:
        ids, mask = model.tokenizer(group)
        means.append(functional.normalize(model.text_encoder(ids, mask.bool()), dim=1).mean(dim=0))
    return functional.normalize(torch.stack(means), dim=1)


def check_weights(session: Any, weights: Any) -> None:
    assert session.weights.keys() == weights.keys()
    for name, weight in weights.items():
        same(session.weights[name], weight)


def test_batclip_moves_both_towers_by_its_three_losses(clip: Given) -> None:
    session = BatClip(rate=1e-3).begin(clip)
    found = session.observe(images(), keys())
    model = train_mode(clip.model)
    weights = tuned(model)
    assert any(name.startswith("text_encoder") for name in weights)
    pixels = model.preprocess(images())
    embedded, texts = model.visual_encoder(pixels), unit_texts(model)
    logits = model.logit_scale * functional.normalize(embedded, dim=1) @ texts.T
    same(found, logits, 1e-3)
    labels = logits.argmax(dim=1)
    means = {int(k): embedded[labels == k].mean(dim=0) for k in labels.unique()}
    near = sum(mean @ texts[k] for k, mean in means.items()) / len(means)
    apart = sum(
        1 - functional.cosine_similarity(a, b, dim=0)
        for k, a in means.items()
        for other, b in means.items()
        if k != other
    )
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=0.01)
    (entropy(logits.double()).mean() - near - apart).backward()
    optimizer.step()
    # a first step of Adam has the length of its rate, and only the sign of a gradient decides
    agree = [(session.weights[name] - weight).abs() < 1e-5 for name, weight in weights.items()]
    assert torch.cat([one.flatten() for one in agree]).float().mean() > 0.98


def loss_by_hand(z: torch.Tensor, t: torch.Tensor, scale: float) -> torch.Tensor:
    """Each image against the texts of all, in sums of plain words."""
    alike = (z @ z.T + t @ t.T) / 2 / 0.01
    total = torch.zeros(())
    for i in range(len(z)):
        chances = torch.log_softmax(torch.stack([scale * z[i] @ t[j] for j in range(len(t))]), 0)
        targets = [torch.softmax(alike[j], 0)[i] for j in range(len(t))]
        total = total - sum(a * b for a, b in zip(targets, chances, strict=True)) / len(z)
    return total


def descend(weights: Any, momenta: Any, rate: float) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            if weight.grad is not None:
                momenta[name] = 0.9 * momenta.get(name, 0.0) + weight.grad
                weight -= rate * momenta[name]
                weight.grad = None


def test_clipartt_pairs_each_image_with_a_text_of_its_likeliest_classes(clip: Given) -> None:
    method = ClipArtt(rate=0.01, steps=2, classes=2, optimizer="sgd")
    session = method.begin(clip)
    found = session.observe(images(), keys())
    model, momenta = train_mode(clip.model), {}
    weights = {n: w for n, w in tuned(model).items() if n.startswith("visual")}
    pixels = model.preprocess(images())
    names = ["cat", "red dog", "tree", "house"]
    for _ in range(2):
        z = functional.normalize(model.visual_encoder(pixels), dim=1)
        ranks = (z @ clip.head.present.T).topk(2, dim=1).indices
        sentences = [f"an image of a {names[a]} or {names[b]}" for a, b in ranks.tolist()]
        loss_by_hand(z, clip.model.encode_text(sentences), model.logit_scale).backward()
        descend(weights, momenta, 0.01)
    check_weights(session, weights)
    z = functional.normalize(model.visual_encoder(pixels), dim=1)
    same(found, model.logit_scale * z @ clip.head.present.T, 1e-3)


@pytest.mark.parametrize("parallel", [False, True])
def test_watt_averages_the_weights_behind_each_template(clip: Given, parallel: bool) -> None:
    templates = ("a photo of a {}", "art of the {}.")
    options = {"templates": templates, "optimizer": "sgd", "parallel": parallel}
    method = Watt(rate=0.01, steps=1, rounds=2, **options)
    session = method.begin(clip)
    found = session.observe(images(), keys())
    model, momenta = train_mode(clip.model), {}
    weights = {n: w for n, w in tuned(model).items() if n.startswith("visual")}
    pixels = model.preprocess(images())
    names = ["cat", "red dog", "tree", "house"]
    texts = [clip.model.encode_text([t.format(n) for n in names]) for t in templates]
    for number in range(2):
        behind = []
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        for of_template in texts:
            if parallel:
                momenta = momenta if number else {}
                with torch.no_grad():
                    for name, weight in weights.items():
                        weight.copy_(start[name])
            z = functional.normalize(model.visual_encoder(pixels), dim=1)
            own = of_template[(z @ of_template.T).argmax(dim=1)]
            loss_by_hand(z, own, model.logit_scale).backward()
            descend(weights, momenta, 0.01)
            behind.append({name: weight.detach().clone() for name, weight in weights.items()})
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_((behind[0][name] + behind[1][name]) / 2)
    check_weights(session, weights)
    z = functional.normalize(model.visual_encoder(pixels), dim=1)
    mean = functional.normalize((texts[0] + texts[1]) / 2, dim=1)
    same(found, model.logit_scale * z @ mean.T, 1e-3)


@pytest.mark.parametrize("kind", [BatClip, ClipArtt, Watt])
@pytest.mark.parametrize("options", [{"steps": 0}, {"rate": 0}])
def test_without_a_step_it_is_the_model_to_the_bit(kind: Any, options: Any, clip: Given) -> None:
    method = kind(**options, **FEW)
    assert method.idle
    found = method.begin(clip).observe(images(), keys())
    features = clip.model.encode_image(clip.model.preprocess(images()))
    assert torch.equal(found, clip.head.logits(features))


@pytest.mark.parametrize("kind", BY_STEPS)
def test_every_method_answers_without_a_step(kind: Any, clip: Given) -> None:
    scene = replace(clip, source=lambda split, count: iter((images(7),)), kept={})
    found = kind(steps=0).begin(scene).observe(images(), keys())
    assert found.shape == (len(images()), len(TEXTS))
    assert found.isfinite().all()


@pytest.mark.parametrize("method", [ClipArtt(steps=1), Watt(steps=1, rounds=1)])
def test_of_one_image_alone_nothing_is_learned(method: Any, clip: Given) -> None:
    session = method.begin(clip)
    before = {name: weight.detach().clone() for name, weight in session.weights.items()}
    session.observe(images(count=1), keys(1))
    assert session.learned == 0
    for name, weight in session.weights.items():
        same(weight, before[name], 1e-6)
    session.observe(images(), keys())
    assert session.learned == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BatClip, ClipArtt, Watt])
def test_the_model_is_to_the_bit_what_it_was(kind: Any, clip: Given) -> None:
    before = copy.deepcopy(clip.model.state_dict())
    found = kind(rate=0.1, steps=1).begin(clip).observe(images(), keys())
    assert np.isfinite(found.numpy()).all()
    after = clip.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_what_differs_between_sentences_is_the_class() -> None:
    made = Sentences(["a photo of a cat.", "a photo of a red dog.", "a photo of a cat. twice"])
    assert made.names == ["cat.", "red dog.", "cat. twice"]
    framed = Sentences(["an image of tissue", "an image of fat tissue"])
    assert framed.names[1].startswith("fat")
    assert Sentences(["cat", "dog"]).any_of([1, 0]) == "dog or cat"
    assert Sentences(["x a b", "x c b"]).any_of([0, 1]) == "x a or c b"


def test_wrong_parameters_are_refused_by_name() -> None:
    for make, key in (
        (lambda: ClipArtt(classes=0), "classes"),
        (lambda: Watt(rounds=0), "rounds"),
        (lambda: Watt(templates=("a photo",)), "templates"),
        (lambda: Watt(templates=("a {}", "a {} and {x}")), "templates .*'a {} and {x}'"),
        (lambda: Watt(templates=("a {}}",)), "templates"),
        (lambda: Watt(templates=("{ a {}",)), "templates"),
        (lambda: BatClip(optimizer="adam"), "AdamW"),
    ):
        with pytest.raises(ConfigurationError, match=key):
            make()
