"""Quality prompts as a task: a model's text side says what is wrong with an image.

In the manner of CLIP-IQA (Wang et al., AAAI 2023, arXiv:2207.12396): the softmax over the cosines
to two sentences of opposite meaning, times the logit scale. Sentences are our own. Nothing is
encoded for it where the store keeps features.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.estimates import Metric, with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.models.prompts import STATES, PromptSet, check_words
from medrobust.tasks.agreement import ALLOWED, Agreement, Move, agreement_of_arrays
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Task,
    Terms,
)
from medrobust.tasks.text_side import cut_texts, text_model
from medrobust.types import Float64Array

PURPOSE = "judge the quality of images by sentences"

SIDES = ("good", "bad")
"""The two sides of a pair, in the order in which a head has them."""

ASPECTS: Mapping[str, str] = MappingProxyType(
    {
        "prompted_poor": "poor quality by sentences (chance)",
        "prompted_blur": "blur by sentences (chance)",
        "prompted_noise": "noise by sentences (chance)",
        "prompted_dark": "underexposure by sentences (chance)",
        "prompted_bright": "overexposure by sentences (chance)",
        "prompted_flat": "low contrast by sentences (chance)",
        "prompted_artifact": "artifacts by sentences (chance)",
    }
)
"""Measure -> title; each is the chance of the worse side, so that less is better."""

SMALLEST = 1e-9
"""Chance below which, and above one minus which, all are taken for equal."""


class QualityPrompts(Task):
    """Ask a vision-language model for the quality of images, by pairs of opposite sentences.

    Args:
        pairs: Measure -> "good" and "bad" -> sentences; `{modality}` in them is the modality of
            the data set. Measures are those of `ASPECTS`, in whose order they are kept: records
            have them by the alphabet.

    Raises:
        UnknownNameError: If there is no such measure.
        ConfigurationError: If a pair lacks a side, none is given, or a sentence is empty or has
            another field than `{modality}`.
    """

    kind = "quality_prompts"
    level = "image"
    reads_prompts = False
    arrays = MappingProxyType({"measures": ArraySpec("float64", ("image", "measure"))})
    metrics = MappingProxyType({name: Metric(title, False) for name, title in ASPECTS.items()})
    losses = tuple(ASPECTS)
    offered = losses
    of_models = False

    def __init__(self, pairs: Mapping[str, Mapping[str, Sequence[str]]] | None = None) -> None:
        given = {} if pairs is None else pairs
        for name in given:
            if name not in ASPECTS:
                raise unknown_name("measure of task=quality_prompts", str(name), ASPECTS)
        self.pairs = {name: given[name] for name in ASPECTS if name in given}
        for name, sides in self.pairs.items():
            if not isinstance(sides, Mapping) or set(sides) != set(SIDES):
                raise ConfigurationError(
                    f"task.pairs.{name} must list sentences of a good and of a bad image, under "
                    f"the keys good and bad."
                )
            if any(isinstance(side, str) or not side for side in sides.values()):
                raise ConfigurationError(
                    f"task.pairs.{name}: write sentences as a list, at least one a side."
                )
            for side, sentences in sides.items():
                check_words(f"task.pairs.{name}.{side}", sentences)
            for shared in sorted(set(sides["good"]) & set(sides["bad"])):
                raise ConfigurationError(
                    f"task.pairs.{name} has {shared!r} on both sides: a sentence is of a good "
                    f"image or of a bad one."
                )
        if pairs is not None and not self.pairs:
            raise ConfigurationError("task.pairs names no pair of sentences: give at least one.")

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say which sentences judge.

        Raises:
            ConfigurationError: If the model reads none, both sides of a pair are the same, or a
                sentence asks for a modality that the data set does not name.
        """
        model = text_model(side, PURPOSE)
        if not self.pairs:
            raise ConfigurationError("task=quality_prompts has no pairs: give task.pairs.")
        texts = [
            sentences
            for name, sides in self.pairs.items()
            for sentences in _filled(name, sides, data)
        ]
        description = {"kind": self.kind, "measures": list(self.pairs), "texts": texts}
        return [description | cut_texts(model, [one for own in texts for one in own])]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the sentences of all pairs, once."""
        from .head import PairHead

        return PairHead(text_model(side, PURPOSE), description)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Average each chance over the images, with its interval over images or patients."""
        columns = cell.arrays["measures"].T
        estimates, terms = {}, {}
        for name, values in zip(cell.head["measures"], columns, strict=True):
            bounds = share_interval(values, cell.patients)
            estimates[name] = with_bounds(float(values.mean()), bounds)
            terms[name] = Terms(values)
        return Scores(estimates, terms)

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare log odds: they move as logits do."""
        stored, other = ({"log odds": _log_odds(a["measures"])} for a in (cell.arrays, again))
        return agreement_of_arrays(stored, other, ALLOWED[move])

    def collapsed(self, cell: Cell) -> str | None:
        """Name chances that are the same for every image."""
        given = cell.arrays["measures"]
        return "the same chances" if len(given) > 1 and bool((given == given[0]).all()) else None


def _log_odds(chances: Float64Array) -> Float64Array:
    kept = np.clip(chances, SMALLEST, 1 - SMALLEST)
    return np.log(kept / (1 - kept))


def _filled(name: str, sides: Mapping[str, Sequence[str]], data: Any) -> list[list[str]]:
    """Return the sentences of the good and of the bad side, the modality filled in."""
    words = dict(zip(STATES, (list(sides[side]) for side in SIDES), strict=True))
    found: list[list[str]] = PromptSet(name, ["{}"], states=words).state_texts(
        dataset=data.name, modality=data.modality
    )
    return found


TASK = QualityPrompts()
