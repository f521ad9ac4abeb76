"""T3A: class texts are moved to the images that were surest of them (Iwasawa and Matsuo, 2021).

Images come one after another (`batch` at a time). Each is kept as an example of the class that the
model predicts, beside that class's text, which was there first; of each class the `entries` of
lowest entropy stay. Then it is answered:

    logit_k = scale * x . c_k / |c_k|,    c_k the sum of what is kept of class k.

As published an image is an example of its own class before it is answered. A class of which nothing
but its text is kept has the model's own logit, to the bit: without images this is the model.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medrobust.types import Float64Array

from .base import Answered, FromAnswers, Needs, check, entropies


@dataclass(frozen=True, slots=True)
class T3A(FromAnswers):
    """Test-time templates adjuster.

    Args:
        order: In which images come.
        entries: What is kept of a class, its text counted; None: everything; 0: nothing is added,
            and the model's own answers stay, to the bit.
        batch: Images that are kept before any of them is answered.
    """

    entries: int | None = 20
    batch: int = 1

    method: ClassVar[str] = "t3a"
    needs: ClassVar[Needs] = "class texts"

    def __post_init__(self) -> None:
        """Refuse numbers that count nothing.

        Raises:
            ConfigurationError: Naming the key.
        """
        check("t3a", "batch", self.batch, low=1, whole=True)
        if self.entries is not None:
            check("t3a", "entries", self.entries, low=0, whole=True)

    @property
    def ordered(self) -> bool:
        """What was kept before decides."""
        return True

    def logits(self, given: Answered) -> Float64Array:
        """Return logits by the moved class texts, float64 (N, K)."""
        found = given.logits.copy()
        if self.entries == 0:
            return found
        predicted, sure = given.logits.argmax(axis=1), entropies(given.logits)
        kept = Examples(given.classes, given.scale, self.entries)
        for start in range(0, len(given.order), self.batch):
            rows = given.order[start : start + self.batch]
            for row in rows:
                kept.add(int(predicted[row]), float(sure[row]), given.features[row])
            moved = kept.moved
            answers = given.scale * (given.features[rows] @ kept.directions[moved].T)
            found[np.ix_(rows, moved.nonzero()[0])] = answers
        return found


class Examples:
    """What is kept of each class: at first its text.

    Args:
        classes: Unit class texts, (K, D).
        scale: From a cosine to a logit, for the entropies of the texts.
        entries: Most of a class; None: all.

    Attributes:
        directions: Of unit norm, (K, D): what answers for each class.
        moved: bool (K,), the classes of which more or other things than the text are kept.
    """

    def __init__(self, classes: Float64Array, scale: float, entries: int | None) -> None:
        self.directions = classes.copy()
        self.moved = np.zeros(len(classes), dtype=bool)
        sure = entropies(scale * classes @ classes.T)
        self._entries = entries
        self._kept = [[(float(sure[k]), vector)] for k, vector in enumerate(classes)]
        self._sums = classes.copy()

    def add(self, label: int, entropy: float, vector: Float64Array) -> None:
        """Keep an example of a class, if it is surer than what would have to go for it."""
        kept = self._kept[label]
        if self._entries is None:
            self._sums[label] += vector
        elif len(kept) < self._entries:
            kept.append((entropy, vector))
        else:
            worst = max(range(len(kept)), key=lambda place: kept[place][0])
            if entropy >= kept[worst][0]:
                return
            del kept[worst]
            kept.append((entropy, vector))
        if self._entries is not None:
            self._sums[label] = np.sum([one for _, one in kept], axis=0)
        length = np.linalg.norm(self._sums[label])
        self.directions[label] = self._sums[label] / max(length, np.finfo(np.float64).tiny)
        self.moved[label] = True
