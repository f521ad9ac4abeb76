"""Several processes that share the images of a cell: each image once, and the bits of one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning
import torch
from grouped import changed
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning import FailsElsewhere, experiment

from medrobust.adapters import NoAdapter
from medrobust.corruptions import Corruption
from medrobust.datasets import Phantoms
from medrobust.evaluation.experiment import Experiment, beside_others
from medrobust.evaluation.plan import plan
from medrobust.evaluation.processes import evaluation_ranks, known_to_all, processes_wanted
from medrobust.evaluation.ranks import Ranks
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, MedRobustError


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(1, 17), st.integers(1, 9))
def test_every_row_is_encoded_once_in_the_micro_batch_it_has_in_one_process(
    count: int, micro_batch: int, world: int
) -> None:
    shares = [Ranks(rank, world).rows(count, micro_batch).tolist() for rank in range(world)]
    assert sorted(row for share in shares for row in share) == list(range(count))
    alone = [
        list(range(count))[start : start + micro_batch] for start in range(0, count, micro_batch)
    ]
    found = [
        share[start : start + micro_batch]
        for share in shares
        for start in range(0, len(share), micro_batch)
    ]
    assert sorted(found) == alone


def job(store: Path, world: int, **options: Any) -> Experiment:
    """37 images in micro-batches of 8: five, the last one with five images."""
    given = experiment(store, devices=world, adapter=NoAdapter(), tuning=None)
    parts: dict[str, Any] = {
        "datasets": (Phantoms(per_class=2, limit=37),),
        "corruption": Corruption("gaussian_noise"),
    }
    return changed(given, **(parts | options))


def run(wanted: Experiment) -> dict[str, tuple[bytes, list[bytes]]]:
    """Run a job; return the logits and pictures of its cells."""
    resources, store = Resources(), Store(wanted.where.store)
    with evaluation_ranks(wanted) as (own, ranks):
        own = known_to_all(own, resources, store, ranks)
        CellRunner(own, resources, store, ranks).run(plan(own, resources))
    return {
        str(cell.spec): (
            cell.arrays["logits"].tobytes(),
            [path.read_bytes() for path in cell.examples],
        )
        for cell in store.cells()
    }


@pytest.mark.slow
def test_one_two_and_three_processes_give_the_same_bits(tmp_path: Path) -> None:
    alone, two, three = (run(job(tmp_path / str(world), world)) for world in (1, 2, 3))
    assert len(alone) == 2
    assert all(len(pictures) == 2 for _, pictures in alone.values())
    assert two == alone
    other_batch = job(tmp_path / "other", 3, batch_size=5, resume=False)
    assert three == run(other_batch) == alone
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_more_processes_than_micro_batches_give_the_same_bits(tmp_path: Path) -> None:
    few = (Phantoms(per_class=1, limit=7),)
    assert run(job(tmp_path / "2", 2, datasets=few)) == run(job(tmp_path / "1", 1, datasets=few))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"devices": 2}, 1),
        ({"devices": 2, "strategy": "auto"}, 1),
        ({"devices": 2, "strategy": "ddp"}, 2),
        ({"devices": "3", "strategy": "ddp_spawn"}, 3),
        ({"devices": [0, 2], "strategy": "ddp"}, 2),
        ({"devices": "auto", "strategy": "ddp"}, max(1, torch.cuda.device_count())),
    ],
)
def test_processes_are_those_that_ddp_asks_for(given: dict[str, Any], wanted: int) -> None:
    assert processes_wanted(partial(pytorch_lightning.Trainer, **given)) == wanted


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_ddp_beside_other_jobs_is_refused(tmp_path: Path, launcher: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"trainer=ddp .* hydra/launcher={launcher}"):
        beside_others(job(tmp_path, 2), launcher, 0)
    alone = job(tmp_path, 1)
    assert beside_others(alone, launcher, 0) == alone


def test_jobs_side_by_side_take_devices_by_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    given = changed(job(tmp_path, 1), trainer=partial(pytorch_lightning.Trainer, devices=1))

    def devices(number: int, change: Callable[..., Any] = lambda one: one) -> Any:
        return beside_others(change(given), "joblib", number).how.trainer.keywords["devices"]

    assert [devices(number) for number in range(4)] == [[0], [1], [2], [0]]
    named = changed(given, trainer=partial(given.how.trainer, devices=[2]))
    assert devices(1, lambda _: named) == [2]
    on_cpu = changed(given, trainer=partial(given.how.trainer, accelerator="cpu"))
    assert devices(1, lambda _: on_cpu) == 1


def test_several_machines_need_a_launcher_of_processes(tmp_path: Path) -> None:
    given = job(tmp_path, 2)
    many = changed(given, trainer=partial(given.how.trainer, num_nodes=2))
    with pytest.raises(ConfigurationError, match="torchrun or srun"), evaluation_ranks(many):
        pass


@pytest.mark.slow
def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    given = job(tmp_path, 2, datasets=(FailsElsewhere(per_class=1),))
    with pytest.raises(MedRobustError, match="process 1 of trainer=ddp failed: there is no such"):
        run(given)
