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


def test_each_cell_goes_on_where_the_one_before_ended(job: Any, stream: Any) -> None:
    expected = by_hand(job)
    for (corruption, severity), answers in zip(
        [("clean", 0), ("brightness", 5), ("brightness", 2)], expected, strict=True
    ):
        found = stream[ROW, corruption, severity].arrays["logits"]
        np.testing.assert_allclose(found, answers, atol=2e-4, rtol=1e-4)


def test_only_the_first_cell_is_that_of_a_new_beginning(stream: Any, tmp_path: Path) -> None:
    anew = named(cells_of(evaluated(tmp_path, {**TENT, "protocol": "per_cell"}, severities=LEVELS)))
    row = ROW.replace("protocol=continual ", "")
    same = [
        np.array_equal(stream[ROW, *place].arrays["logits"], anew[row, *place].arrays["logits"])
        for place in (("clean", 0), ("brightness", 5), ("brightness", 2))
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


def test_searches_beside_a_stream_and_mixed_streams_are_refused() -> None:
    methods = NoAdapter(online=(TENT,)).methods
    with pytest.raises(ConfigurationError, match="has not gone through"):
        check_searches({"worst_pair": None}, 1, methods)
    check_searches({}, 1, methods)
    with pytest.raises(ConfigurationError, match="belong to no cell"):
        NoAdapter(online=("tent",), protocol="mixed")
    with pytest.raises(ConfigurationError, match="is none of watt"):
        NoAdapter(online=("watt",), protocol="continual")
