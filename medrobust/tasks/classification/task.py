"""Classification as a task: logits in, errors, AUC and calibration out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from medrobust.corruptions.texts import TextCorruption
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.estimates import Estimate
from medrobust.metrics.joining import NUMBERED, WAYS
from medrobust.tasks.agreement import Agreement, Move
from medrobust.tasks.base import (
    ONLINE,
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Section,
    Table,
    Task,
    Units,
)

from . import heads, joined, scores
from .agreement import agreement_of_logits
from .answers import METRICS
from .fits import FITTED, Fit
from .in_memory import facts_of_labels
from .online import adapted_heads, online_head
from .sections import class_texts, classes, reliability_diagram


class Classification(Task):
    """Multi-class, binary, ordinal and multi-label, as MedMNIST names them.

    Args:
        text_corruption: What class texts are corrupted by, in rows beside those as they are; None:
            by nothing.
    """

    kind = "classification"
    level = "image"
    arrays = MappingProxyType({"logits": ArraySpec("float32", ("image", "class"))})
    metrics = METRICS
    losses = ("balanced_error", "error", "auc")
    offered = (
        "error", "balanced_error", "auc", "macro_f1", "auprc", "brier", "ece", "sensitivity",
        "specificity", "quadratic_weighted_kappa",
    )  # fmt: skip
    fitted = FITTED
    controls = scores.CONTROLS
    ways = (*WAYS, *NUMBERED)
    adapts_online = True

    def __init__(self, text_corruption: TextCorruption | None = None) -> None:
        self._text_corruption = text_corruption

    def with_text_corruption(self, corruption: TextCorruption) -> "Classification":
        """Return the task with rows of corrupted class texts beside those as they are."""
        return type(self)(corruption)

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what classifies, as `heads.heads` has it, and what adapts its answers online."""
        own = heads.heads(data, side, self._text_corruption)
        return [*own, *adapted_heads(own, data, side)]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode class texts, or take the trained or the model's own classifier."""
        if ONLINE in description:
            return online_head(side, description, data)
        from .logits import class_head

        return class_head(side, description)

    def check(self, arrays: Mapping[str, NDArray[Any]], data: Any, side: ModelSide) -> None:
        """Refuse what is not one column a class."""
        given, wanted = arrays["logits"].shape[1], len(data.class_names)
        if given != wanted:
            raise ConfigurationError(
                f"model {side.source.name!r} gives {given} logits an image, and data "
                f"set {data.name!r} has {wanted} classes: it was made for other classes."
            )

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare logits and what they predict."""
        return agreement_of_logits(cell, again["logits"], move)

    def facts_of(
        self, answers: Any, class_names: Sequence[str], positive: int | None
    ) -> Mapping[str, Any]:
        """Take labels, (N,) or (N, L)."""
        return facts_of_labels(answers, class_names, positive)

    def answers_untuned(self, side: ModelSide) -> bool:
        """Say whether the model classifies without a probe."""
        return heads.classifies(side)

    def tuned_head(self, data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
        """Say what classifies while an adapter is tuned."""
        return heads.tuned_head(data, side, trains_head=trains_head)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell, fitted)

    def fit(self, clean_val: Cell) -> Fit:
        """Fit operating points and temperature."""
        return Fit(scores.answers_of(clean_val))

    def torn(self, cell: Cell) -> Mapping[str, Mapping[str, Estimate]]:
        """Compute what shuffled images, shuffled texts and the majority class score."""
        return scores.torn(cell)

    def collapsed(self, cell: Cell) -> str | None:
        """Name logits or predictions that are the same for every image."""
        return scores.collapsed(cell)

    def joined_target(self, data: Any, units: Units) -> Any:
        """Return the labels of the units, as `joined.joined_labels` has it."""
        return joined.joined_labels(data, units)

    def joined(self, cell: Cell, units: Units) -> Mapping[str, NDArray[Any]]:
        """Join probabilities, as `joined.joined_logits` has it."""
        return {"logits": joined.joined_logits(cell, units)}

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return the table of classes, their texts, and the reliability diagram."""
        return (
            Section("Classes", order=10, html=classes(matrix)),
            Section("Class texts", order=11, html=class_texts(matrix)),
            Section("Reliability", order=12, html=reliability_diagram(matrix)),
        )


TASK = Classification()
