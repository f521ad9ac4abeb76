"""How much a text has in common with reference texts, word by word: BLEU, ROUGE-L, CIDEr-D.

All of them count words in a row and none knows what words mean: a report that says "normal" of
everything earns much of them wherever most images are normal.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt
from typing import TypeAlias

import numpy as np

from medrobust.types import Float64Array

ORDER = 4
"""Longest run of words that is counted."""

BETA = 1.2
"""Weight of recall in ROUGE-L, as captions are scored."""

SIGMA = 6.0
"""Spread of lengths that CIDEr-D forgives, in words."""

Words: TypeAlias = tuple[str, ...]

Runs: TypeAlias = tuple[Counter[Words], ...]
"""Of one to four words in a row, how often each occurs."""

_WORD = re.compile(r"\w+(?:[.'’/-]\w+)*")


def words_of(text: str) -> Words:
    """Divide a text into words: runs of letters and digits in lower case, without punctuation.

    An apostrophe, a hyphen, a slash or a point inside a word is kept.

    Example:
        >>> words_of("No x-ray change; 2.5 cm nodule (left).")
        ('no', 'x-ray', 'change', '2.5', 'cm', 'nodule', 'left')
    """
    return tuple(_WORD.findall(text.lower()))


@lru_cache(maxsize=1 << 14)
def runs_of(words: Words) -> Runs:
    """Count the runs of one to `ORDER` words.

    Example:
        >>> [sum(counts.values()) for counts in runs_of(("no", "acute", "finding"))]
        [3, 2, 1, 0]
    """
    return tuple(
        Counter(words[start : start + size] for start in range(len(words) - size + 1))
        for size in range(1, ORDER + 1)
    )


def matches(answer: Words, references: Sequence[Words]) -> tuple[list[int], list[int], int]:
    """Count what BLEU is made of.

    A run counts as often as it occurs in the answer, and no more often than in the reference that
    has most of it (Papineni et al., ACL 2002).

    Returns:
        Of runs of 1 to 4 words, those of the answer that are found, and all of them; and the length
        of the reference that is nearest in length, of two as near the shorter.

    Example:
        >>> the = ("the",) * 7
        >>> found, counted, nearest = matches(the, [("the", "cat", "is", "on", "the", "mat")])
        >>> found[0], counted[0], nearest
        (2, 7, 6)
    """
    found, counted = [], []
    for size, own in enumerate(runs_of(answer)):
        most: Counter[Words] = Counter()
        for reference in references:
            most |= runs_of(reference)[size]
        found.append(sum(min(count, most[run]) for run, count in own.items()))
        counted.append(sum(own.values()))
    nearest = min((abs(len(one) - len(answer)), len(one)) for one in references)[1]
    return found, counted, nearest


@dataclass(frozen=True, slots=True)
class Bleu:
    """BLEU of a whole set, and how much each answer moves it.

    Attributes:
        value: In [0, 1].
        influence: float64 (N,) with mean 0: the variance of the value is that of its mean.
    """

    value: float
    influence: Float64Array


def bleu(found: Float64Array, counted: Float64Array, nearest: Float64Array, size: int) -> Bleu:
    """Compute BLEU of runs of up to `size` words over a set, without smoothing.

    BLEU = BP (p_1 ... p_size)^(1/size), p_n the found among all runs of n words of the set, and
    BP = min(1, exp(1 - r/c)) of the sums of the nearest lengths r and of the answers' c.

    Args:
        found: (N, 4), from `matches`.
        counted: (N, 4), likewise.
        nearest: (N,), likewise.
        size: 1 to 4.
    """
    hits, runs = found.sum(axis=0)[:size], counted.sum(axis=0)[:size]
    if not hits.all():
        return Bleu(0.0, np.zeros(len(found)))
    length, wanted = float(counted[:, 0].sum()), float(nearest.sum())
    value = float(np.exp(np.log(hits / runs).mean())) * min(1.0, exp(1 - wanted / length))
    moved = (found[:, :size] / hits - counted[:, :size] / runs).mean(axis=1)
    if length < wanted:
        moved += wanted * counted[:, 0] / length**2 - nearest / length
    return Bleu(value, value * len(found) * moved)


def rouge_l(answer: Words, references: Sequence[Words]) -> float:
    """Compute ROUGE-L: the longest common subsequence as a share of both texts, joined.

    Precision and recall are the best over the references, each for itself, and are joined by
    (1 + b^2) P R / (R + b^2 P), b = 1.2, as pycocoevalcap does.

    Example:
        >>> round(rouge_l(("a", "b", "d"), [("a", "b", "c", "d")]), 4)
        0.8356
    """
    common = [_longest_common(answer, one) for one in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(answer)
    recall = max(size / len(one) for size, one in zip(common, references, strict=True) if one)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


@lru_cache(maxsize=1 << 14)
def _longest_common(first: Words, second: Words) -> int:
    """Return the length of the longest common subsequence, a whole row of bits at a time.

    References:
        Crochemore et al., Information Processing Letters 80 (2001) 279.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(second)) - 1
    row = full
    for word in first:
        same = row & places.get(word, 0)
        row = (row + same | row - same) & full
    return len(second) - row.bit_count()


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A text as CIDEr sees it.

    Attributes:
        weights: Of runs of 1 to 4 words, run -> how often it occurs, times how rare it is.
        norms: Length of each of these vectors.
        pairs: Runs of two words: what lengths are compared by.
    """

    weights: tuple[dict[Words, float], ...]
    norms: tuple[float, ...]
    pairs: int


class Consensus:
    """CIDEr-D of answers against references, with the document frequencies of these references.

    A run weighs log(N / number of images whose references have it): what stands in every report
    weighs nothing. The answer's weight of a run counts no further than the reference's, and
    exp(-d^2 / 72) punishes a difference of d in length; the mean over references and over runs of 1
    to 4 words, times 10 (Vedantam et al., arXiv:1411.5726, as pycocoevalcap computes it).

    Args:
        references: Of each image, one text or several.
    """

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        self._images = log(len(references))
        self._within: Counter[Words] = Counter()
        for own in references:
            self._within.update({run for one in own for counts in runs_of(one) for run in counts})
        self._weighed = lru_cache(maxsize=1 << 14)(self._weigh)

    def score(self, answer: Words, references: Sequence[Words]) -> float:
        """Score one answer, from 0 to 10.

        Example:
            >>> texts = [("no", "finding"), ("large", "effusion")]
            >>> consensus = Consensus([[text] for text in texts])
            >>> [consensus.score(text, [texts[0]]) for text in texts]
            [5.0, 0.0]
        """
        own = self._weighed(answer)
        found = sum(_likeness(own, self._weighed(one)) for one in references)
        return 10 * found / len(references)

    def _weigh(self, words: Words) -> _Weighed:
        counted = runs_of(words)
        weights = tuple(
            {run: n * (self._images - log(max(1, self._within[run]))) for run, n in counts.items()}
            for counts in counted
        )
        norms = tuple(sqrt(sum(weight**2 for weight in own.values())) for own in weights)
        return _Weighed(weights, norms, sum(counted[1].values()))


def _likeness(answer: _Weighed, reference: _Weighed) -> float:
    """Return the mean over sizes of the clipped cosine of two texts, punished for their lengths."""
    total = 0.0
    for own, other, norm, wanted in zip(
        answer.weights, reference.weights, answer.norms, reference.norms, strict=True
    ):
        if norm > 0 and wanted > 0:
            shared = (min(own[run], other[run]) * other[run] for run in own.keys() & other.keys())
            total += sum(sorted(shared)) / (norm * wanted)
    return total / ORDER * exp(-((answer.pairs - reference.pairs) ** 2) / (2 * SIGMA**2))


def most_typical(texts: Sequence[Words]) -> int:
    """Return the place of the text that has most in common with all, of several the first.

    It has the largest mean cosine with the counts of runs of 1 to 4 words of all texts; one that
    was written often has much in common with many.

    Example:
        >>> most_typical([("no", "effusion"), ("no", "finding"), ("no", "finding"), ("mass",)])
        1
    """
    total: tuple[dict[Words, float], ...] = tuple({} for _ in range(ORDER))
    for text in texts:
        for sums, counts in zip(total, runs_of(text), strict=True):
            norm = _norm(counts)
            for run, count in counts.items():
                sums[run] = sums.get(run, 0.0) + count / norm
    alike: dict[Words, float] = {}
    for text in texts:
        if text not in alike:
            alike[text] = round(_in_common(total, runs_of(text)), 6)
    return max(range(len(texts)), key=lambda place: (alike[texts[place]], -place))


def _in_common(total: Sequence[dict[Words, float]], runs: Runs) -> float:
    return sum(
        sum(count * sums[run] for run, count in counts.items()) / _norm(counts)
        for sums, counts in zip(total, runs, strict=True)
        if counts
    )


def _norm(counts: Counter[Words]) -> float:
    return sqrt(sum(count**2 for count in counts.values()))
