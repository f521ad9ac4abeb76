"""How sure a model is of each image of a stored cell, by a score that a run names."""

from collections.abc import Sequence

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.scores import probabilities
from medrobust.metrics.uncertainty import (
    SCORES,
    Distances,
    fit_distances,
    mcm,
    mutual_information,
    nearest_distance,
)
from medrobust.types import Float32Array, Float64Array

from .rows import MULTI_LABEL, RowCells

OF_FEATURES = ("mahalanobis", "relative_mahalanobis", "knn")
ALL_SCORES = (*SCORES, "mcm", *OF_FEATURES, "mutual_information")


class Sureness:
    """How sure a model is of each image of a cell, by one score.

    Args:
        row: Whose cells they are; it has a validation cell.
        score: Name of the score.
        kin: Other rows of the same table, for prompt sets.
    """

    def __init__(self, row: RowCells, score: str, kin: Sequence[RowCells]) -> None:
        self.row, self.score, self.kin = row, score, kin
        self.distances: Distances | None = None
        self.bank: Float32Array | None = None
        assert row.validation is not None
        if score in OF_FEATURES:
            self.bank = row.matrix.measured.features(row.validation)
            if self.bank is not None and score != "knn" and row.kind != MULTI_LABEL:
                self.distances = fit_distances(self.bank, row.validation.data.labels)

    @property
    def lacking(self) -> str | None:
        """Say why the score is not defined here, or None where it is."""
        if self.score in OF_FEATURES and self.bank is None:
            return f"{self.row.title}: score={self.score} needs features (store.features=true)"
        if self.row.kind == MULTI_LABEL and self.score not in ("msp", "knn"):
            return f"{self.row.title}: of several labels an image score=msp alone is defined"
        if self.score == "mcm" and (why := self._without_cosines()) is not None:
            return f"{self.row.title}: {why}"
        if self.score == "mutual_information" and len(self._members(self.row.places[0][1])) < 2:
            return f"{self.row.title}: score=mutual_information needs several prompt sets"
        return None

    def __call__(self, cell: StoredCell) -> Float64Array:
        """Return float64 (N,), higher is surer."""
        logits = cell.arrays["logits"]
        if self.score in OF_FEATURES:
            return self._by_distance(cell)
        if self.row.kind == MULTI_LABEL:
            chances = probabilities(logits, self.row.kind)
            surest: Float64Array = np.maximum(chances, 1 - chances).mean(axis=1)
            return surest
        if self.score == "mutual_information":
            members = [probabilities(m.arrays["logits"], self.row.kind)
                       for m in self._members(cell)]  # fmt: skip
            return -mutual_information(np.stack(members))
        if self.score == "mcm":
            return mcm(logits.astype(np.float64) / cell.record["logit_scale"])
        return SCORES[self.score](logits)

    def _without_cosines(self) -> str | None:
        """Say why cells hold no cosines of images and texts, or None where they do."""
        assert self.row.validation is not None
        cells = [self.row.validation, *(cell for _, cell in self.row.places)]
        if any("texts" not in cell.head or "guidance" in cell.head for cell in cells):
            return "score=mcm needs cosines of images and texts, and these logits are none"
        if any("logit_scale" not in cell.record for cell in cells):
            return (
                "score=mcm needs the logit scale, which cells of earlier releases do not hold "
                "(resume=false computes them again)"
            )
        return None

    def _by_distance(self, cell: StoredCell) -> Float64Array:
        features = self.row.matrix.measured.features(cell)
        if features is None:
            raise ConfigurationError(
                f"the features of {cell.spec} are not in the store, though others of its row are: "
                f"run it again with store.features=true."
            )
        if self.score == "knn":
            assert self.bank is not None
            return nearest_distance(features, self.bank)
        assert self.distances is not None
        if self.score == "mahalanobis":
            return self.distances.mahalanobis(features)
        return self.distances.relative(features)

    def _members(self, cell: StoredCell) -> list[StoredCell]:
        """Return the cells of the same features under other prompt sets, this one included."""
        own = cell.record["encoding_fingerprint"]
        cells = [c for row in self.kin for _, c in row.places]
        cells += [row.validation for row in self.kin if row.validation is not None]
        alike = (c for c in cells if c.record["encoding_fingerprint"] == own)
        return list({c.fingerprint: c for c in alike}.values())
