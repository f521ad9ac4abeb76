"""What the encoder is given: the stored images, channels first, and nothing of the map itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from medrobust.tasks.datamodule import StoredImages

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
