"""What the encoder is given: the stored images, channels first, and nothing of the map itself."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medrobust.engine.loader import CorruptedBatches, StoredImages

SHAPES = [(5, 31, 17), (5, 31, 17, 3), (5, 1, 1, 3), (5, 1, 9, 3), (5, 9, 1, 3)]


@pytest.mark.parametrize("rows", [[1, 2, 3], [4, 0, 2]], ids=["adjacent", "apart"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_are_copied_channels_first_from_a_map_that_is_read_only(shape, rows) -> None:
    stored = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    stored.flags.writeable = False
    batch = StoredImages(SimpleNamespace(images=stored, index=np.arange(5))).__getitems__(rows)
    expected = np.moveaxis(stored.reshape(*shape[:3], -1), -1, 1)[rows]
    assert np.array_equal(batch.images.numpy(), expected)
    assert batch.images.is_contiguous()
    assert batch.rows.tolist() == batch.index.tolist() == rows
    before = stored.copy()
    batch.images.zero_()
    assert np.array_equal(stored, before)


class Few(SimpleNamespace):
    """Images of a split, and nothing else."""

    def __len__(self) -> int:
        return len(self.index)


@dataclass
class Pass:
    """What the engine asks of a pass, given beforehand."""

    read: Callable[[], Any]
    count: int
    change: Callable[..., Any] = lambda images, index: images
    show: frozenset[int] = frozenset()
    clean: bool = False
    ask: Callable[[], bool] = lambda: True

    def wanted(self):
        return self.ask()

    def corrupt(self, images, index):
        return self.change(images, index)


def passes(wanted):
    """Four passes over seven images: clean, brighter, over published files, and brighter again."""
    stored = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2)

    def clean():
        return Few(images=stored, index=np.arange(7))

    def published():
        return Few(images=stored + 100, index=np.arange(7))

    def brighter(images, index):
        return images + 10 * index.to(torch.uint8)[:, None, None, None]

    return [
        Pass(clean, 7, clean=True, ask=lambda: wanted[0]),
        Pass(clean, 7, brighter, clean=True, ask=lambda: wanted[1]),
        Pass(published, 7, ask=lambda: wanted[2]),
        Pass(clean, 7, brighter, frozenset({3}), clean=True, ask=lambda: wanted[3]),
    ]


def batches_of(kept_bytes, wanted=(True, True, True, True), workers=0):
    """Run the passes three images at a time; give all that the encoder is told."""
    batches = CorruptedBatches(
        passes(wanted),
        batch_size=3,
        num_workers=workers,
        device=torch.device("cpu"),
        kept_bytes=kept_bytes,
    )
    return [
        (
            b.number,
            b.rows.tolist(),
            b.images.tolist(),
            b.last,
            {r: p.tolist() for r, p in b.shown.items()},
        )
        for b in batches
    ]


@pytest.mark.parametrize(
    "wanted", [(True,) * 4, (False, True, True, True), (True, False, True, False)]
)
@pytest.mark.parametrize(("kept_bytes", "kept"), [(0, 0), (12, 1), (24, 2), (10**6, 3)])
def test_clean_images_are_read_once_as_far_as_they_may_stay(
    monkeypatch, kept_bytes, kept, wanted
) -> None:
    reads = []
    read = StoredImages.__getitems__
    monkeypatch.setattr(
        StoredImages,
        "__getitems__",
        lambda images, rows: (reads.append(rows), read(images, rows))[1],
    )
    expected = batches_of(0, wanted)
    before = len(reads)
    assert batches_of(kept_bytes, wanted) == expected
    again = sum(wanted[number] for number in (0, 1, 3)) - 1
    assert 2 * before - len(reads) == kept * again


@pytest.mark.slow
def test_processes_that_read_leave_out_what_is_kept() -> None:
    assert batches_of(12, workers=2) == batches_of(0)


def test_a_pass_of_which_nothing_is_read_is_asked_for_when_its_turn_comes() -> None:
    asked = []

    class Asked(tuple):
        def __getitem__(self, number):
            asked.append(number)
            return True

    clean = [one for one in passes(Asked()) if one.clean]
    batches = CorruptedBatches(
        clean, batch_size=3, num_workers=2, device=torch.device("cpu"), kept_bytes=10**6
    )
    numbers = iter(batches)
    next(numbers)
    assert asked == [0]
    batches.close()
