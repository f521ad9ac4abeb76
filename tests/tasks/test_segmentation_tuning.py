"""What tuning loses on pixels of several classes, by hand, and adapters tuned by masks."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from segmented import ByGrey, segmented
from torch import Tensor
from tuning import experiment, tuning

from medrobust.adapters import Lora, Mvfa
from medrobust.adapters.linear_probe import LinearProbe
from medrobust.base.targets import OUTSIDE, Masks
from medrobust.datasets import PhantomLesions
from medrobust.datasets.sampling import few_shots
from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models import OwnSegmenter
from medrobust.tasks.base import ModelSide
from medrobust.tasks.map_view import View
from medrobust.tasks.pixel_losses import dice, dice_of_classes, focal, focal_of_classes
from medrobust.tasks.segmentation import Segmentation
from medrobust.tasks.segmentation.tuned import PixelObjective
from medrobust.tuning.shots import Place, Shots


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_losses_of_several_classes_are_those_by_hand() -> None:
    logits = drawn(2, 3, 4, 5)
    classes = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    inside = drawn(2, 4, 5, seed=2) > -0.5
    chance = np.exp(logits.double().numpy())
    chance /= chance.sum(axis=1, keepdims=True)
    truth = np.stack([classes.numpy() == kind for kind in range(3)], axis=1)
    right, mask = (chance * truth).sum(axis=1), inside.numpy()
    each = -((1 - right) ** 2) * np.log(right)
    wanted = [(one * own).sum() / own.sum() for one, own in zip(each, mask, strict=True)]
    np.testing.assert_allclose(focal_of_classes(logits, classes, inside), wanted, rtol=1e-5)
    own, shares = truth[:, 1:] * mask[:, None], chance[:, 1:] * mask[:, None]
    sums = (own + shares).sum(axis=(2, 3)) + 1
    overlap = (2 * (own * shares).sum(axis=(2, 3)) + 1) / sums
    wanted = (1 - overlap).mean(axis=1)
    np.testing.assert_allclose(dice_of_classes(logits, classes, inside), wanted, rtol=1e-5)


def test_of_one_class_beside_a_background_of_zero_they_are_those_of_one_class() -> None:
    logit, lesion = drawn(2, 4, 5), drawn(2, 4, 5, seed=1) > 0
    both = torch.stack([torch.zeros_like(logit), logit], dim=1)
    torch.testing.assert_close(focal_of_classes(both, lesion.long()), focal(logit, lesion))
    torch.testing.assert_close(dice_of_classes(both, lesion.long()), dice(logit, lesion))


class Fixed:
    """Says the same of every image."""

    blocks = (1,)

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.calls = logits, 0

    def __call__(self, features: Any, patches: Any, prompts: Any) -> Tensor:
        self.calls += 1
        return self.logits


def test_what_lies_outside_of_an_image_counts_in_neither_loss_nor_error() -> None:
    logits = drawn(1, 3, 8, 8)
    masks = torch.randint(0, 3, (1, 8, 8), generator=torch.Generator().manual_seed(1)).byte()
    seen = SimpleNamespace(features=torch.zeros(1, 2), patches=None)
    found = []
    for border in (0, 5):
        other = logits.clone()
        other[:, :, :2] += border
        cut = masks.clone()
        cut[:, :2] = OUTSIDE
        objective = PixelObjective(fixed := Fixed(other), View(), 3)
        part = SimpleNamespace(masks=cut)
        wrong, loss = objective.judged(seen, part)
        assert fixed.calls == 1
        assert torch.equal(loss, objective.losses(seen, part))
        found.append([loss, wrong])
    torch.testing.assert_close(found[0], found[1])
    answer = logits[0, :, 2:].argmax(dim=0)
    truth = masks[0, 2:]
    each = [
        2 * ((answer == k) & (truth == k)).sum() / ((answer == k).sum() + (truth == k).sum())
        for k in (1, 2)
    ]
    assert float(found[0][1]) == pytest.approx(1 - float(sum(each)) / 2, abs=1e-6)


def test_shots_of_sets_with_masks_alone_are_drawn_and_read_with_their_masks() -> None:
    pool = segmented("train", 13)
    chosen = few_shots(pool, shots=4, seed=1)
    assert len(chosen.shots) == 4
    assert not set(chosen.shots.groups) & set(chosen.selection.groups)
    batch = Shots([chosen.shots], masks=True).__getitems__([Place(row, 0, 1.0) for row in range(4)])
    part = batch.parts[0]
    rows = chosen.shots.index
    np.testing.assert_array_equal(part.masks, np.asarray(pool.target.values)[rows])
    assert part.labels.tolist() == [0] * 4


def test_the_border_around_own_masks_is_no_background_that_is_learned(tmp_path: Path) -> None:
    pool = segmented("train", 6)
    drawn = np.asarray(pool.target.values).copy()
    drawn[:, :8] = OUTSIDE
    bordered = replace(pool, target=Masks(drawn, "drawn", ignored=OUTSIDE))
    whole = Shots([bordered], masks=True)
    assert (whole.__getitems__([Place(2, 0, 1.0)]).parts[0].masks[0].numpy() == drawn[2]).all()
    source = OwnSegmenter(ByGrey())
    side = ModelSide(source, (), source.load)
    tuned = [
        Segmentation().tuned_head(data, side, trains_head=False)["tuned"]
        for data in (pool, replace(pool, target=replace(pool.target, ignored=OUTSIDE)), bordered)
    ]
    assert tuned[0] == tuned[1] == {"masks": "drawn"}  # no border, no other number
    assert tuned[2] != tuned[0]


def asked(folder: Path, adapter: Any, segmenter: str, **options: Any) -> Any:
    return experiment(
        folder,
        adapter=adapter,
        tuning=tuning(shots=2, epochs=3, batch_size=4, **options),
        datasets=(PhantomLesions(per_class=6),),
        task=Segmentation(segmenter=segmenter, probe_shots=6),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "segmenter"),
    [(Lora(rank=2), "words"), (Mvfa(bottleneck=8), "words"), (Lora(rank=2), "probe")],
    ids=("lora by words", "residual adapters by words", "lora by a probe"),
)
def test_adapters_learn_by_masks_what_pixels_show(
    tmp_path: Path, adapter: Any, segmenter: str
) -> None:
    given = asked(tmp_path, adapter, segmenter)
    done = adapted(given, Resources(), Store(given.where.store))
    metrics = done.model.adapter.record["metrics"]
    assert metrics["optimiser steps"] == 3
    assert 0 <= metrics["selection error"] <= 1
    assert np.isfinite(metrics["selection loss"])


def test_a_head_for_classes_cannot_be_tuned_for_pixels(tmp_path: Path) -> None:
    given = asked(tmp_path, LinearProbe(), "words")
    with pytest.raises(ConfigurationError, match="a probe on patches is its own"):
        adapted(given, Resources(), Store(given.where.store))
