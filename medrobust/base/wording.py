"""Numbers in sentences."""

from collections.abc import Sequence

IRREGULAR = {
    "class": "classes",
    "differs": "differ",
    "has": "have",
    "index": "indices",
    "is": "are",
    "it": "them",
    "names": "name",
    "repeats": "repeat",
    "severity": "severities",
    "shows": "show",
    "stands": "stand",
    "was": "were",
    "study": "studies",
}
"""Words whose plural is not that of the others."""


def counted(number: int, thing: str) -> str:
    """Write a number and what it counts, in the singular for one.

    Example:
        >>> counted(1, "image"), counted(2, "class"), counted(0, "cell")
        ('1 image', '2 classes', '0 cells')
    """
    return f"{number} {agreeing(number, thing)}"


def part_of(number: int, total: int, thing: str) -> str:
    """Write how many of how many; the verb after it agrees with the first.

    Example:
        >>> part_of(1, 60, "image"), part_of(1, 1, "class")
        ('1 of 60 images', '1 of 1 class')
    """
    return f"{number} of {counted(total, thing)}"


def agreeing(number: int, word: str) -> str:
    """Return a noun, verb or pronoun as it stands beside that number.

    Example:
        >>> agreeing(1, "is"), agreeing(3, "is"), agreeing(0, "model")
        ('is', 'are', 'models')
    """
    return word if number == 1 else IRREGULAR.get(word, f"{word}s")


def listed(things: Sequence[str]) -> str:
    """Join things as a sentence does.

    Example:
        >>> listed(["sensitivity", "specificity", "kappa"]), listed(["kappa"])
        ('sensitivity, specificity and kappa', 'kappa')
    """
    return " and ".join(filter(None, (", ".join(things[:-1]), *things[-1:])))
