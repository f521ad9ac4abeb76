from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.models import (
    GuidedHead,
    IdentityHead,
    LoadReport,
    Preprocess,
    VisionLanguageModel,
    ZeroShotHead,
    class_features,
)


class Letters(VisionLanguageModel):
    """Embeds a sentence by how often it has each of the letters a to h."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.preprocess = Preprocess(8, (0, 0, 0), (1, 1, 1))
        self.logit_scale = 10.0
        self.report = LoadReport("test", {}, 0)

    def _image_embedding(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) * self.weight

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        counts = [[sentence.count(letter) for letter in "abcdefgh"] for sentence in sentences]
        return torch.tensor(counts) * self.weight


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_a_class_is_the_unit_mean_of_its_unit_sentences() -> None:
    features = class_features(Letters(), [["aab", "cccc"], ["abc"]])
    mean = (unit(np.array([2, 1, 0, 0, 0, 0, 0, 0])) + unit(np.array([0, 0, 1, 0, 0, 0, 0, 0]))) / 2
    np.testing.assert_allclose(features[0], unit(mean), atol=1e-6)
    assert not features.requires_grad


def test_another_class_order_permutes_the_features_bit_for_bit() -> None:
    texts = [["ab", "bc"], ["cd"], ["ee", "fa", "gh"]]
    order = [2, 0, 1]
    shuffled = class_features(Letters(), [texts[label] for label in order])
    assert torch.equal(shuffled, class_features(Letters(), texts)[order])


def test_many_sentences_are_encoded_in_parts() -> None:
    texts = [["a" * n + "b" * (200 - n)] for n in range(200)]
    np.testing.assert_allclose(
        class_features(Letters(), texts)[150],
        unit(np.array([150, 50, 0, 0, 0, 0, 0, 0])),
        atol=1e-6,
    )


def test_a_class_without_a_sentence_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"classes \[1\]"):
        class_features(Letters(), [["a"], []])


def test_logits_are_the_scaled_cosine() -> None:
    present = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    logits = ZeroShotHead(present, None, 100.0).logits(torch.tensor([[0.0, 1.0], [0.8, -0.6]]))
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits, [[0.0, 80.0], [80.0, 0.0]], atol=1e-5)


def test_absent_texts_are_subtracted() -> None:
    present = torch.tensor([[1.0, 0.0]])
    absent = torch.tensor([[0.0, 1.0]])
    logits = ZeroShotHead(present, absent, 10.0).logits(torch.tensor([[0.6, 0.8]]))
    assert logits.item() == pytest.approx(-2.0)


def test_a_different_number_of_absent_texts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as many"):
        ZeroShotHead(torch.ones(2, 4), torch.ones(1, 4), 1.0)


def test_logits_do_not_depend_on_how_many_rows_come_at_a_time() -> None:
    torch.manual_seed(0)
    present, features = torch.randn(9, 512), torch.randn(67, 512)
    head = ZeroShotHead(present, None, 100.0)
    parts = torch.cat([head.logits(part) for part in features.split(13)])
    assert torch.equal(parts, head.logits(features))


def test_the_identity_head_returns_the_logits() -> None:
    logits = torch.tensor([[1.0, 2.0]])
    assert torch.equal(IdentityHead().logits(logits), logits)


def test_guided_logits_are_pushed_away_from_the_general_ones_and_plain_at_both_ends() -> None:
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(50, 16), dim=1)
    expert = ZeroShotHead(torch.randn(5, 16), torch.randn(5, 16), 100.0)
    generic = ZeroShotHead(torch.randn(5, 16), torch.randn(5, 16), 100.0)
    plain = [head.logits(features) for head in (generic, expert)]
    for gamma in (0.0, 1.0):
        guided = GuidedHead(expert, generic, gamma).logits(features)
        assert torch.equal(guided, plain[int(gamma)])
    guided = GuidedHead(expert, generic, 2.5).logits(features)
    np.testing.assert_allclose(guided, 2.5 * plain[1] - 1.5 * plain[0], rtol=1e-4, atol=1e-3)
