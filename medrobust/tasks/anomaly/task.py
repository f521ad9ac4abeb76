"""Anomaly detection as a task: scores and maps in, ranks, false alarms and overlap out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import unknown_name
from medrobust.metrics.detection import OperatingPoint
from medrobust.metrics.pixels import PixelCurve
from medrobust.tasks.agreement import ALLOWED, Agreement, Move, agreement_of_arrays
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Section,
    Table,
    Task,
)
from medrobust.tasks.text_side import text_model

from . import scores
from .sections import false_alarms
from .states import check_both_states, normal_classes

Scorer: TypeAlias = Literal["prompts"]
"""What an image is scored by."""

SCORERS: tuple[Scorer, ...] = get_args(Scorer)

PURPOSE = "score images by sentences of a normal and an abnormal state"

CELL = MappingProxyType(
    {
        "score": ArraySpec("float32", ("image",)),
        "normal_pixels": ArraySpec("int64", ("level",)),
        "lesion_pixels": ArraySpec("int64", ("level",)),
        "region_overlap": ArraySpec("float64", ("level",)),
        "pixel_influence": ArraySpec("float32", ("image", "number")),
    }
)
"""What a cell holds: a score an image; and of maps what lies at which level, and what each image
moves, never the maps. Without maps or masks there are no levels."""


class Anomaly(Task):
    """Tell images that are normal from all others, and say where they are not.

    Args:
        scorer: "prompts": sentences of both states, from the prompt set.

    Raises:
        UnknownNameError: If there is no such scorer.
    """

    kind = "anomaly"
    level = "image"
    target = "masks or labels"
    arrays = CELL
    metrics = scores.METRICS
    losses = scores.LOSSES
    offered = tuple(scores.METRICS)
    fitted = scores.FITTED

    def __init__(self, scorer: Scorer = "prompts") -> None:
        if scorer not in SCORERS:
            raise unknown_name("scorer of task=anomaly", scorer, SCORERS)
        self.scorer = scorer

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what scores: one head a prompt set.

        Raises:
            ConfigurationError: If no class is normal, the split has one state alone, or the model
                reads no sentences.
        """
        normal = normal_classes(data)
        check_both_states(data, normal)
        text_model(side, PURPOSE)
        return [
            {
                "kind": self.kind,
                "scorer": self.scorer,
                "name": prompts.name,
                "normal": list(normal),
                "texts": _texts(prompts, data, normal),
            }
            for prompts in side.prompt_sets
        ]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the sentences of both states, once."""
        from .head import StateHead

        return StateHead(text_model(side, PURPOSE), description)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell, fitted)

    def fit(self, clean_val: Cell) -> OperatingPoint | None:
        """Set the threshold that false alarms are counted at."""
        return scores.fit(clean_val)

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare scores, and the numbers of maps: rounding moves pixels to the next level."""
        stored, other = (
            {"score": arrays["score"], **_numbers(arrays)} for arrays in (cell.arrays, again)
        )
        return agreement_of_arrays(stored, other, ALLOWED[move])

    def collapsed(self, cell: Cell) -> str | None:
        """Name scores that are the same for every image."""
        return scores.collapsed(cell)

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return the table of false alarms."""
        return (Section("False alarms", order=10, html=false_alarms(matrix)),)


def _texts(prompts: Any, data: Any, normal: Sequence[str]) -> list[list[str]]:
    """Return the sentences of the normal state and of the other one.

    A prompt set without states of its own gets the words of the data set: its phrases for both,
    where it has some, else the names of its classes.
    """
    named = list(zip(data.class_names, data.texts, strict=True))
    words = data.states or [
        [text for name, text in named if (name in normal) == state] or ["no finding"]
        for state in (True, False)
    ]
    found: list[list[str]] = prompts.state_texts(
        dataset=data.name, modality=data.modality, states=words
    )
    return found


def _numbers(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    counts = scores.pixel_counts(arrays)
    if not len(counts.normal) or not counts.defined:
        return {}
    return {"numbers of pixels": np.array(PixelCurve(counts).values)}


TASK = Anomaly()
