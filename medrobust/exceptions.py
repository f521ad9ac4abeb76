"""Errors of medrobust: each is also the built-in error that a caller would expect.

A message says what was asked, what was found, and what to do, in one sentence or two.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

LONGEST = 1200
"""Letters of a sentence: what it quotes may be of any length."""

Raised = TypeVar("Raised", bound="MedRobustError")


def printable(sentence: str) -> str:
    r"""Write what moves a terminal's cursor as its escape, and cut what nobody would read.

    Example:
        >>> print(printable("column 'a\x1b[2J' is missing"))
        column 'a\x1b[2J' is missing
    """
    if not sentence.isprintable():
        shown = (c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in sentence)
        sentence = "".join(shown)
    return sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]} …"


class MedRobustError(Exception):
    """Base of every error that medrobust raises on purpose.

    Attributes:
        discreet: The sentence without names of the user's own files, which may name a patient;
            None where it names none.
    """

    discreet: str | None = None

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(sentence))

    @property
    def for_records(self) -> str:
        """The sentence as logs and files may keep it."""
        return printable(self.discreet or str(self))


class ConfigurationError(MedRobustError, ValueError):
    """A configuration or argument that cannot be run as given."""


class UnknownNameError(MedRobustError, LookupError):
    """A name (corruption, suite, model, data set) that does not exist."""


class InvalidImageError(MedRobustError, ValueError):
    """An image array or file that cannot be used as an image."""


class InvalidDataError(MedRobustError, ValueError):
    """A data file (npz, CSV, labels) that is damaged or does not hold what it should."""


class DatasetNotFoundError(MedRobustError, FileNotFoundError):
    """Files of a data set that are not where they were looked for."""


class NotUnpackedError(MedRobustError):
    """Images that the cache does not hold, and more of them than may be unpacked just now."""


class WeightsNotFoundError(MedRobustError, FileNotFoundError):
    """Files of a model that are not where they were looked for."""


class WeightsMismatchError(MedRobustError, ValueError):
    """A checkpoint whose keys or shapes are not those of the model."""


class MissingDependencyError(MedRobustError, ImportError):
    """An optional package that is needed for what was asked and is not installed."""


class NotFiniteError(MedRobustError, ArithmeticError):
    """Features or logits with an infinity or no number: their cell is not stored."""


class StoreError(MedRobustError, RuntimeError):
    """A store or cell that cannot be written, or that is damaged."""


def hiding(error: Raised, discreet: str) -> Raised:
    """Give an error that quotes the user's own data the sentence that records may keep."""
    error.discreet = discreet
    return error


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name, with near misses and the names there are.

    Args:
        kind: What the name should have been ("corruption", "suite", ...).
        name: What was asked for.
        known: The names that exist.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> str(unknown_name("suite", "imagenetc", ["imagenet_c", "medimeta_c"]))
        "unknown suite 'imagenetc'. Did you mean 'imagenet_c'? There are: imagenet_c, medimeta_c"
    """
    options = list(known)
    near = get_close_matches(str(name), options, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} There are: {', '.join(options)}")
