"""Methods that keep what they have learned from one condition to the next: cells of one stream."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from online_jobs import RESOURCES, cells_of, evaluated, named

from medrobust.adapters import NoAdapter
from medrobust.evaluation.plan import plan
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.jobs.searches import check_searches
from medrobust.reporting.reference import untuned_cells

TENT = {"method": "tent", "rate": 0.01, "protocol": "continual"}
ETA = {"method": "eta", "rate": 0.01, "protocol": "continual", "margin": 0.9, "similar": 0.9}
ROW = "tent protocol=continual rate=0.01"
LEVELS = (5, 2)
CONDITIONS = (("clean", 0), ("brightness", 5), ("brightness", 2))
MIXED = {**TENT, "protocol": "mixed"}
MIXED_ROW = ROW.replace("continual", "mixed")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return evaluated(tmp_path_factory.mktemp("continual"), TENT, ETA, severities=LEVELS)


@pytest.fixture(scope="module")
def stream(job: Any) -> dict[tuple[str, str, int], Any]:
    return named(cells_of(job))


def by_hand(job: Any) -> list[np.ndarray]:
    """Show the images of clean and each severity to one session, in its order."""
    (planned,) = plan(job, RESOURCES)
    cells = [cell for cell in planned.cells if cell.key.spec.adapter == ROW]
    data, model = planned.image_set, RESOURCES.model(job.model)
    head = RESOURCES.head(job.model, dict(cells[0].key.head), data)
    order, found = head.order(data), []
    session = head.stream(model, data)["begin"]()
    for cell in cells:
        images = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2).contiguous()
        index = torch.from_numpy(np.array(data.index))
        if cell.corruption is not None:
            images = cell.corruption(
                images, severity=cell.key.spec.severity, seed=0, stream=data.stream, index=index
            )
        answers = np.zeros((len(order), 20), np.float32)
        for start in range(0, len(order), 8):
            rows = order[start : start + 8]
            shown = session.observe(images[rows], data.index[rows]).detach()
            answers[rows] = shown.numpy()
        found.append(answers)
    return found


@pytest.mark.slow
def test_each_cell_goes_on_where_the_one_before_ended(job: Any, stream: Any) -> None:
    expected = by_hand(job)
    for (corruption, severity), answers in zip(CONDITIONS, expected, strict=True):
        found = stream[ROW, corruption, severity].arrays["logits"]
        np.testing.assert_allclose(found, answers, atol=2e-4, rtol=1e-4)


@pytest.mark.slow
def test_only_the_first_cell_is_that_of_a_new_beginning(stream: Any, tmp_path: Path) -> None:
    anew = named(cells_of(evaluated(tmp_path, {**TENT, "protocol": "per_cell"}, severities=LEVELS)))
    row = ROW.replace("protocol=continual ", "")
    same = [
        np.array_equal(stream[ROW, *place].arrays["logits"], anew[row, *place].arrays["logits"])
        for place in CONDITIONS
    ]
    assert same == [True, False, False]


def test_the_whole_order_is_in_the_fingerprint(stream: Any, tmp_path: Path) -> None:
    def prints(levels: tuple[int, ...]) -> dict[int, str]:
        (planned,) = plan(evaluated(tmp_path, TENT, severities=levels), RESOURCES)
        cells = [cell for cell in planned.cells if cell.key.spec.adapter == ROW]
        return {cell.key.spec.severity: cell.key.fingerprint for cell in cells}

    whole, turned, part = prints((5, 2)), prints((2, 5)), prints((2,))
    assert whole[2] == stream[ROW, "brightness", 2].fingerprint
    assert whole[0] == turned[0] == part[0]
    assert whole[5] != turned[5]
    assert whole[2] != turned[2] == part[2]  # after the clean images alone
    rows = {cell.record["encoding"].get("after") for cell in stream.values()}
    assert None in rows
    assert len(rows) == 1 + 2 * 2


def test_a_cell_that_is_lost_is_computed_again_behind_what_came_before_it(
    job: Any, stream: Any, tmp_path: Path
) -> None:
    shutil.copytree(job.where.store, tmp_path / "store")
    store, place = Store(tmp_path / "store"), (ROW, "brightness", 2)
    lost = stream[place].folder.relative_to(Path(job.where.store).absolute())
    shutil.rmtree(store.root / lost)
    again = replace(job, where=replace(job.where, store=store.root))
    found = named(cells_of(again))
    assert np.array_equal(found[place].arrays["logits"], stream[place].arrays["logits"])
    (planned,) = plan(again, RESOURCES)
    (cell,) = [one for one in planned.cells if one.key.spec == stream[place].spec]
    alone = [replace(planned, cells=(cell,))]  # as `medrobust verify` computes it
    empty = Store(tmp_path / "empty")
    CellRunner(again, RESOURCES, empty).run(alone)
    (twin,) = read_cells(empty, alone)
    assert np.array_equal(twin.arrays["logits"], stream[place].arrays["logits"])
    assert len(list((empty.root / "cells").glob("*/*/*/s*"))) == 1


def test_shares_are_those_of_each_cell_and_all_cells_are_one_row(job: Any, stream: Any) -> None:
    used = [
        cell.record["adaptation"]["used"] for (row, _, _), cell in stream.items() if "eta" in row
    ]
    assert len(used) == 3
    assert all(0 <= share <= 1 for share in used)
    cells = list(stream.values())
    added, notes = untuned_cells(Store(job.where.store), cells)
    assert (added, notes) == ([], [])  # the model as published is found under each condition


def test_searches_beside_a_stream_and_protocols_of_others_are_refused() -> None:
    for protocol in ("continual", "mixed"):
        methods = NoAdapter(online=({**TENT, "protocol": protocol},)).methods
        with pytest.raises(ConfigurationError, match="has not gone through"):
            check_searches({"worst_pair": None}, 1, methods)
        check_searches({}, 1, methods)
    for protocol in ("continual", "mixed", "nothing"):
        with pytest.raises(ConfigurationError, match="is none of watt"):
            NoAdapter(online=("watt",), protocol=protocol)


# Images of all conditions in one order.


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return evaluated(tmp_path_factory.mktemp("mixed"), MIXED, severities=LEVELS)


@pytest.fixture(scope="module")
def mixed(mixture: Any) -> dict[tuple[str, str, int], Any]:
    return named(cells_of(mixture))


@pytest.mark.slow
def test_one_session_sees_every_image_under_every_condition_in_one_order(
    mixture: Any, mixed: Any
) -> None:
    (planned,) = plan(mixture, RESOURCES)
    cells = [cell for cell in planned.cells if cell.key.spec.adapter == MIXED_ROW]
    data, model = planned.image_set, RESOURCES.model(mixture.model)
    head = RESOURCES.head(mixture.model, dict(cells[0].key.head), data)
    stream = cells[0].mixture
    assert stream is not None
    cells.sort(key=lambda cell: stream.place(cell.key.encoding))
    images, index, count = [], torch.from_numpy(np.array(data.index)), len(data)
    for cell in cells:
        clean = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2).contiguous()
        given = {"severity": cell.key.spec.severity, "seed": 0, "stream": data.stream}
        images.append(
            clean if cell.corruption is None else cell.corruption(clean, index=index, **given)
        )
    order = head.order(data, stream.digests)
    assert sorted(order.tolist()) == list(range(3 * count))
    firsts = np.argmax(order[None] // count == np.arange(3)[:, None], axis=1)
    assert firsts.max() < count  # no condition waits until another one is over
    session, every = head.stream(model, data)["begin"](), torch.cat(images)
    answers = np.zeros((3 * count, 20), np.float32)
    for start in range(0, len(order), 8):
        rows = order[start : start + 8]
        answers[rows] = session.observe(every[rows], data.index[rows % count]).detach().numpy()
    for cell, expected in zip(cells, answers.reshape(3, count, 20), strict=True):
        spec = cell.key.spec
        found = mixed[MIXED_ROW, spec.corruption, spec.severity].arrays["logits"]
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_mixture_is_no_matter_of_the_order_of_the_table_and_a_lost_cell_is_found_again(
    mixture: Any, mixed: Any, tmp_path: Path
) -> None:
    turned = evaluated(tmp_path, MIXED, severities=LEVELS[::-1], batch_size=11, num_workers=1)
    (planned,) = plan(turned, RESOURCES)
    cells = [cell for cell in planned.cells if cell.key.spec.adapter == MIXED_ROW]
    prints = {cell.key.spec.severity: cell.key.fingerprint for cell in cells}
    assert prints == {s: mixed[MIXED_ROW, c, s].fingerprint for c, s in CONDITIONS}
    (alone,) = [cell for cell in cells if cell.key.spec.severity == 2]
    empty = Store(tmp_path / "empty")
    CellRunner(turned, RESOURCES, empty).run([replace(planned, cells=(alone,))])
    (twin,) = read_cells(empty, [replace(planned, cells=(alone,))])
    assert np.array_equal(twin.arrays["logits"], mixed[MIXED_ROW, "brightness", 2].arrays["logits"])
    (part,) = plan(evaluated(tmp_path, MIXED, severities=(2,)), RESOURCES)
    fewer = {cell.key.fingerprint for cell in part.cells if cell.key.spec.adapter == MIXED_ROW}
    assert not fewer & set(prints.values())  # one condition less is another stream
    assert untuned_cells(Store(mixture.where.store), list(mixed.values())) == ([], [])
