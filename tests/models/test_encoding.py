import pytest
import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.models import MicroBatcher


class Recorder:
    """Returns the mean of each image and keeps the batches that it saw."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def preprocess(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.float()

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(1, 2, 3))[:, None]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def images(count: int) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)


@pytest.mark.parametrize("arrival", [1, 2, 3, 4, 7, 11])
def test_the_model_sees_the_same_batches_however_the_images_arrive(arrival: int) -> None:
    model = Recorder()
    batcher = MicroBatcher(model, micro_batch=4)
    features = [part for push in images(11).split(arrival) for part in batcher.push(push)]
    features += batcher.flush()
    assert torch.cat(features).flatten().tolist() == list(range(1, 12))
    assert [batch[:, 0, 0, 0].tolist() for batch in model.seen] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 0],
    ]


def test_after_a_flush_a_new_run_starts_at_position_zero() -> None:
    model = Recorder()
    batcher = MicroBatcher(model, micro_batch=4)
    for _ in range(2):
        batcher.push(images(3))
        batcher.flush()
    assert torch.equal(model.seen[0], model.seen[1])
    assert batcher.flush() == []


def test_images_of_two_shapes_are_refused() -> None:
    batcher = MicroBatcher(Recorder(), micro_batch=4)
    batcher.push(images(1))
    with pytest.raises(InvalidImageError, match="one shape"):
        batcher.push(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_a_micro_batch_of_zero_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="micro_batch"):
        MicroBatcher(Recorder(), micro_batch=0)
