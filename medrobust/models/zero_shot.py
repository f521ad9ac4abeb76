"""The zero-shot classifier: class texts become unit vectors, features become logits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, LogitBatch

from .base import VisionLanguageModel

TEXT_BATCH = 64
"""Sentences a forward pass of the text encoder."""


@torch.no_grad()
def class_features(model: VisionLanguageModel, texts: Sequence[Sequence[str]]) -> FeatureBatch:
    """Embed classes: each sentence of unit norm, their mean over the class, of unit norm again.

    Every sentence is encoded once, in alphabetical order whatever class it belongs to, so that
    another order of the classes permutes the rows and changes no digit.

    Args:
        model: Its text encoder is used, on its own device.
        texts: Sentences of each class, in label order; none may be empty.

    Returns:
        float32 (K, D), on the device of the model.

    Raises:
        ConfigurationError: If a class has no sentence.
    """
    empty = [label for label, sentences in enumerate(texts) if not sentences]
    if empty or not texts:
        raise ConfigurationError(f"every class needs a sentence, classes {empty} have none.")
    unique = sorted({sentence for sentences in texts for sentence in sentences})
    features = torch.cat(
        [
            model.encode_text(unique[start : start + TEXT_BATCH])
            for start in range(0, len(unique), TEXT_BATCH)
        ]
    )
    row = {sentence: index for index, sentence in enumerate(unique)}
    means = [features[[row[sentence] for sentence in group]].mean(dim=0) for group in texts]
    return functional.normalize(torch.stack(means), dim=-1)


class ZeroShotHead(nn.Module):
    """Logits from unit image features and unit class features.

    Multi-class: `logit_k = scale * cos_k`. With absent texts (multi-label):
    `logit_k = scale * (cos_k present - cos_k absent)`.

    Attributes:
        present: (K, D) class features.
        absent: (K, D), or None.
        logit_scale: Multiplier of the cosine.
    """

    present: Tensor
    absent: Tensor | None

    def __init__(
        self, present: FeatureBatch, absent: FeatureBatch | None, logit_scale: float
    ) -> None:
        super().__init__()
        if absent is not None and absent.shape != present.shape:
            raise ConfigurationError(
                f"present texts give {tuple(present.shape)} features, absent texts "
                f"{tuple(absent.shape)}: they must be as many."
            )
        self.register_buffer("present", present)
        self.register_buffer("absent", absent)
        self.logit_scale = logit_scale

    def logits(self, features: FeatureBatch) -> LogitBatch:
        """Return float32 (N, K) logits of unit features (N, D).

        The products are summed in float64, so that the result does not depend on how many rows
        come at a time.
        """
        return self.exact_logits(features).float()

    def exact_logits(self, features: FeatureBatch) -> Tensor:
        """Return float64 (N, K) logits of unit features (N, D)."""
        classes = self.present.double()
        if self.absent is not None:
            classes = classes - self.absent.double()
        return self.logit_scale * (features.double() @ classes.T)

    def forward(self, features: FeatureBatch) -> LogitBatch:
        """Return `logits(features)`."""
        return self.logits(features)


class GuidedHead(nn.Module):
    """Logits by an expert's class texts, pushed away from those by general texts.

    `logit = gamma * expert - (gamma - 1) * generic`, in float64; 1 gives the logits of the expert's
    texts and 0 those of the general ones, to the bit.

    Attributes:
        expert: Head of the expert's texts.
        generic: Head of the general texts.
        gamma: How far.
    """

    def __init__(self, expert: ZeroShotHead, generic: ZeroShotHead, gamma: float) -> None:
        super().__init__()
        self.expert, self.generic, self.gamma = expert, generic, gamma

    def logits(self, features: FeatureBatch) -> LogitBatch:
        """Return float32 (N, K) logits of unit features (N, D)."""
        expert, generic = (h.exact_logits(features) for h in (self.expert, self.generic))
        return (self.gamma * expert - (self.gamma - 1) * generic).float()

    def forward(self, features: FeatureBatch) -> LogitBatch:
        """Return `logits(features)`."""
        return self.logits(features)


class IdentityHead(nn.Module):
    """The head of a classifier whose features are its logits already."""

    def logits(self, features: LogitBatch) -> LogitBatch:
        """Return `features` as float32."""
        return features.float()

    def forward(self, features: LogitBatch) -> LogitBatch:
        """Return `logits(features)`."""
        return self.logits(features)
