"""Sets of answers of stored cells: quantiles of clean validation images, coverage of every cell."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics import Estimate
from medrobust.metrics.conformal import (
    aps_scores,
    class_quantiles,
    conformal_quantile,
    controlled_place,
    coverage_band,
    effective_size,
    fewest,
    lac_scores,
    of_labels,
    raps_scores,
    set_facts,
    weighted_quantiles,
)
from medrobust.metrics.density import density_ratio
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import Bounds, share_interval
from medrobust.metrics.scores import probabilities
from medrobust.metrics.variances import variance_of_mean
from medrobust.reporting.aggregates import Place
from medrobust.reporting.tables import number
from medrobust.types import Float64Array, Int64Array

from .rows import MULTI_LABEL, RowCells

METHODS = ("lac", "aps", "raps")
SCALE = np.linspace(0.0, 1.0, 201)
"""Places of risk control: labels whose chance is at least 1 - place are in the set."""

FEWEST_OF_SIZE = 20
"""Images of a set size from which on its coverage counts."""


@dataclass(frozen=True, slots=True)
class Conformal:
    """Conformal sets, as a run asks for them.

    Args:
        alpha: Share of images whose set may miss the right answer; with several labels an image,
            the share of its labels that may be missed.
        method: lac (smallest sets), aps (sets that grow where the model is unsure) or raps (aps
            with a penalty for large sets).
        by_class: Also one quantile a class, so that each class is covered.
        weighted: Also weigh validation images by how near they are to the corrupted ones; needs
            store.features=true.
        penalty: Of raps, for each rank beyond `allowed`.
        allowed: Of raps.

    Raises:
        ConfigurationError: If a number is out of range.
        UnknownNameError: If there is no such method.
    """

    alpha: float = 0.1
    method: str = "lac"
    by_class: bool = True
    weighted: bool = False
    penalty: float = 0.01
    allowed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.method not in METHODS:
            raise unknown_name("readings.conformal.method", self.method, METHODS)
        if not 0 < self.alpha < 1:
            raise ConfigurationError(
                f"readings.conformal.alpha={self.alpha} must lie between 0 and 1."
            )
        if self.penalty < 0 or self.allowed < 0:
            raise ConfigurationError(
                f"readings.conformal.penalty={self.penalty} and "
                f"readings.conformal.allowed={self.allowed} must not be below 0."
            )


@dataclass(frozen=True, slots=True)
class CellSets:
    """What sets are worth on one cell.

    Attributes:
        place: Where it stands.
        cell: The cell.
        procedure: "split", "by_class", "weighted" or "risk_control".
        coverage: With its interval over patients.
        band: Where coverage would lie if images were exchangeable; NaN where none is known.
        verdict: "inside", "below" or "above" the band; without a band "below" or empty, by the
            interval.
        covered: float64 (N,): whether each set holds the right answer, or the share of labels held.
        sizes: int64 (N,).
        more: Further columns.
    """

    place: Place
    cell: StoredCell
    procedure: str
    coverage: Estimate
    band: Bounds
    verdict: str
    covered: Float64Array
    sizes: Int64Array
    more: dict[str, str]

    @property
    def bandless(self) -> bool:
        """Whether a band belongs to it, and validation has too few patients for one."""
        return self.procedure == "split" and bool(np.isnan(self.band[0]))


@dataclass(frozen=True, slots=True)
class RowSets:
    """One model under every procedure.

    Attributes:
        row: The model and its cells.
        cells: Sets of each cell, by each procedure.
    """

    row: RowCells
    cells: tuple[CellSets, ...]

    def of(self, procedure: str) -> list[CellSets]:
        """Return the cells of a procedure."""
        return [one for one in self.cells if one.procedure == procedure]

    @property
    def procedures(self) -> list[str]:
        """Those that there are, in order."""
        return list(dict.fromkeys(one.procedure for one in self.cells))


def sets_of(row: RowCells, settings: Conformal) -> RowSets:
    """Make the sets of every cell of a row, which has a validation cell."""
    if row.kind == MULTI_LABEL:
        return RowSets(row, tuple(_controlled(row, settings)))
    assert row.validation is not None
    own, labels = _scores(row, row.validation, settings), row.validation.data.labels
    right = of_labels(own, labels)
    quantile = conformal_quantile(right, settings.alpha)
    by_class = class_quantiles(right, labels, own.shape[1], settings.alpha)
    cells = []
    for place, cell in row.places:
        scores = _scores(row, cell, settings)
        given = (row, place, cell, settings.alpha)
        cells.append(_cell(*given, "split", scores <= quantile, quantile=quantile))
        if settings.by_class:
            cells.append(_cell(*given, "by_class", scores <= by_class))
        if settings.weighted and (weights := _weights(row, cell)) is not None:
            limits = weighted_quantiles(right, *weights, settings.alpha)
            sets, size = scores <= limits[:, None], effective_size(weights[0])
            cells.append(_cell(*given, "weighted", sets, size=size))
    return RowSets(row, tuple(cells))


def _scores(row: RowCells, cell: StoredCell, settings: Conformal) -> Float64Array:
    """Return the scores of all answers; randomised ones draw from a key of data and image."""
    chances = probabilities(cell.arrays["logits"], row.kind)
    if settings.method == "lac":
        return lac_scores(chances)
    text = f"medrobust conformal/{cell.data.fingerprint}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest(), "little"))
    uniforms = rng.random(len(chances))
    if settings.method == "aps":
        return aps_scores(chances, uniforms)
    return raps_scores(chances, uniforms, penalty=settings.penalty, allowed=settings.allowed)


def _weights(row: RowCells, cell: StoredCell) -> tuple[Float64Array, Float64Array] | None:
    assert row.validation is not None
    own, other = (row.matrix.measured.features(one) for one in (row.validation, cell))
    return None if own is None or other is None else density_ratio(own, other)


def _cell(
    row: RowCells,
    place: Place,
    cell: StoredCell,
    alpha: float,
    procedure: str,
    sets: NDArray[np.bool_],
    *,
    quantile: float | None = None,
    size: float | None = None,
) -> CellSets:
    facts = set_facts(sets, cell.data.labels)
    coverage = with_bounds(facts.coverage, share_interval(facts.covered, row.groups))
    band, verdict = (np.nan, np.nan), ""
    if procedure == "split":
        band = _band(row, facts.covered, alpha)
        if not np.isnan(band[0]):
            verdict = "above" if facts.coverage > band[1] else "inside"
            verdict = "below" if facts.coverage < band[0] else verdict
    elif coverage.high is not None and coverage.high < 1 - alpha:
        verdict = "below"
    more = {
        "quantile": number(quantile),
        "class_gap": number(facts.class_gap(alpha)),
        "least_class_coverage": number(float(facts.by_class.min())),
        "least_coverage_by_size": number(facts.least_by_size(FEWEST_OF_SIZE)),
        "effective_size": number(size),
    }
    return CellSets(
        place, cell, procedure, coverage, band, verdict, facts.covered, facts.sizes, more
    )


def _band(row: RowCells, covered: Float64Array, alpha: float) -> Bounds:
    """Return the band of coverage; patients count as the images that would vary as much.

    NaN where they are too few for a band.
    """
    assert row.validation is not None
    tested, calibrated = len(covered), len(row.validation.data)
    share = float(covered.mean())
    if row.groups is not None and 0 < share < 1:
        variance = variance_of_mean(covered, row.groups)[0]
        if variance > 0:
            kept = min(1.0, share * (1 - share) / variance / tested)
            tested, calibrated = max(1, round(kept * tested)), max(1, round(kept * calibrated))
    if calibrated < fewest(alpha) <= len(row.validation.data):
        return np.nan, np.nan
    return coverage_band(calibrated, tested, alpha)


def _controlled(row: RowCells, settings: Conformal) -> Iterator[CellSets]:
    """Return label sets whose expected share of missed labels is controlled."""
    assert row.validation is not None
    chances = probabilities(row.validation.arrays["logits"], row.kind)
    found = controlled_place(_missed(chances, row.validation.data.labels), settings.alpha)
    level = 0.0 if found is None else float(1 - SCALE[found])
    for place, cell in row.places:
        held = probabilities(cell.arrays["logits"], row.kind) >= level
        present = cell.data.labels == 1
        hits, total = (held & present).sum(axis=1), present.sum(axis=1)
        covered = np.where(total > 0, hits / np.maximum(total, 1), 1.0)
        coverage = with_bounds(float(covered.mean()), share_interval(covered, row.groups))
        below = coverage.high is not None and coverage.high < 1 - settings.alpha
        yield CellSets(
            place, cell, "risk_control", coverage, (np.nan, np.nan), "below" if below else "",
            covered, held.sum(axis=1).astype(np.int64), {"quantile": number(level)},
        )  # fmt: skip


def _missed(chances: Float64Array, labels: Int64Array) -> Float64Array:
    """Return the share of each image's labels that is missed at each place: float64 (N, L)."""
    present = labels == 1
    total = np.maximum(present.sum(axis=1), 1)
    each = [(present & (chances < 1 - place)).sum(axis=1) / total for place in SCALE]
    return np.stack(each, axis=1)
