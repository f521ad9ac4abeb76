"""The loop over cells: what shares an encoding, what a failure costs, what changes no number."""

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from cells import Wrapped, experiment
from grouped import changed
from pytorch_lightning import Trainer
from torch import Tensor

from medrobust.corruptions import Corruption, Suite
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done, InOrder, read_cells
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, MedRobustError
from medrobust.models import OwnModel, PhantomClip
from medrobust.models.phantomclip import PhantomCLIP
from medrobust.models.speed import Speed

RESOURCES = Resources()
IMAGES = 10


def run(given: Experiment) -> list[Done]:
    done: list[Done] = []
    CellRunner(given, RESOURCES, Store(given.where.store)).run(plan(given, RESOURCES), done.append)
    return done


def logits(given: Experiment) -> list[bytes]:
    run(given)
    return [
        cell.arrays["logits"].tobytes()
        for cell in read_cells(Store(given.where.store), plan(given, RESOURCES))
    ]


def encoded_images(given: Experiment, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the images that the model encodes while the experiment runs."""
    counted: list[int] = []
    whole = PhantomCLIP._image_embedding

    def count(self: Any, pixels: Tensor) -> Tensor:
        counted.append(len(pixels))
        return whole(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(PhantomCLIP, "_image_embedding", count)
        run(given)
    return sum(counted)


def test_cells_that_are_equal_under_two_suites_are_encoded_once(tmp_path, monkeypatch) -> None:
    twins = (Corruption("pixelate", "imagenet_c"), Corruption("pixelate", "medimeta_c"))
    given = experiment(tmp_path / "both", *twins)
    micro_batches = -(-IMAGES // given.model.source.micro_batch)
    encoded = encoded_images(given, monkeypatch)
    assert encoded == 2 * micro_batches * given.model.source.micro_batch  # clean and one pixelate
    cells = read_cells(Store(given.where.store), plan(given, RESOURCES))
    assert [cell.spec.suite for cell in cells] == ["none", "imagenet_c", "medimeta_c"]
    assert np.array_equal(cells[1].arrays["logits"], cells[2].arrays["logits"])


def test_a_cell_that_another_suite_has_in_the_store_is_copied(tmp_path, monkeypatch) -> None:
    first = experiment(tmp_path, Corruption("pixelate", "imagenet_c"))
    run(first)
    second = experiment(tmp_path, Corruption("pixelate", "medimeta_c"))
    assert encoded_images(second, monkeypatch) == 0
    before, after = (
        read_cells(Store(tmp_path), plan(given, RESOURCES))[1] for given in (first, second)
    )
    assert after.spec == replace(before.spec, suite="medimeta_c")
    assert np.array_equal(after.arrays["logits"], before.arrays["logits"])
    assert [path.name for path in after.examples] == [path.name for path in before.examples]


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
        ),
    ],
)
def test_features_are_those_of_a_plain_loop_over_micro_batches(tmp_path, device) -> None:
    column = Corruption("gaussian_noise")
    trainer = partial(Trainer, accelerator=device, devices=1, default_root_dir=tmp_path)
    given = experiment(tmp_path, column, severities=(5,), keep_features=True, trainer=trainer)
    run(given)
    (part,) = plan(given, RESOURCES)
    model = RESOURCES.model(given.model).to(device)
    images = torch.from_numpy(np.stack([*part.image_set.images])).movedim(-1, 1).to(device)
    drawn = {
        "seed": given.data.seed,
        "stream": part.image_set.stream,
        "index": part.image_set.index,
    }
    corrupted = column(images, severity=5, **drawn)
    size = given.model.source.micro_batch
    padded = torch.cat([corrupted, corrupted.new_zeros(-len(images) % size, *images.shape[1:])])
    with torch.no_grad():
        encoded = [model.encode_image(model.preprocess(batch)) for batch in padded.split(size)]
    expected = torch.cat(encoded)[: len(images)].cpu().numpy()
    found = Store(tmp_path).read_features(part.cells[1].key.encoding_fingerprint)
    assert np.array_equal(found, expected)


def test_a_cell_holds_the_logit_scale_as_a_fact_that_no_fingerprint_has(tmp_path) -> None:
    given = experiment(tmp_path)
    run(given)
    (cell, *_) = read_cells(Store(tmp_path), plan(given, RESOURCES))
    assert cell.record["logit_scale"] == RESOURCES.model(given.model).logit_scale
    assert "logit_scale" not in str(plan(given, RESOURCES)[0].cells[0].key)


def test_features_are_kept_for_cells_that_were_finished_without(tmp_path, monkeypatch) -> None:
    given = experiment(tmp_path)
    run(given)
    keeping = changed(given, keep_features=True)
    assert encoded_images(keeping, monkeypatch) > 0
    assert len(list((tmp_path / "features").iterdir())) == 2
    assert encoded_images(keeping, monkeypatch) == 0
    assert all(not done.computed for done in run(keeping))


def test_a_run_that_finds_all_its_cells_builds_no_trainer(tmp_path) -> None:
    run(experiment(tmp_path))

    def refuse(**_: Any) -> Trainer:
        raise AssertionError("a Trainer was built")

    found = run(experiment(tmp_path, trainer=refuse))
    assert [done.computed for done in found] == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 9])
def test_out_of_memory_batches_are_halved_and_no_number_changes(tmp_path, limit, caplog) -> None:
    def fit(images: Tensor) -> None:
        if len(images) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = logits(experiment(tmp_path / "whole"))
    small = experiment(tmp_path / "small", Wrapped(fit), batch_size="auto")
    assert logits(small) == expected
    assert "batch_size=64: going on with 32" in caplog.text


def test_a_micro_batch_that_does_not_fit_is_named_and_finished_cells_are_kept(tmp_path) -> None:
    class Hungry(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, pixels: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return pixels.mean(dim=(2, 3)).repeat(1, 7)[:, :20] * self.scale

    given = experiment(tmp_path, model=OwnModel(Hungry(), name="hungry", micro_batch=8))
    with pytest.raises(ConfigurationError, match=r"model\.micro_batch=8 of 'hungry'"):
        run(given)
    assert [cell.spec.corruption for cell in Store(tmp_path).cells()] == ["clean"]


@pytest.mark.slow
@pytest.mark.parametrize("error", [ConfigurationError("broken"), KeyboardInterrupt()])
def test_what_stops_all_cells_keeps_those_before_it_and_leaves_no_thread(tmp_path, error) -> None:
    def stop(images: Tensor) -> None:
        raise error

    columns = (Corruption("pixelate"), Corruption("contrast"), Wrapped(stop))
    given = experiment(tmp_path, *columns)
    with pytest.raises(type(error)):
        run(given)
    assert {cell.spec.corruption for cell in Store(tmp_path).cells()} == {
        "clean",
        "pixelate",
        "contrast",
    }
    assert not [t for t in threading.enumerate() if t.name.startswith("medrobust-ahead")]
    assert sum(done.computed for done in run(experiment(tmp_path, *columns[:2]))) == 0


def test_calls_behind_run_in_order_and_the_first_error_comes_out() -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number == 1:
            raise MedRobustError("one")

    def call_five() -> None:
        with InOrder() as behind:
            for number in range(5):
                behind(call, number)

    with pytest.raises(MedRobustError, match="one"):
        call_five()
    assert ran == [0, 1, 2]  # the error came out of the next call


def test_a_call_behind_waits_for_all_before_it_so_that_one_at_most_is_lost(monkeypatch) -> None:
    waited: list[int] = []

    @dataclass
    class Submitted:
        number: int

        def result(self) -> None:
            waited.append(self.number)

    with InOrder() as behind:
        monkeypatch.setattr(behind._thread, "submit", lambda call, number: Submitted(number))
        for number in range(4):
            behind(print, number)
            assert waited == list(range(number))


def test_no_batch_size_worker_or_order_of_the_plan_changes_a_number(tmp_path) -> None:
    columns = (Corruption("gaussian_noise"), Corruption("motion_blur"))
    expected = logits(experiment(tmp_path / "a", *columns))
    workers = {"num_workers": 2, "batch_size": 7, "keep_features": True}
    assert logits(experiment(tmp_path / "workers", *columns, **workers)) == expected
    clean, noise, blur = expected
    turned = experiment(tmp_path / "turned", *columns[::-1], batch_size="auto")
    assert logits(turned) == [clean, blur, noise]


def test_the_last_micro_batch_runs_in_the_precision_of_the_others(tmp_path) -> None:
    dtypes: list[torch.dtype] = []

    class Asks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 20)

        def forward(self, pixels: Tensor) -> Tensor:
            out = self.layer(pixels.mean(dim=(2, 3)))
            dtypes.append(out.dtype)
            return out

    given = experiment(
        tmp_path,
        model=OwnModel(Asks(), name="asks", micro_batch=8),
        precision="bf16-mixed",
        trainer=partial(Trainer, accelerator="cpu", precision="bf16-mixed"),
    )
    run(given)
    assert dtypes == [torch.bfloat16] * 4


@pytest.mark.slow
def test_a_suite_is_one_test_run(tmp_path, monkeypatch) -> None:
    calls: list[int] = []
    whole = Trainer.test
    monkeypatch.setattr(
        Trainer, "test", lambda self, *a, **k: calls.append(1) or whole(self, *a, **k)
    )
    given = experiment(tmp_path, corruption=Suite("medimeta_c"))
    assert len(run(given)) == 8
    assert calls == [1]


def fingerprints(given: Experiment) -> list[str]:
    return [cell.key.fingerprint for part in plan(given, RESOURCES) for cell in part.cells]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16-mixed"},
        {"model": PhantomClip("small", micro_batch=16)},
        {"speed": Speed(precision="bf16")},
        {"speed": Speed(channels_last=True)},
        {"speed": Speed(compile=True)},
        {"speed": Speed(attention="eager")},
    ],
    ids=str,
)
def test_an_option_that_changes_numbers_makes_other_cells(tmp_path, changes) -> None:
    before, after = (fingerprints(experiment(tmp_path, **given)) for given in ({}, changes))
    assert not set(before) & set(after)


def test_an_option_that_changes_no_number_makes_the_same_cells(tmp_path) -> None:
    for changes in (
        {"batch_size": "auto"},
        {"num_workers": 2},
        {"keep_features": True},
        {"examples": False},
        {"resume": False},
        {"store": tmp_path / "other"},
    ):
        assert fingerprints(experiment(tmp_path, **changes)) == fingerprints(experiment(tmp_path))
