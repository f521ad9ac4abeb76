"""What tuning loses on anomalies, by hand, and an adapter tuned from a command's parts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from grouped import changed
from torch import Tensor
from torch.nn import functional
from tuning import PROMPTS, experiment, tuning

from medrobust.adapters import Lora, Mvfa, NoAdapter
from medrobust.adapters.linear_probe import LinearProbe
from medrobust.datasets import PhantomLesions
from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models.patches import PatchFeatures, PatchLevel
from medrobust.tasks.anomaly import TASK
from medrobust.tasks.anomaly.losses import detection, enlarged
from medrobust.tasks.anomaly.tuned import StateObjective
from medrobust.tasks.pixel_losses import dice, focal
from medrobust.tuning.objective import Seen
from medrobust.tuning.recipe import CorruptedShots
from medrobust.tuning.shots import ShotPart, Shots


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_detection_is_cross_entropy_on_the_mean_logit() -> None:
    logits, abnormal = 3 * drawn(5, 6), torch.tensor([1, 0, 1, 0, 0.0])
    image = logits.double().mean(dim=1).numpy()
    chance = 1 / (1 + np.exp(-image))
    truth = -np.where(abnormal.numpy() > 0, np.log(chance), np.log(1 - chance))
    np.testing.assert_allclose(detection(logits, abnormal), truth, rtol=1e-5)


def test_the_published_detection_cannot_fall_below_its_floor() -> None:
    sure = torch.tensor([[50.0] * 4, [-50.0] * 4])
    found = detection(sure, torch.tensor([1.0, 0.0]), published=True).tolist()
    assert found == pytest.approx([0.31326, 0.69315], abs=1e-5)
    assert detection(sure, torch.tensor([1.0, 0.0])).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_focal_and_dice_are_those_by_hand() -> None:
    logits, lesion = drawn(2, 4, 5), drawn(2, 4, 5, seed=1) > 0.5
    chance = torch.sigmoid(logits.double()).numpy()
    right = np.where(lesion, chance, 1 - chance)
    truth = (-((1 - right) ** 2) * np.log(right)).mean(axis=(1, 2))
    np.testing.assert_allclose(focal(logits, lesion), truth, rtol=1e-5)
    np.testing.assert_allclose(focal(logits, lesion, published=True), truth, rtol=1e-3)
    both = (chance * lesion.numpy()).sum(axis=(1, 2))
    sums = chance.sum(axis=(1, 2)) + lesion.numpy().sum(axis=(1, 2))
    np.testing.assert_allclose(dice(logits, lesion), 1 - (2 * both + 1) / (sums + 1), rtol=1e-5)


def published_focal(logits: Tensor, lesion: Tensor) -> Tensor:
    """The published loss in its own form: two classes, one-hot targets that are clamped."""
    chances = torch.softmax(torch.stack([torch.zeros_like(logits), logits]), dim=0)
    one_hot = torch.stack([~lesion, lesion]).float().clamp(1e-5, 1 - 1e-5)
    right = (one_hot * chances).sum(dim=0) + 1e-5
    return (-((1 - right) ** 2) * right.log()).mean()


def test_the_published_focal_loss_is_the_published_one() -> None:
    logits, lesion = 4 * drawn(1, 6, 6), drawn(1, 6, 6, seed=1) > 0
    found = focal(logits, lesion, published=True)[0]
    torch.testing.assert_close(found, published_focal(logits[0], lesion[0]))


def test_losses_of_sure_logits_are_finite_with_their_gradients() -> None:
    logits = torch.tensor([[[1000.0, -1000.0]]], requires_grad=True)
    lesion = torch.tensor([[[0, 1]]])
    total = focal(logits, lesion) + dice(logits, lesion)
    total.sum().backward()
    assert torch.isfinite(total).all()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_places_are_enlarged_rows_first() -> None:
    logits = torch.arange(6.0)[None]
    found = enlarged(logits, (2, 3), (4, 6), corners=True)
    assert found.shape == (1, 4, 6)
    assert found[0, 0, 0] == 0
    assert found[0, 0, -1] == 2
    assert found[0, -1, -1] == 5


def part(masks: Tensor | None, labels: Any = (0, 1, 2)) -> ShotPart:
    rows = torch.arange(len(labels))
    return ShotPart(
        0, torch.zeros(3, 3, 8, 8), rows, torch.tensor(labels), torch.ones(3), ("a",), masks
    )


def levels(width: int = 4) -> PatchFeatures:
    names = ("classification", "segmentation")
    return PatchFeatures(
        [
            PatchLevel(
                block,
                drawn(3, 4, 9),
                (2, 2),
                None,
                {name: drawn(3, 4, width, seed=block + n) for n, name in enumerate(names)},
            )
            for block in (1, 5)
        ]
    )


@pytest.mark.parametrize("published", [False, True])
def test_the_objective_adds_up_blocks_and_branches(published: bool) -> None:
    states = functional.normalize(drawn(2, 4, seed=9), dim=-1)
    normal = torch.tensor([True, False, False])
    head = StateObjective(states, 20.0, normal, wants_masks=True)
    masks = (drawn(3, 8, 8, seed=3) > 0.5).to(torch.uint8)
    masks[0, :3] = 255  # of no image: neither a lesion nor normal
    seen = Seen(drawn(3, 4), levels(), published)
    target, expected = torch.tensor([0.0, 1, 1]), torch.zeros(3)
    for level in seen.patches.values():
        unit = {n: functional.normalize(v, dim=-1) for n, v in level.branches.items()}
        logits = {n: 20 * (v @ states[1] - v @ states[0]) for n, v in unit.items()}
        pixels = functional.interpolate(
            logits["segmentation"].view(3, 1, 2, 2), (8, 8), mode="bilinear",
            align_corners=published,
        )[:, 0]  # fmt: skip
        expected += detection(logits["classification"], target, published=published)
        for image, rows in enumerate((slice(3, None), slice(None), slice(None))):
            own, lesion = pixels[[image], rows], masks[[image], rows] == 1
            expected[image] += focal(own, lesion, published=published)[0] + dice(own, lesion)[0]
    torch.testing.assert_close(head.losses(seen, part(masks)), expected)
    alone = head.losses(seen, part(None))
    assert (alone < expected).all()


def test_without_branches_the_feature_of_the_image_is_asked() -> None:
    states = torch.eye(2, 4)
    head = StateObjective(states, 10.0, torch.tensor([True, False, False]), wants_masks=False)
    features = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    seen = Seen(features, PatchFeatures([]))
    truth = functional.softplus(torch.tensor([-10.0, -10, 10]))
    torch.testing.assert_close(head.losses(seen, part(None)), truth)
    wrong, loss = head.judged(seen, part(None))
    assert wrong.tolist() == [False, False, True]
    torch.testing.assert_close(loss, head.losses(seen, part(None)), rtol=0, atol=0)
    several = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert head.abnormal(several).tolist() == [0, 1, 0]


def test_masks_are_augmented_with_their_images() -> None:
    import albumentations

    image_set = PhantomLesions(per_class=2).load("train")
    flips = [albumentations.HorizontalFlip(p=0.5), albumentations.Rotate(30, p=0.7)]
    places = [SimpleNamespace(row=row, epoch=3, weight=1.0) for row in range(len(image_set))]

    def read(masks: bool) -> ShotPart:
        (found,) = Shots([image_set], augment=flips, seed=4, masks=masks).__getitems__(places).parts
        return found

    with_masks = read(True)
    assert torch.equal(with_masks.images, read(False).images)
    assert read(False).masks is None
    plain = np.asarray(image_set.target.masks)
    assert not np.array_equal(with_masks.masks.numpy(), plain)
    # A picture that is its own mask stays so: both are moved by one map.
    marked = replace(
        image_set, images=np.repeat(np.where(plain > 0, 255, 0).astype("uint8")[..., None], 3, -1)
    )
    (moved,) = Shots([marked], augment=flips[:1], seed=4, masks=True).__getitems__(places).parts
    assert torch.equal(moved.images[:, 0] > 0, moved.masks > 0)
    assert not torch.equal(moved.masks > 0, torch.from_numpy(plain > 0))


def asked(folder: Path, adapter: Any, **options: Any) -> Any:
    return experiment(
        folder,
        adapter=adapter,
        tuning=tuning(shots=2, epochs=3, batch_size=4, **options),
        datasets=(PhantomLesions(per_class=6),),
        task=TASK,
    )


def tuned(given: Any) -> tuple[Any, Any]:
    resources, store = Resources(), Store(given.where.store)
    done = adapted(given, resources, store)
    return done, resources.model(done.model)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [Mvfa(bottleneck=8), Mvfa(form="published"), Lora(rank=2)])
def test_adapters_learn_what_is_normal_from_shots_and_masks(tmp_path: Path, adapter: Any) -> None:
    done, model = tuned(asked(tmp_path, adapter))
    record = done.model.adapter.record
    assert record["metrics"]["optimiser steps"] == 3
    assert 0 <= record["metrics"]["selection error"] <= 1
    assert record["data"][0]["selection"]
    assert set(record["protocol"]) == set(getattr(adapter, "protocol", ()))
    again, other = tuned(asked(tmp_path / "again", adapter))
    assert again.model.adapter.description() == done.model.adapter.description()
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.no_grad():
        one, two = (m.encode_image_and_patches(m.preprocess(images), [2]) for m in (model, other))
    assert torch.equal(one[0], two[0])
    assert set(one[1][2].branches) == (
        {"classification", "segmentation"} if isinstance(adapter, Mvfa) else set()
    )


@pytest.mark.slow
def test_a_training_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medrobust.tuning.few_shot import FewShot

    whole, _ = tuned(asked(tmp_path / "whole", Mvfa(bottleneck=8)))
    step = FewShot.training_step

    def cut(self: FewShot, batch: Any, number: int) -> Any:
        if batch.epoch == 2:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(FewShot, "training_step", cut)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            tuned(asked(tmp_path / "cut", Mvfa(bottleneck=8)))
    resumed, _ = tuned(asked(tmp_path / "cut", Mvfa(bottleneck=8)))
    assert resumed.model.adapter.description() == whole.model.adapter.description()


def test_what_cannot_be_tuned_for_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a linear probe answers with classes"):
        tuned(asked(tmp_path, LinearProbe()))
    from medrobust.corruptions import Corruption

    corrupt = CorruptedShots([Corruption("brightness")])
    with pytest.raises(ConfigurationError, match=r"tuning\.corrupt may move pixels"):
        tuned(asked(tmp_path, Mvfa(bottleneck=8), corrupt=corrupt))


@pytest.mark.slow
def test_two_processes_tune_what_one_does(tmp_path: Path) -> None:
    given = asked(tmp_path / "1", Mvfa(bottleneck=8))
    alone, _ = tuned(given)
    two = experiment(
        tmp_path / "2", devices=2, adapter=Mvfa(bottleneck=8),
        tuning=tuning(shots=2, epochs=3, batch_size=4),
        datasets=(PhantomLesions(per_class=6),), task=TASK,
    )  # fmt: skip
    both, _ = tuned(two)
    one, other = (
        torch.cat([value.flatten() for value in states(done).values()]) for done in (alone, both)
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def states(done: Any) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(Path(done.model.adapter.path) / "adapter_model.safetensors")


def test_an_experiment_without_an_adapter_stays_untuned(tmp_path: Path) -> None:
    given = changed(asked(tmp_path, Lora(rank=2)), adapter=NoAdapter(), tuning=None)
    assert given.model.stage is None


def test_branches_make_scores_and_maps() -> None:
    from medrobust.tasks.anomaly.maps import StateScorer

    states, seen = functional.normalize(drawn(2, 4, seed=9), dim=-1), levels()
    maps, scores = StateScorer(states, 20.0, seen.blocks)(drawn(3, 4), seen)
    found: dict[str, list[Tensor]] = {"classification": [], "segmentation": []}
    for level in seen.values():
        for name, values in level.branches.items():
            unit = functional.normalize(values, dim=-1)
            found[name].append(20 * (unit @ states[1] - unit @ states[0]))
    truth = torch.stack(found["classification"]).mean(dim=(0, 2))
    torch.testing.assert_close(scores, truth, atol=1e-5, rtol=1e-5)
    where = torch.stack([torch.sigmoid(one) for one in found["segmentation"]]).mean(dim=0)
    torch.testing.assert_close(maps.flatten(1), where)


@pytest.mark.parametrize("masks", [True, False])
def test_a_tuned_model_is_asked_by_its_branches(tmp_path: Path, masks: bool) -> None:
    from medrobust.base.targets import Labels
    from medrobust.tasks.base import ModelSide

    _, model = tuned(asked(tmp_path, Mvfa(blocks=[1], bottleneck=8)))
    data = PhantomLesions(per_class=2).load("test")
    if not masks:
        data = replace(data, target=Labels(data.labels))
    val = PhantomLesions(per_class=2).load("val")
    data = replace(data, other_split=lambda name: val)
    side = ModelSide(SimpleNamespace(name="small", micro_batch=8), [PROMPTS], lambda: model, None)
    (description,) = TASK.heads(data, side)
    assert description["maps"]["blocks"] == [1]
    rows = TASK.head(side, description, data)
    assert rows.blocks == (1,)
