"""What turns features into the arrays of a cell, how it is described, and whom it may ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

HeadDescription: TypeAlias = Mapping[str, Any]
"""Plain values that decide the outputs of a head; `kind` names its task. Part of fingerprints."""


READ_AS = "read_as"
"""Key of a head: sentence -> what the model's tokenizer makes of it where release 0.1 read it
otherwise."""


AFTER = "after"
"""Key of an encoding whose method keeps what it has learned: the encoding before it."""

MIXED = "mixed"
"""Key of an encoding whose method sees the images of all conditions in one order: their digest."""

ONLINE = "online"
"""Key of a head: what adapts its answers to the images of the split, without a label."""

CUT_TEXTS = "cut_texts"
"""Key of a head: how many of its texts are longer than the model's context, and cut."""

APART = "apart"
"""Key of a head that pools the images of a unit: by which column the split numbers units of several
patients alike, which are told apart. A split where none are has no such key."""

ONE_ANSWER = "one_answer"
"""Key of a head that has one answer for every image, whatever is asked: true, or not there."""

FOR_PEOPLE = frozenset({"name", CUT_TEXTS, ONE_ANSWER})
"""Keys of a head that decide no number, and stand in no fingerprint."""


def deciding(head: HeadDescription) -> dict[str, Any]:
    """Return what of a head decides its numbers."""
    return {key: value for key, value in head.items() if key not in FOR_PEOPLE}


class Head(Protocol):
    """Turns what one pass left behind into the arrays of a cell."""

    def outputs(self, features: Any) -> Mapping[str, NDArray[Any]]:
        """Return exactly `Task.arrays`, from float32 features (N, D) on the CPU.

        Raises:
            NotFiniteError: If features or outputs are not finite.
        """
        ...


@runtime_checkable
class SplitHead(Head, Protocol):
    """Head whose answers depend on which images the split has, and in which order they come."""

    def outputs_of(self, features: Any, data: Any) -> Mapping[str, NDArray[Any]]:
        """Return exactly `Task.arrays`.

        Args:
            features: float32 (N, D) on the CPU.
            data: The split; its `stream` and `index` name the images.

        Raises:
            NotFiniteError: If features or outputs are not finite.
        """
        ...


@runtime_checkable
class NotedHead(SplitHead, Protocol):
    """Head that has more to say of a split than its arrays: the record of the cell keeps it."""

    def notes_of(self, features: Any, data: Any) -> Mapping[str, Any]:
        """Return plain values, from what `outputs_of` takes."""
        ...


@runtime_checkable
class StreamHead(Head, Protocol):
    """Head whose method answers images while they come: a pass gives it logits, not features."""

    looks: bool
    """Whether the method sees all images before it answers the first one."""

    goes_on: bool
    """Whether it keeps what it has learned from one condition to the next."""

    def order(self, data: Any, conditions: Sequence[str] = ()) -> Any:
        """Return the rows of a split in the order in which they come, int64 (N,).

        Args:
            data: The split.
            conditions: Where images of several conditions are mixed, their C digests: (C N,) comes
                back, N rows of the first condition, then N of the second, and so on.
        """
        ...

    def stream(self, model: Any, data: Any) -> Mapping[str, Any]:
        """Return what begins a session on a model, as `medrobust.engine.stream` takes it."""
        ...


class TrainedHeads(Protocol):
    """An adapter, which may bring heads of its own, one a data set, and methods online."""

    @property
    def methods(self) -> Sequence[Any]:
        """What adapts its answers further; each has a head of its own."""
        ...

    def method(self, described: Mapping[str, Any]) -> Any:
        """Return the one of `methods` with that description."""
        ...

    def head_description(self, dataset: str, class_names: Sequence[str]) -> HeadDescription | None:
        """Return what decides the outputs of its head, or None where it brings none."""
        ...

    def head(self, dataset: str, class_names: Sequence[str]) -> Any:
        """Return the module, or None where it brings none."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSide:
    """What a task may ask about the model that answers.

    Attributes:
        source: What conf/model has built: its name, how it reads sentences.
        prompt_sets: Those that were chosen, in table order.
        model: Returns the adapted model, loaded once, in eval mode.
        trained: Heads that a tuned adapter brings; None without one.
        known_head: Returns the head of a description, made once for all that ask for it.
    """

    source: Any
    prompt_sets: Sequence[Any]
    model: Callable[[], Any]
    trained: TrainedHeads | None = None
    known_head: "Callable[[HeadDescription, Any], Head] | None" = None
