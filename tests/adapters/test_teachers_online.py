"""CoTTA and RoTTA against rules written out by hand."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scenes import CLASSES, Given, answers, images, keys, same, train_mode
from torch import nn

from medrobust.adapters.online import Cotta, Rotta
from medrobust.adapters.online.teachers import Memory, one_view_each
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key


def distilled(logits: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    return -(taught.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)


@pytest.mark.parametrize(("sure", "symmetric"), [(0.0, False), (1.0, False), (0.0, True)])
def test_cotta_distils_the_teacher_and_restores_by_chance(sure: float, symmetric: bool) -> None:
    scene, options = Given(), {"sure": sure, "symmetric": symmetric}
    method = Cotta(rate=0.05, optimizer="sgd", momentum=0.9, views=3, restored=0.2, **options)
    session = method.begin(scene)
    student, teacher = train_mode(scene.model), train_mode(scene.model)
    momenta: dict[str, Any] = {}
    for turn in range(2):
        batch = images(turn)
        found = session.observe(batch, keys())
        with torch.no_grad():
            taught = answers(teacher, batch)
            if sure:
                views = one_view_each(0, scene.stream, batch, keys(), 3, 0.5)
                taught = torch.stack([answers(teacher, view) for view in views]).mean(dim=0)
        same(found, taught, 1e-4)
        own = answers(student, batch)
        loss = distilled(own, taught)
        if symmetric:
            loss = loss / 2 - (own.softmax(dim=1) * taught.log_softmax(dim=1)).sum(dim=1) / 2
        loss.mean().backward()
        key = derive_key(0, scene.stream, "restored online", turn)
        pairs = zip(student.named_parameters(), teacher.parameters(), strict=True)
        with torch.no_grad():
            for number, ((name, weight), slow) in enumerate(pairs):
                if weight.grad is not None:
                    momenta[name] = 0.9 * momenta.get(name, 0.0) + weight.grad
                    weight -= 0.05 * momenta[name]
                    weight.grad = None
                slow.copy_(0.9 * slow + 0.1 * weight)
                draws = Draws(key, torch.zeros(1, dtype=torch.int64), number)
                back = draws.uniform(weight.numel()).reshape(weight.shape) < 0.2
                weight[back] = scene.model.get_parameter(name)[back]
    for mine, theirs in ((session.student, student), (session.teacher, teacher)):
        for name, weight in theirs.named_parameters():
            same(mine[name], weight)


class Slow(nn.Module):
    """Batch normalisation that moves its statistics while it learns, as RoTTA's does."""

    def __init__(self, layer: nn.BatchNorm2d, alpha: float) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(layer.weight.clone()),
            nn.Parameter(layer.bias.clone()),
        )
        self.mean, self.variance = layer.running_mean.clone(), layer.running_var.clone()
        self.alpha, self.eps = alpha, layer.eps

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            spread, middle = torch.var_mean(values, dim=(0, 2, 3), correction=0)
            mean = (1 - self.alpha) * mean + self.alpha * middle
            variance = (1 - self.alpha) * variance + self.alpha * spread
            self.mean, self.variance = mean.detach(), variance.detach()
        whole = (values - mean[:, None, None]) / (variance[:, None, None] + self.eps).sqrt()
        return whole * self.weight[:, None, None] + self.bias[:, None, None]


def slow(model: Any) -> Any:
    made = copy.deepcopy(model)
    made.visual_encoder[1] = Slow(made.visual_encoder[1], 0.3)
    made.visual_encoder[2][1] = Slow(made.visual_encoder[2][1], 0.3)
    return made.eval()


def test_rotta_learns_of_what_it_keeps_after_as_many_images() -> None:
    scene = Given()
    method = Rotta(rate=0.05, optimizer="sgd", memory=6, momentum=0.8, alpha=0.3)
    session = method.begin(scene)
    student, teacher = slow(scene.model), slow(scene.model)
    kept, count, momenta = Memory(6, CLASSES), 0, {}
    norms = [n for n, _ in student.named_parameters() if n in session.student]
    assert len(norms) == len(session.student) == 8
    for seed in (0, 1):
        batch = images(seed)
        found = session.observe(batch, keys())
        with torch.no_grad():
            logits = answers(teacher, batch)
        same(found, logits, 1e-4)
        chances = logits.softmax(dim=1)
        unsure = -(chances * chances.log()).sum(dim=1)
        for row in range(8):
            key = (batch[row], int(keys()[row]))
            kept.add(key, int(logits[row].argmax()), float(unsure[row]))
            count += 1
            if count % 6:
                continue
            pictures, ages = kept.content()
            whole = torch.stack([image for image, _ in pictures])
            index = np.array([number for _, number in pictures])
            (views,) = one_view_each(0, scene.stream, whole, index, 1, 0.5)
            student.train(), teacher.train()
            with torch.no_grad():
                taught = answers(teacher, whole)
            weights = torch.tensor([math.exp(-a) / (1 + math.exp(-a)) for a in ages])
            (distilled(answers(student, views), taught) * weights).mean().backward()
            student.eval(), teacher.eval()
            with torch.no_grad():
                for name, weight in student.named_parameters():
                    if name in norms:
                        momenta[name] = 0.9 * momenta.get(name, 0.0) + weight.grad
                        weight -= 0.05 * momenta[name]
                        ours = teacher.get_parameter(name)
                        ours.copy_(0.8 * ours + 0.2 * weight)
                    weight.grad = None
    for name in norms:
        same(session.student[name], student.get_parameter(name))
        same(session.teacher[name], teacher.get_parameter(name))


def test_the_memory_keeps_classes_apart_and_lets_old_and_unsure_images_go() -> None:
    kept = Memory(4, 2)
    for number, (label, unsure) in enumerate([(0, 0.1), (0, 0.6), (0, 0.3), (1, 0.2), (0, 0.69)]):
        kept.add((torch.zeros(1), number), label, unsure)
    pictures, ages = kept.content()
    assert [number for _, number in pictures] == [0, 2, 3]
    assert ages == [5 / 4, 3 / 4, 2 / 4]
    kept.add((torch.zeros(1), 9), 1, 0.5)
    kept.add((torch.zeros(1), 10), 1, 0.0)
    assert [number for _, number in kept.content()[0]] == [0, 2, 3, 10]


@pytest.mark.parametrize(
    "method",
    [Cotta(steps=0, statistics="training"), Cotta(rate=0, statistics="training"), Rotta(steps=0)],
)
def test_without_a_step_it_is_the_model_to_the_bit(method: Any) -> None:
    scene = Given()
    assert method.idle
    assert not method.ordered
    session = method.begin(scene)
    for seed in (0, 1):
        assert torch.equal(
            session.observe(images(seed), keys()), answers(scene.model, images(seed))
        )


def test_cotta_without_a_step_answers_by_statistics_of_the_micro_batch() -> None:
    scene = Given()
    found = Cotta(steps=0).begin(scene).observe(images(), keys())
    same(found, answers(train_mode(scene.model), images()), 1e-4)
    assert not torch.allclose(found, answers(scene.model, images()), atol=1e-2)


@pytest.mark.parametrize("method", [Cotta(rate=0.5, views=2), Rotta(rate=0.5, memory=4)])
def test_the_model_is_to_the_bit_what_it_was_and_twins_are_equal(method: Any) -> None:
    scene = Given()
    before = copy.deepcopy(scene.model.state_dict())
    sessions = [method.begin(scene), method.begin(scene)]
    first, second = ([one.observe(images(s), keys()) for s in (0, 1, 2)] for one in sessions)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    after = scene.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_wrong_parameters_are_refused_by_name() -> None:
    for make, key in (
        (lambda: Cotta(momentum=1.5), "momentum"),
        (lambda: Cotta(views=0), "views"),
        (lambda: Rotta(memory=0), "memory"),
        (lambda: Rotta(statistics="training"), "statistics"),
    ):
        with pytest.raises(ConfigurationError, match=key):
            make()
