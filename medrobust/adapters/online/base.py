"""What every way to adapt answers gives: how it is described, and answers from answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array

Needs: TypeAlias = Literal["logits", "features", "class texts", "images", "images and sentences"]
"""What a method reads: answers alone, image features too, class texts as vectors too; or the
images themselves, which it gives to the model, and the sentences of the classes too."""

Begins: TypeAlias = Literal["episodic", "per_cell", "continual", "mixed"]
"""When a method begins anew: with every micro-batch, with every cell, with the first cell of a
stated stream of them, or with the first image of a stream in which those of all cells are mixed."""

VERSION = 1
"""Of the methods' arithmetic, part of every description: raised whenever an answer moves."""


class Answered(Protocol):
    """What a model leaves behind of a split, under one corruption of one severity."""

    @property
    def logits(self) -> Float64Array:
        """The model's own, (N, K)."""
        ...

    @property
    def features(self) -> Float64Array:
        """Image features of unit norm, (N, D)."""
        ...

    @property
    def classes(self) -> Float64Array:
        """Class texts of unit norm, (K, D)."""
        ...

    @property
    def scale(self) -> float:
        """From a cosine to a logit."""
        ...

    @property
    def order(self) -> Int64Array:
        """Rows in the order in which the images come, a permutation (N,)."""
        ...

    @property
    def sentences(self) -> Float64Array:
        """The method's own sentences, of unit norm, (S, D)."""
        ...


@dataclass(frozen=True, slots=True)
class Online(ABC):
    """Adapts the answers to one split, without a label.

    Attributes:
        order: Which order the images come in, keyed by it and by the images' own index; read only
            where one image changes the answer to a later one.
        method: Name, as typed.
        needs: What it reads.
        protocols: When it may begin anew; the first one is its own.
        later: Parameters that came when cells were stored already, each with the value at which
            descriptions leave it out.
    """

    order: int = 0

    method: ClassVar[str]
    needs: ClassVar[Needs]
    protocols: ClassVar[tuple[Begins, ...]] = ("per_cell",)
    later: ClassVar[Mapping[str, Any]] = {}

    @property
    def ordered(self) -> bool:
        """Whether another order of the images has other answers."""
        return False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it reads besides class texts; `{modality}` stands for the data set's."""
        return ()

    @property
    def reads_images(self) -> bool:
        """Whether it gives images to the model itself, so that no stored feature serves it."""
        return self.needs.startswith("images")

    def parameters(self) -> dict[str, Any]:
        """Return plain values of all fields but the order, and but `later` ones as ever.

        Infinity is the text "inf", for which JSON has no number.
        """
        every = ((field.name, getattr(self, field.name)) for field in fields(self))
        named = (one for one in every if one not in self.later.items())
        return {
            name: list(value)
            if isinstance(value, tuple)
            else ("inf" if value == float("inf") else value)
            for name, value in named
            if name != "order"
        }

    def description(self) -> dict[str, Any]:
        """Return what decides the answers, besides the model's own."""
        order = {"order": self.order} if self.ordered else {}
        return {"method": self.method, "version": VERSION, **self.parameters(), **order}

    @property
    def label(self) -> str:
        """Name and what differs from the defaults, whatever the order."""
        usual = type(self)().parameters()
        set_ = {k: v for k, v in self.parameters().items() if k not in usual or v != usual[k]}
        return " ".join([self.method, *(_said(name, value) for name, value in set_.items())])

    @property
    def name(self) -> str:
        """In tables: the label, and the order where it is not the first."""
        return f"{self.label} order {self.order}" if self.ordered and self.order else self.label


class FromAnswers(Online):
    """Adapts answers from nothing but features and answers of the images of a split.

    There is no state beside the arguments of `logits`.
    """

    __slots__ = ()

    @abstractmethod
    def logits(self, given: Answered) -> Float64Array:
        """Return adapted logits, float64 (N, K), in the order of the rows."""

    def notes(self, given: Answered) -> dict[str, Any]:
        """Return what else the record of the cell says, plain."""
        return {}


def _said(name: str, value: Any) -> str:
    if value is True:
        return name
    if isinstance(value, list):
        return f"own {name}"
    return f"{name}={'null' if value is None else value}"


def check(method: str, key: str, value: float, *, low: float, whole: bool = False) -> None:
    """Refuse a parameter below its least value.

    Raises:
        ConfigurationError: Naming method and key.
    """
    right = type(value) in ((int,) if whole else (int, float))
    if not right or not value >= low or value == float("inf"):
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(
            f"adapter.online: {key}={value} of {method} must be {kind} from {low:g} on."
        )


def log_softmax(logits: Float64Array) -> Float64Array:
    """Return logarithms of probabilities, float64 (N, K), finite wherever logits are.

    Example:
        >>> np.exp(log_softmax(np.zeros((1, 4)))).round(3).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Float64Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def entropies(logits: Float64Array) -> Float64Array:
    """Return the entropy of each row's probabilities in nats, float64 (N,).

    Example:
        >>> entropies(np.zeros((1, 2))).round(4).tolist()
        [0.6931]
    """
    chances = log_softmax(logits)
    found: Float64Array = -(np.exp(chances) * chances).sum(axis=1)
    return np.maximum(found, 0.0)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments, lists as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
