"""How many texts were longer than a model's context, and cut: counted where somebody asks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class CutTexts:
    """What tokenizers have cut.

    Attributes:
        number: Texts that were cut.
        context: Most tokens of a text, of the tokenizer that cut last; 0 before.
    """

    number: int = 0
    context: int = 0


_asked: ContextVar[CutTexts | None] = ContextVar("cut_texts", default=None)


@contextmanager
def counting_cut_texts() -> Iterator[CutTexts]:
    """Count the texts that tokenizers cut within this context.

    Example:
        >>> with counting_cut_texts() as cut:
        ...     note_cut_texts([5, 9, 12], 9)
        >>> cut
        CutTexts(number=1, context=9)
    """
    found = CutTexts()
    token = _asked.set(found)
    try:
        yield found
    finally:
        _asked.reset(token)


def note_cut_texts(lengths: Sequence[int], context: int) -> None:
    """Say how long texts were, in tokens with the marks at their ends, before they were cut."""
    found = _asked.get()
    cut = sum(length > context for length in lengths)
    if found is not None and cut:
        found.number, found.context = found.number + cut, context


def are_counted() -> bool:
    """Say whether somebody asks: where counting takes a second pass."""
    return _asked.get() is not None
