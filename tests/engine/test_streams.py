"""Who waits for whom on a GPU, as the encoder's module says it to the streams."""

from contextlib import contextmanager

import pytest
import torch

from medrobust.engine import EncodeImages, streams
from medrobust.engine.loader import CorruptedBatch


class Encoder(torch.nn.Module):
    """Tells the mean of an image; has a weight and a buffer."""

    def __init__(self, side=1, told=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(side, side), requires_grad=False)
        self.register_buffer("bias", torch.zeros(1))
        self.told = [] if told is None else told

    @property
    def device(self):
        return self.weight.device

    def preprocess(self, images):
        return images.float()

    def encode_image(self, pixels):
        self.told.append("encode")
        return pixels.mean((1, 2, 3))[:, None]


class Line:
    """A stream that writes down what it waits for."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def wait_stream(self, other):
        self.told.append(f"{self.name} waits for {other.name}")


class Handed:
    """A pass that writes down what it is handed."""

    def __init__(self, told):
        self.told = told
        self.patch_readers, self.count = {}, 3

    def encoder(self, model):
        return model

    def finished(self, encoded):
        self.told.append(f"handed over {encoded.features.flatten().tolist()}")


@pytest.fixture
def told(monkeypatch):
    """Put two such streams in the place of a GPU's, and give what they write down."""
    told: list[str] = []
    current, own = Line("current", told), Line("encoding", told)

    @contextmanager
    def inside(stream):
        told.append(f"into {stream.name}")
        yield
        told.append("out")

    monkeypatch.setattr(streams, "encoding", lambda device: own)
    monkeypatch.setattr(streams, "inside", inside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(
        torch.Tensor,
        "record_stream",
        lambda tensor, stream: told.append(f"{stream.name} reads {tuple(tensor.shape)}"),
    )
    return told


def test_features_are_handed_over_behind_their_stream(told) -> None:
    module = EncodeImages(Encoder(told=told), 2)
    module.begin([Handed(told)])
    module.on_test_epoch_start()
    images = torch.arange(3, dtype=torch.uint8)[:, None, None, None]
    module.test_step(CorruptedBatch(images, torch.arange(3), 0, True, {}), 0)
    assert told == [
        "encoding waits for current",
        "encoding reads (1, 1)",
        "encoding reads (1,)",
        "into encoding",
        "encode",
        "encode",
        "out",
        "current waits for encoding",
        "handed over [0.0, 1.0, 2.0]",
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_that_go_after_an_error_are_not_overwritten_while_they_are_read() -> None:
    model = Encoder(side=1024).cuda()
    module, before = EncodeImages(model, 1).cuda(), model.weight.cpu()
    module.on_test_epoch_start()
    stream = streams.encoding(module.device)
    with streams.inside(stream):
        torch.cuda._sleep(10**9)
        read = model.weight.clone()
    module.cpu()  # as Lightning does, whatever has been raised
    torch.zeros(1024, 1024, device="cuda")
    torch.cuda.synchronize()
    assert torch.equal(read.cpu(), before)
