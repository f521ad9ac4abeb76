import pytest
import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.models import Classifier, MicroBatcher, OwnModel


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.dropout(self.linear(pixels.mean(dim=(2, 3))))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.linear(pixels.mean(dim=(2, 3)))

    def encode_text(self, sentences: list[str]) -> Tensor:
        return torch.tensor([[float(len(sentence)), 1.0] for sentence in sentences])


def test_a_classifier_runs_through_micro_batches_with_its_logits_as_features() -> None:
    net = Net()
    images = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8)
    model = OwnModel(net).load()
    assert isinstance(model, Classifier)
    batcher = MicroBatcher(model, micro_batch=2)
    logits = torch.cat([*batcher.push(images), *batcher.flush()])
    expected = net.linear((images.float() / 255).mean(dim=(2, 3)))
    torch.testing.assert_close(logits, expected.detach())


def test_a_pair_of_encoders_gives_unit_features_and_its_scale() -> None:
    model = OwnModel(Pair(), logit_scale=5.0).load()
    assert model.logit_scale == 5.0
    images = model.encode_image(torch.rand(3, 3, 4, 4))
    texts = model.encode_text(["a", "abc"])
    for features in (images, texts):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(features)))


def test_a_logarithm_kept_as_a_parameter_is_not_taken_for_the_scale() -> None:
    pair = Pair()
    pair.logit_scale = nn.Parameter(torch.tensor(4.6))
    with pytest.raises(ConfigurationError, match="not its logarithm"):
        OwnModel(pair).load()


def test_the_fingerprint_follows_every_weight_and_the_structure() -> None:
    net = Net()
    before = OwnModel(net).weights_fingerprint()
    assert OwnModel(net, name="other").weights_fingerprint() == before
    with torch.no_grad():
        net.linear.bias[3] += 1e-6
    changed = OwnModel(net).weights_fingerprint()
    net.dropout = nn.Identity()
    assert len({before, changed, OwnModel(net).weights_fingerprint()}) == 3


def test_logits_of_another_shape_are_refused() -> None:
    model = OwnModel(nn.Flatten(0)).load()
    with pytest.raises(ConfigurationError, match=r"logits \(2, K\)"):
        model.encode_image(torch.zeros(2, 3, 4, 4))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="neither"):
        OwnModel(object())
