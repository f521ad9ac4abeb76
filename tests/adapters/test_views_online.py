"""Views, ZERO, MTA, MEMO and TPT against rules written out by hand."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scenes import Given, answers, entropy, images, keys, same
from torch import nn
from torch.nn import functional

from medrobust.adapters.online import MTA, TPT, Memo, Zero
from medrobust.adapters.online.memo import Prompts
from medrobust.adapters.online.views import FromViews, crops, votes
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip
from medrobust.models.zero_shot import ZeroShotHead, class_features

TEXTS = [["an image of a cat"], ["an image of a red dog"], ["an image of a tree"]]


@pytest.fixture(scope="module")
def clip() -> Given:
    """The small demonstration model with three sentences."""
    model = PhantomClip(variant="small").load()
    head = ZeroShotHead(class_features(model, TEXTS), None, model.logit_scale)
    return Given(model=model, head=head, texts=TEXTS)


@pytest.mark.parametrize("method", [Zero(views=6), MTA(views=6), Memo(views=6)])
def test_an_image_has_the_same_answer_in_any_company(method: FromViews) -> None:
    scene = Given()
    whole = method.begin(scene).observe(images(), keys())
    alone = method.begin(scene).observe(images()[3:5], keys()[3:5])
    same(whole[3:5], alone)
    others = type(method)(views=6, seed=1).begin(scene).observe(images(), keys())
    assert not torch.equal(whole, others)


def test_views_are_keyed_by_image_and_seed_and_begin_with_the_image() -> None:
    method = Zero(views=4)
    shown = method.shown(images(), keys(), "toy/test")
    assert shown.shape == (8, 4, 3, 24, 24)
    assert torch.equal(shown[:, 0], images())
    assert torch.equal(method.shown(images()[2:3], keys()[2:3], "toy/test")[0], shown[2])
    assert not torch.equal(method.shown(images(), keys(), "toy/val")[:, 1], shown[:, 1])


def test_the_largest_crop_is_the_image_and_its_flip_the_mirror() -> None:
    draws = torch.tensor([[[1.0, 0.5, 0.3, 0.3, 0.9], [1.0, 0.5, 0.3, 0.3, 0.1]]]).double()
    (straight, flipped), = crops(images(count=1), draws, 0.08, flip=True)  # fmt: skip
    assert torch.equal(straight, images(count=1)[0])
    assert torch.equal(flipped, images(count=1)[0].flip(2))


def test_a_crop_shows_its_part_of_the_image() -> None:
    ramp = torch.arange(24, dtype=torch.uint8).expand(1, 1, 24, 24).contiguous()
    draws = torch.tensor([[[0.0, 0.5, 1.0, 0.0, 0.9]]]).double()
    ((cut,),) = crops(ramp, draws, 0.25, flip=True)  # the right half, at its double size
    assert (cut[0, 0, 0], cut[0, 0, -1]) == (12, 23)


def test_zero_counts_the_votes_of_sure_views() -> None:
    scene, method = Given(), Zero(views=10, share=0.5)
    found = method.begin(scene).observe(images(), keys())
    for row, views in enumerate(method.shown(images(), keys(), scene.stream)):
        logits = answers(scene.model, views).detach()
        surest = sorted(range(10), key=lambda view: float(entropy(logits)[view]))
        predicted = [int(logits[view].argmax()) for view in surest]
        counts = [predicted[:5].count(k) for k in range(3)]
        tied = [k for k in range(3) if counts[k] == max(counts)]
        if len(tied) > 1:
            counts[next((k for k in predicted[5:] if k in tied), tied[0])] += 1
        np.testing.assert_allclose(found[row], np.log(np.array(counts) + 1e-3), atol=1e-6)


def test_ties_without_further_views_go_to_the_first_class() -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
    assert votes(logits, 2).argmax() == 0


def test_mta_finds_the_mode_of_the_published_rule() -> None:
    scene, method = Given(), MTA(views=12)
    found = method.begin(scene).observe(images(), keys())
    for row, views in enumerate(method.shown(images(), keys(), scene.stream)):
        with torch.no_grad():
            z = scene.model.encode_image(scene.model.preprocess(views)).double().numpy()
            p = torch.softmax(answers(scene.model, views), dim=1).double().numpy()
        apart = ((z[:, None] - z[None]) ** 2).sum(axis=2)
        width = 0.5 * np.sort(apart, axis=1)[:, 1 : int(0.3 * 11) + 1].mean(axis=1)
        y, m = np.full(12, 1 / 12), z[0]
        for _ in range(5):
            d = np.exp(-((z - m) ** 2).sum(axis=1) / (2 * width))
            for _ in range(5):
                old, raw = y, (d + 4 * (p @ p.T * y[None]).sum(axis=1)) / 0.2
                y = np.exp(raw - raw.max()) / np.exp(raw - raw.max()).sum()
                if np.linalg.norm(old - y) < 1e-6:
                    break
            for _ in range(5):
                old = m
                weights = np.exp(-((z - m) ** 2).sum(axis=1) / (2 * width)) * y
                m = (weights[:, None] * z).sum(axis=0) / weights.sum()
                m = m / np.linalg.norm(m)
                if np.linalg.norm(old - m) < 1e-6:
                    break
        expected = scene.head.logit_scale * scene.head.present.double().numpy() @ m
        np.testing.assert_allclose(found[row], expected, atol=2e-3)


def mixed(model: Any, share: float) -> Any:
    """A copy whose batch normalisation mixes statistics, none of which gradients pass."""
    made = copy.deepcopy(model)
    for layer in [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]:

        def forward(values: torch.Tensor, layer: Any = layer) -> torch.Tensor:
            new = values.detach()
            mean = (1 - share) * layer.running_mean + share * new.mean(dim=(0, 2, 3))
            spread = new.var(dim=(0, 2, 3), correction=0)
            variance = (1 - share) * layer.running_var + share * spread
            whole = (values - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt()
            return whole * layer.weight[:, None, None] + layer.bias[:, None, None]

        layer.forward = forward
    return made


def test_memo_takes_a_step_for_each_image_alone() -> None:
    scene, method = Given(), Memo(views=5, rate=0.1)
    found = method.begin(scene).observe(images(count=2), keys(2))
    for row, views in enumerate(method.shown(images(count=2), keys(2), scene.stream)):
        model = mixed(scene.model, 1 / 17)
        chances = torch.softmax(answers(model, views), dim=1).mean(dim=0)
        (-(chances * chances.log()).sum()).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
            same(found[row], answers(model, views[:1])[0], 1e-4)


def test_tpt_moves_the_first_words_that_all_sentences_share(clip: Given) -> None:
    method = TPT(views=10, share=0.3, rate=0.05)
    pictures = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (1, 3, 112, 112), dtype=np.uint8)
    )
    found = method.begin(clip).observe(pictures, keys(1))
    views = method.shown(pictures, keys(1), clip.stream)[0]
    model = copy.deepcopy(clip.model)
    sentences = [group[0] for group in TEXTS]
    ids, mask = model.tokenizer(sentences)
    table = model.text_encoder.token.weight
    begin = int(model.tokenizer(["dog"])[0][0, 0] == model.tokenizer(["x-ray"])[0][0, 0])
    words = nn.Parameter(table[ids[0, begin : begin + 4]].detach().clone())

    def texts() -> torch.Tensor:
        class Put(nn.Module):
            def forward(self, given: torch.Tensor) -> torch.Tensor:
                whole = table.detach()[given].clone()
                whole[:, begin : begin + 4] = words
                return whole

        model.text_encoder.token = Put()
        return functional.normalize(model.text_encoder(ids, mask.bool()), dim=1)

    with torch.no_grad():
        features = model.encode_image(model.preprocess(views))
    logits = model.logit_scale * features @ texts().T
    surest = entropy(logits.double()).argsort()[:3]
    mean = logits[surest].softmax(dim=1).mean(dim=0)
    optimizer = torch.optim.AdamW([words], lr=0.05)
    (-(mean * mean.log()).sum()).backward()
    optimizer.step()
    with torch.no_grad():
        same(found, model.logit_scale * features[:1] @ texts().T, 1e-3)


def test_words_that_are_put_back_give_the_models_class_texts(clip: Given) -> None:
    prompts = Prompts(clip.model, [group[0] for group in TEXTS], 4)
    assert prompts.words.shape[0] == 4
    same(prompts.texts(prompts.words), clip.head.present)
    with pytest.raises(ConfigurationError, match="share none"):
        Prompts(clip.model, ["cat", "dog"], 4)


@pytest.mark.parametrize(
    "method",
    [
        Zero(views=1),
        MTA(views=1),
        Memo(steps=0, prior=math.inf),
        Memo(rate=0, prior=math.inf),
        TPT(steps=0),
    ],
)
def test_without_views_or_steps_it_is_the_model_to_the_bit(method: Any, clip: Given) -> None:
    scene = clip if isinstance(method, TPT) else Given()
    model, head = scene.model, scene.head
    pictures = images()
    with torch.no_grad():
        expected = head.logits(model.encode_image(model.preprocess(pictures)))
    assert method.idle
    assert torch.equal(method.begin(scene).observe(pictures, keys()), expected)


def test_wrong_parameters_are_refused_by_name() -> None:
    for make, key in (
        (lambda: Zero(views=0), "views"),
        (lambda: Zero(share=2), "share"),
        (lambda: Memo(prior=-1), "prior"),
        (lambda: TPT(tokens=0), "tokens"),
        (lambda: MTA(smallest=1.5), "smallest"),
    ):
        with pytest.raises(ConfigurationError, match=key):
            make()
