"""From image features to answers, and from answers to what they have in common with reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medrobust.metrics.text_overlap import Consensus, Words, matches, rouge_l, words_of
from medrobust.models.base import VisionLanguageModel
from medrobust.tasks.text_features import check_finite, text_features
from medrobust.types import FeatureBatch, Int64Array

from .corpus import Corpus, Findings

TIE = 1e-6
"""Cosines that differ by no more count as equal: the text that stands first in the corpus is
taken, so that rounding chooses no answer."""

BLOCK = 1 << 24
"""Similarities that are held at once: 64 MiB."""

Row = tuple[list[int], list[int], int, float, float]
"""Of one answer: what is found, what is counted, nearest length, ROUGE-L, CIDEr-D."""


class Judge:
    """Compares answers with the reports of a split, of which a store keeps no word.

    Args:
        data: Facts of the split, whose target is texts.
        corpus: What answers are made of, by their places in it.
        shown: Labels of each image, which are compared with those of the corpus; None: none are.
    """

    def __init__(self, data: Any, corpus: Corpus, shown: Sequence[Findings] | None = None) -> None:
        words = [words_of(text) for text in data.target.values.tolist()]
        own: list[list[int]] = [[] for _ in range(len(data))]
        for image, text in data.target.pairs.tolist():
            own[image].append(text)
        self._corpus = corpus
        self._own = [tuple(sorted(texts)) for texts in own]
        self._references = [[words[text] for text in texts] for texts in own]
        self._consensus = Consensus(self._references)
        self._shown = shown
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], Row] = {}

    def arrays(self, answers: Int64Array) -> Mapping[str, NDArray[Any]]:
        """Measure the answers to all images.

        Args:
            answers: int64 (N, k), places in the corpus.

        Returns:
            What a cell of the task holds.
        """
        rows = [self._row(image, tuple(own)) for image, own in enumerate(answers.tolist())]
        found, counted, nearest, rouge, cider = zip(*rows, strict=True)
        return {
            "answer": answers.astype(np.int32),
            "runs_found": np.array(found, np.int32),
            "runs": np.array(counted, np.int32),
            "nearest_length": np.array(nearest, np.int32),
            "rouge_l": np.array(rouge, np.float32),
            "cider_d": np.array(cider, np.float32),
            "findings": self._findings(answers),
        }

    def _row(self, image: int, answer: tuple[int, ...]) -> Row:
        key = self._own[image], answer
        if key not in self._known:
            words: Words = tuple(word for place in answer for word in self._corpus.words[place])
            references = self._references[image]
            cider = self._consensus.score(words, references)
            both = rouge_l(words, references), cider
            self._known[key] = (*matches(words, references), *both)
        return self._known[key]

    def _findings(self, answers: Int64Array) -> NDArray[np.int32]:
        """Count labels that answer and image share, of the answer, of the image; -1 without."""
        if self._shown is None or self._corpus.findings is None:
            return np.full((len(answers), 3), -1, np.int32)
        said = [self._corpus.findings[place] for place in answers[:, 0].tolist()]
        return np.array([_counts(*both) for both in zip(said, self._shown, strict=True)], np.int32)


def _counts(said: Findings, shown: Findings) -> tuple[int, int, int]:
    return len(said & shown), len(said), len(shown)


class BestMatch:
    """Answers an image by the texts of the corpus that are most like it.

    Args:
        model: Reads the corpus, once.
        corpus: What is looked through.
        judge: Compares answers with reports.
        count: How many texts make an answer, the most like one first.
        dataset: Whose corpus it is, for the log.
    """

    def __init__(
        self, model: VisionLanguageModel, corpus: Corpus, judge: Judge, count: int, dataset: str
    ) -> None:
        self._judge, self._count = judge, count
        self._texts = text_features(
            model, [[text] for text in corpus.texts], f"the corpus of {dataset}"
        )

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Find the answers and measure them.

        Args:
            features: float32 (N, D) of unit norm, on the CPU.

        Raises:
            NotFiniteError: If features are not finite.
        """
        check_finite(features, self._texts)
        return self._judge.arrays(nearest(features, self._texts, self._count))


class Constant:
    """Answers every image by one text.

    Args:
        place: Of the text in the corpus.
        judge: Compares answers with reports.
    """

    def __init__(self, place: int, judge: Judge) -> None:
        self._place, self._judge = place, judge

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Measure the one answer against the reports of all images."""
        return self._judge.arrays(np.full((len(features), 1), self._place, np.int64))


def nearest(images: FeatureBatch, texts: FeatureBatch, count: int) -> Int64Array:
    """Return the places of the most similar texts, the most similar first: int64 (N, count).

    Args:
        images: float32 (N, D) of unit norm.
        texts: float32 (C, D), likewise.
        count: At most C.
    """
    rows = max(1, BLOCK // len(texts))
    parts = [_nearest(part @ texts.T, count) for part in torch.split(images, rows)]
    found: Int64Array = torch.cat(parts).numpy()
    return found


def _nearest(cosines: torch.Tensor, count: int) -> torch.Tensor:
    """Take the largest of each row in turn; of those that are as large the first."""
    chosen = []
    for _ in range(count):
        equal = cosines >= cosines.max(dim=1, keepdim=True).values - TIE
        first = equal.int().argmax(dim=1)
        cosines[torch.arange(len(cosines)), first] = -2
        chosen.append(first)
    return torch.stack(chosen, dim=1)
