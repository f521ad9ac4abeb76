"""Answers of a classifier that are adapted to the images of a split, without a label.

A head of a cell of its own: its description names the method, its parameters and the order of the
images, so that it is stored, found again and compared like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.tasks.base import ONLINE, HeadDescription, ModelSide
from medrobust.types import Float64Array, Int64Array

from .heads import GUIDANCE, ITSELF, PROBE, TEXTS
from .streamed import StreamedHead, own_head, read_besides, stream_order

if TYPE_CHECKING:
    from medrobust.types import FeatureBatch

MODALITY = "modality"
"""Key of a method with sentences: what stands for `{modality}` in them."""

UNNAMED = "image"
"""Modality of a data set that names none."""


def adapted_heads(
    own: Sequence[HeadDescription], data: Any, side: ModelSide
) -> list[HeadDescription]:
    """Describe every head with every method of the adapter.

    Raises:
        ConfigurationError: If answers to this data set, or of such a head, cannot be adapted so.
    """
    methods = side.trained.methods if side.trained is not None else ()
    if methods and data.labels.ndim == 2:
        raise ConfigurationError(
            f"adapter.online adapts probabilities of one class an image, and {data.name!r} has "
            f"several labels an image: leave adapter.online out."
        )
    found: list[HeadDescription] = []
    for method in methods:
        for head in own:
            _check(method, head, side)
            of_data = {MODALITY: data.modality or UNNAMED} if method.sentences else {}
            if method.reads_images:
                of_data |= read_besides(method, data)
            found.append({**head, ONLINE: {**method.description(), **of_data}})
    return found


def _check(method: Any, head: HeadDescription, side: ModelSide) -> None:
    """Refuse a head that lacks what a method reads.

    Raises:
        ConfigurationError: Naming method and model.
    """
    if method.reads_images:
        _check_streamed(method, head, side)
    if method.needs == "features" and head["kind"] == ITSELF:
        raise ConfigurationError(
            f"adapter.online={method.method} reads image features, and model "
            f"{side.source.name!r} gives logits alone: choose prior or transport."
        )
    if method.needs == "class texts" and (head["kind"] != TEXTS or GUIDANCE in head):
        raise ConfigurationError(
            f"adapter.online={method.method} moves class texts, and what classifies for model "
            f"{side.source.name!r} is no plain set of them: choose lame, tda, prior or transport."
        )


def _check_streamed(method: Any, head: HeadDescription, side: ModelSide) -> None:
    """Refuse a classifier or a model that a method cannot adapt while images come.

    Raises:
        ConfigurationError: Naming method and model.
    """
    if head["kind"] == PROBE:
        raise ConfigurationError(
            f"adapter.online={method.method} adapts the model under its classifier, and a probe "
            f"was fitted to features of the model as it is: choose lame, tda, prior or transport."
        )
    if method.needs == "images and sentences" and (head["kind"] != TEXTS or GUIDANCE in head):
        raise ConfigurationError(
            f"adapter.online={method.method} reads the sentences of the classes, and what "
            f"classifies for model {side.source.name!r} is no plain set of them: choose tent."
        )
    method.check(side.model())


def online_head(
    side: ModelSide, description: HeadDescription, data: Any
) -> "AdaptedHead | StreamedHead":
    """Return what answers by a method: from features and answers, or while images come."""
    assert side.trained is not None
    if side.trained.method(description[ONLINE]).reads_images:
        return StreamedHead(side, description, data)
    return AdaptedHead(side, description, data)


class AdaptedHead:
    """Gives the logits of a classifier, adapted by one method.

    Args:
        side: The model that answers.
        description: Of `adapted_heads`.
        data: Facts of the split.
    """

    def __init__(self, side: ModelSide, description: HeadDescription, data: Any) -> None:
        assert side.trained is not None
        self._method = side.trained.method(description[ONLINE])
        self._own = own_head(side, description, data)
        self._sentences = np.empty((0, 0))
        if self._method.sentences:  # now: later the model is encoding images
            modality = description[ONLINE][MODALITY]
            self._sentences = _encoded(side, self._method.sentences, modality)

    def outputs(self, features: "FeatureBatch") -> Mapping[str, NDArray[Any]]:
        """Refuse features without their images: which come first must be known.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the answers of a method online are those of a split: ask `outputs_of`")

    def outputs_of(self, features: "FeatureBatch", data: Any) -> Mapping[str, NDArray[Any]]:
        """Classify features, float32 (N, D) on the CPU, and adapt the answers.

        Args:
            features: Of the whole split, in its order.
            data: The split, for the keys of its images.

        Returns:
            "logits": float32 (N, K).

        Raises:
            NotFiniteError: If features or logits are not finite.
        """
        adapted = np.asarray(self._method.logits(self._given(features, data)), dtype=np.float32)
        if not np.isfinite(adapted).all():
            raise NotFiniteError(
                f"logits adapted by {self._method.name} are not finite. The cell was not stored."
            )
        return {"logits": adapted}

    def notes_of(self, features: "FeatureBatch", data: Any) -> Mapping[str, Any]:
        """Return what else the method says of a split, plain."""
        found: Mapping[str, Any] = self._method.notes(self._given(features, data))
        return found

    def _given(self, features: "FeatureBatch", data: Any) -> "Answers":
        own = self._own.outputs(features)["logits"]
        order = stream_order(data.index, data.stream, self._method.order)
        return Answers(self._own.module, features, own, self._sentences, order)


def _encoded(side: ModelSide, sentences: Sequence[str], modality: str) -> Float64Array:
    """Return features of sentences, each alone, (S, D)."""
    from medrobust.models.prompts import agreeing_article
    from medrobust.tasks.text_features import text_features

    agreeing = [agreeing_article(sentence, modality) for sentence in sentences]
    whole = [[sentence.replace("{modality}", modality)] for sentence in agreeing]
    found: Float64Array = text_features(side.model(), whole, "online").double().numpy()
    return found


@dataclass(frozen=True, slots=True)
class Answers:
    """What a method online may read of a split, as `medrobust.adapters.online.Answered` has it."""

    module: Any
    given_features: "FeatureBatch"
    given_logits: NDArray[np.float32]
    sentences: Float64Array
    order: Int64Array

    @property
    def logits(self) -> Float64Array:
        """The model's own, (N, K)."""
        return self.given_logits.astype(np.float64)

    @property
    def features(self) -> Float64Array:
        """Image features, (N, D)."""
        found: Float64Array = self.given_features.double().numpy()
        return found

    @property
    def classes(self) -> Float64Array:
        """Class texts, (K, D)."""
        found: Float64Array = self.module.present.double().numpy()
        return found

    @property
    def scale(self) -> float:
        """From a cosine to a logit."""
        return float(self.module.logit_scale)
