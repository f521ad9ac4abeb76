"""A task that reads patch features: one pass, the same bits however images arrive, small memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from cells import experiment
from numpy.typing import NDArray

from medrobust.engine.passes import Encoded
from medrobust.evaluation import ranks as ranks_module
from medrobust.evaluation.plan import plan
from medrobust.evaluation.ranks import Ranks
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.run.encoding import Encoding
from medrobust.evaluation.store import Store
from medrobust.exceptions import MedRobustError
from medrobust.metrics import Metric
from medrobust.models import PhantomClip
from medrobust.models.phantomclip import PhantomCLIP
from medrobust.tasks import lookup
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    HeadDescription,
    ModelSide,
    Scores,
    Task,
)
from medrobust.tasks.patches import PatchHead

LEVELS: list[int] = []
"""Places of each micro-batch that a head has seen."""


@dataclass(frozen=True)
class Strangest:
    """The norm of each place at one block, its largest, and the first number of the feature."""

    block: int
    broken: bool = False

    @property
    def blocks(self) -> Sequence[int]:
        return (self.block,) if self.block else ()

    def reduce(self, features: Any, patches: Any) -> dict[str, Any]:
        if self.block == 0:  # of the feature of the image alone
            assert len(patches) == 0
            return {"map": features[:, :1].expand(-1, 49), "first": features[:, 0]}
        assert patches.blocks == self.blocks
        LEVELS.append(patches[self.block].states.shape[0])
        norms = patches[self.block].joint().norm(dim=2)
        return {"map": norms[:-1] if self.broken else norms, "first": features[:, 0]}

    def outputs(self, rows: Any) -> dict[str, NDArray]:
        return {
            "strange": np.stack([rows["map"].amax(dim=1), rows["first"]], axis=1),
            "map": rows["map"].numpy().reshape(-1, 7, 7),
        }


class Places(Task):
    """How strange the strangest place of an image is."""

    kind = "places"
    level = "patches"
    arrays = MappingProxyType(
        {
            "strange": ArraySpec("float32", ("image", "of")),
            "map": ArraySpec("float32", ("image", "h", "w")),
        }
    )
    metrics = MappingProxyType({"strangeness": Metric("mean strangeness", False)})
    losses = ("strangeness",)
    offered = ("strangeness",)
    blocks: tuple[int, ...] = (1, 2)
    broken = False

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        return [{"kind": self.kind, "block": block} for block in self.blocks]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> PatchHead:
        return Strangest(description["block"], self.broken)

    def check(self, arrays: Any, data: Any, side: ModelSide) -> None:
        assert arrays["map"].shape == (len(data), 7, 7)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        raise NotImplementedError


@pytest.fixture
def task() -> Any:
    task = Places()
    LEVELS.clear()
    with lookup.given(task):
        yield task


def maps(given: Any) -> list[dict[str, NDArray]]:
    resources, store = Resources(), Store(given.where.store)
    runner = CellRunner(given, resources, store)
    runner.run(plan(given, resources))
    runner.complain()
    return [dict(cell.arrays) for cell in read_cells(store, plan(given, resources))]


@pytest.mark.slow
def test_heads_that_read_patches_share_one_pass_whatever_the_batch_size(
    tmp_path: Any, task: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    whole = PhantomCLIP._image_embedding
    monkeypatch.setattr(
        PhantomCLIP,
        "_image_embedding",
        lambda self, pixels: counted.append(len(pixels)) or whole(self, pixels),
    )
    found = maps(experiment(tmp_path / "a", task=task, batch_size=64))
    assert counted == [4] * 3 * 2  # clean and one corruption of 10 images: once for both heads
    assert sorted(LEVELS) == [2] * 4 + [4] * 8  # what fills up a micro-batch is never seen
    assert len(found) == 4
    other = maps(experiment(tmp_path / "b", task=task, batch_size=7))
    for one, two in zip(found, other, strict=True):
        assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_rows_are_those_of_a_plain_loop_in_the_order_of_the_split(
    tmp_path: Any, task: Places
) -> None:
    given = experiment(tmp_path, task=task, keep_features=True)
    clean = maps(given)[0]
    resources = Resources()
    (part,) = plan(given, resources)
    model = resources.model(given.model)
    images = torch.from_numpy(np.stack([*part.image_set.images])).movedim(-1, 1)
    with torch.no_grad():
        features, patches = model.encode_image_and_patches(model.preprocess(images), [1])
        norms = patches[1].joint().norm(dim=2)
    np.testing.assert_allclose(clean["map"].reshape(-1, 49), norms, rtol=1e-5)
    np.testing.assert_allclose(clean["strange"][:, 1], features[:, 0], atol=1e-6)


@pytest.mark.slow
def test_kept_features_are_no_reason_to_leave_the_pass_out(tmp_path: Any, task: Places) -> None:
    task.blocks = (1,)
    first = maps(experiment(tmp_path, task=task, keep_features=True))
    task.blocks = (1, 2)
    again = maps(experiment(tmp_path, task=task, keep_features=True))
    assert (len(first), len(again)) == (2, 4)
    assert np.array_equal(first[0]["map"], again[0]["map"])
    assert not np.array_equal(again[0]["map"], again[1]["map"])


def test_a_head_that_loses_images_is_refused(tmp_path: Any, task: Places) -> None:
    task.broken = True
    with pytest.raises(MedRobustError, match="one row for each of 4 images"):
        maps(experiment(tmp_path, task=task))


def test_a_head_that_fails_is_named_and_loses_no_cell_of_another(
    tmp_path: Any, task: Places, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    reduce = Strangest.reduce

    def second_fails(self: Strangest, features: Any, patches: Any) -> dict[str, Any]:
        if self.block == 2:
            raise ValueError("no such place")
        return reduce(self, features, patches)

    monkeypatch.setattr(Strangest, "reduce", second_fails)
    monkeypatch.setattr(
        Places,
        "heads",
        lambda self, data, side: [
            {"kind": "places", "block": block, "name": f"block {block}"} for block in (1, 2)
        ],
    )
    given, resources = experiment(tmp_path, task=task), Resources()
    store = Store(given.where.store)
    runner = CellRunner(given, resources, store)
    runner.run(plan(given, resources))
    with pytest.raises(MedRobustError, match=r"2 cells failed.*ValueError: no such place"):
        runner.complain()
    assert caplog.text.count("(block 2) failed: ValueError: no such place") == 2
    assert "(block 1) failed" not in caplog.text
    (part,) = plan(given, resources)
    keys = [cell.key for cell in part.cells]
    kept = [key.head["block"] for key in keys if store.holds(key.spec, key.fingerprint)]
    assert kept == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [(0,), (0, 2)])
def test_a_head_of_no_block_reads_features_alone(
    tmp_path: Any, task: Places, blocks: tuple[int, ...]
) -> None:
    task.blocks = blocks
    clean = maps(experiment(tmp_path, task=task))[0]
    assert np.array_equal(clean["map"][:, 0, 0], clean["strange"][:, 1])


def test_rows_of_several_processes_are_joined_in_the_order_of_the_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, micro_batch, world = 11, 2, 3
    whole = torch.arange(count * 4.0).reshape(count, 4)

    def share(rank: int) -> Encoded:
        rows = torch.from_numpy(Ranks(rank, world).rows(count, micro_batch))
        return Encoded(whole[rows, :1], {}, {"cell": {"map": whole[rows].view(-1, 2, 2)}})

    def gather(own: Any, parts: list[Any], **_: Any) -> None:
        parts[:] = [(one.features, dict(one.shown), one.rows) for one in map(share, range(world))]

    monkeypatch.setattr(ranks_module.distributed, "gather_object", gather)
    joined = Ranks(0, world, group="cpu").join(share(0), count, micro_batch)
    assert joined is not None
    assert torch.equal(joined.features, whole[:, :1])
    assert torch.equal(joined.rows["cell"]["map"], whole.view(count, 2, 2))


def test_every_process_makes_the_heads_that_read_patches(tmp_path: Any, task: Places) -> None:
    from medrobust.evaluation.run.finished import FinishedCells

    given, resources = experiment(tmp_path, task=task), Resources()
    (part,) = plan(given, resources)
    finished = FinishedCells(
        given.model, given.where, resources, Store(given.where.store), lambda done: None
    )
    found = finished.patch_heads(part)
    assert [len(cells) for cells in found.values()] == [2, 2]
    (first, *_) = found.values()
    encoding = Encoding(part.image_set, first[0][0], tuple(first))
    assert [head.blocks for head in encoding.patch_heads.values()] == [(1,), (2,)]


@pytest.mark.slow
def test_two_processes_make_the_maps_of_one(tmp_path: Any) -> None:
    from functools import partial

    from pytorch_lightning import Trainer

    from medrobust.datasets import PhantomLesions
    from medrobust.evaluation.processes import evaluation_ranks, known_to_all
    from medrobust.tasks.anomaly import Anomaly

    def run(folder: Any, **trainer: Any) -> list[dict[str, NDArray]]:
        given = experiment(
            folder,
            task=Anomaly(store_maps=True),
            datasets=(PhantomLesions(per_class=7),),
            model=PhantomClip("phantomclip_small", "small", micro_batch=4),
            trainer=partial(Trainer, accelerator="cpu", default_root_dir=folder, **trainer),
        )
        resources, store = Resources(), Store(folder)
        with evaluation_ranks(given) as (own, ranks):
            own = known_to_all(own, resources, store, ranks)
            CellRunner(own, resources, store, ranks).run(plan(own, resources))
        return [dict(cell.arrays) for cell in read_cells(store, plan(given, resources))]

    alone = run(tmp_path / "1", devices=1)
    both = run(tmp_path / "2", devices=2, strategy="ddp_spawn")
    assert len(alone) == 2
    assert len(alone[0]["maps"]) == 14
    for one, other in zip(alone, both, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
