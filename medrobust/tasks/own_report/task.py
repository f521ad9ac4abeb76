"""Distance of an image to its own report, as a task: a signal that asks for no label.

Half of 1 - cosine; CLIPScore (Hessel et al., EMNLP 2021, arXiv:2104.08718) is 2.5 times the cosine
where that is positive. Nothing is encoded for it where the store keeps features.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.targets import Texts
from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.estimates import Metric, with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.tasks.agreement import ALLOWED, Agreement, Move, agreement_of_arrays
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Task,
    Terms,
)
from medrobust.tasks.text_side import cut_texts, text_model

PURPOSE = "compare images with reports"

MEASURE = "own_report_distance"


class OwnReport(Task):
    """Measure how far each image lies from the report that was written of it."""

    kind = "own_report"
    level = "image"
    reads_prompts = False
    target = "texts"
    arrays = MappingProxyType({"measures": ArraySpec("float64", ("image", "measure"))})
    metrics: Mapping[str, Metric] = MappingProxyType(
        {MEASURE: Metric("distance to the own report, (1 − cosine) / 2", False)}
    )
    losses = (MEASURE,)
    offered = losses
    of_models = False

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say which texts are compared with.

        Raises:
            ConfigurationError: If an image has no text, one is empty, or the model reads none.
        """
        if not isinstance(data.target, Texts):
            raise ConfigurationError(
                f"task={self.kind} needs a text of each image, and data set {data.name!r} has none."
            )
        texts, pairs = data.target.values.tolist(), data.target.pairs
        empty = sum(not text.strip() for text in texts)
        if empty:
            raise ConfigurationError(
                f"{part_of(empty, len(texts), 'text')} of data set {data.name!r} "
                f"{agreeing(empty, 'is')} empty: leave such rows out."
            )
        without = len(data) - len(np.unique(pairs[:, 0]))
        if without:
            raise ConfigurationError(
                f"{part_of(without, len(data), 'image')} of data set {data.name!r} "
                f"{agreeing(without, 'has')} no text to be compared with: leave such rows out."
            )
        model = text_model(side, PURPOSE)
        described = {
            "kind": self.kind,
            "measures": [MEASURE],
            "texts": fingerprint([texts, pairs.tolist()]),
        }
        return [described | cut_texts(model, texts)]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the texts of the split, once."""
        from .head import DistanceHead

        return DistanceHead(text_model(side, PURPOSE), data)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Average the distances over the images, with their interval over images or patients."""
        values = cell.arrays["measures"][:, 0]
        estimate = with_bounds(float(values.mean()), share_interval(values, cell.patients))
        return Scores({MEASURE: estimate}, {MEASURE: Terms(values)})

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare distances, which span a tenth of what logits do."""
        return agreement_of_arrays(cell.arrays, again, ALLOWED[move] / 10)

    def collapsed(self, cell: Cell) -> str | None:
        """Name distances that are the same for every image."""
        given = cell.arrays["measures"]
        return "the same distance" if len(given) > 1 and bool((given == given[0]).all()) else None


TASK = OwnReport()
