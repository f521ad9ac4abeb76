"""What a cell is worth at a threshold that was set elsewhere, with intervals over patients."""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.estimates import Estimate, with_bounds
from medrobust.metrics.influence import areas
from medrobust.metrics.intervals import logit_interval, mean_interval, share_interval
from medrobust.metrics.selective import (
    augrc,
    augrc_influence,
    aurc,
    aurc_influence,
    balanced_loss,
    balanced_selective_risk,
    coverage_at_risk,
    excess_aurc,
    risk_at_coverage,
    risk_coverage,
    system_loss,
    threshold_for_coverage,
    threshold_for_risk,
)
from medrobust.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Limit:
    """Which images are accepted, and what clean validation images promise of them.

    Attributes:
        threshold: A confidence of at least this is accepted.
        coverage: Share of validation images that is.
        risk: Their mean loss.
        highest: Upper 95 % bound of it.
    """

    threshold: float
    coverage: float
    risk: float
    highest: float

    def broken_by(self, found: Estimate) -> bool:
        """Say whether a selective risk is above what was promised, beyond chance on both sides.

        The interval of the difference (MOVER) of two sets of images lies above 0.
        """
        if found.value is None or found.low is None:
            return False
        below = hypot(found.value - found.low, self.highest - self.risk)
        return found.value - self.risk > below


def limit_for(
    confidence: Float64Array,
    loss: Float64Array,
    groups: Int64Array | None = None,
    *,
    coverage: float,
    risk: float | None = None,
) -> Limit | None:
    """Set a limit on validation images: for a coverage, or for as much as a risk allows.

    Args:
        confidence: float64 (N,).
        loss: float64 (N,) in [0, 1].
        groups: int64 (N,) from 0, or None.
        coverage: Share that is accepted at least.
        risk: Mean loss of the accepted; replaces `coverage`.

    Returns:
        None where no coverage has such a risk.
    """
    found = risk_coverage(confidence, loss)
    threshold: float | None = threshold_for_coverage(confidence, coverage)
    if risk is not None:
        threshold = threshold_for_risk(found, risk)
    if threshold is None:
        return None
    shares = (confidence >= threshold).astype(np.float64)
    own = selective_risk(loss * shares, shares, groups)
    assert own.value is not None  # the surest image is accepted
    assert own.high is not None
    return Limit(threshold, float(shares.mean()), own.value, own.high)


def selective_risk(
    loss: Float64Array, accepted: Float64Array, groups: Int64Array | None
) -> Estimate:
    """Return the mean loss of the accepted, as a ratio of means over conditions.

    Args:
        loss: float64 (N,), loss of each image where it is accepted, else 0; mean over conditions.
        accepted: float64 (N,), share of conditions in which it is.
        groups: int64 (N,) from 0, or None.
    """
    share = float(accepted.mean())
    if share == 0:
        return Estimate(None)
    some = accepted > 0
    whole = bool(((accepted == 0) | (accepted == 1)).all())
    value = float(loss.mean()) / share
    if whole or not loss.any():  # a share of the accepted images alone
        kept = None if groups is None else groups[some]
        return with_bounds(value, share_interval(loss[some], kept))
    influence = (loss - value * accepted) / share
    return with_bounds(value, mean_interval(influence, groups, limits=(0, 1), value=value))


def deferral(
    confidence: Float64Array,
    loss: Float64Array,
    limit: Limit,
    *,
    labels: Int64Array | None,
    groups: Int64Array | None,
    coverage: float,
    reader_error: float,
) -> dict[str, Estimate]:
    """Compute every number of a cell.

    Args:
        confidence: float64 (N,).
        loss: float64 (N,) in [0, 1].
        limit: From `limit_for`, of clean validation images.
        labels: int64 (N,) for balanced numbers; None with several labels an image.
        groups: int64 (N,) from 0, or None.
        coverage: Share at which the risk is read off.
        reader_error: Of the person who reads what is not accepted.

    Returns:
        Name -> estimate; a number that is not defined has no value.
    """
    curve, accepted = risk_coverage(confidence, loss), confidence >= limit.threshold
    shares = accepted.astype(np.float64)
    together = system_loss(loss, accepted, reader_error)
    ranked = with_bounds(
        augrc(curve), mean_interval(augrc_influence(confidence, loss), groups,
                                    limits=(0.0, 1.0), value=augrc(curve)),
    )  # fmt: skip
    area = with_bounds(
        aurc(curve), mean_interval(aurc_influence(confidence, loss), groups,
                                   limits=(0.0, 1.0), value=aurc(curve)),
    )  # fmt: skip
    return {
        "coverage": with_bounds(float(shares.mean()), share_interval(shares, groups)),
        "selective_risk": selective_risk(loss * shares, shares, groups),
        "error": with_bounds(float(loss.mean()), share_interval(loss, groups)),
        "system_error": with_bounds(float(together.mean()), share_interval(together, groups)),
        "failure_auroc": failure_estimate(confidence, loss, groups),
        "aurc": area,
        "augrc": ranked,
        "excess_aurc": Estimate(excess_aurc(curve)),
        "risk_at_coverage": Estimate(risk_at_coverage(curve, coverage)),
        "coverage_at_risk": Estimate(coverage_at_risk(curve, limit.risk)),
        **_balanced(confidence, loss, accepted, labels),
    }


def _balanced(
    confidence: Float64Array,
    loss: Float64Array,
    accepted: NDArray[np.bool_],
    labels: Int64Array | None,
) -> dict[str, Estimate]:
    if labels is None:
        return {"balanced_selective_risk": Estimate(None), "balanced_augrc": Estimate(None)}
    risk = balanced_selective_risk(loss, accepted, labels)
    area = augrc(risk_coverage(confidence, balanced_loss(loss, labels)))
    return {"balanced_selective_risk": Estimate(risk), "balanced_augrc": Estimate(area)}


def failure_estimate(
    confidence: Float64Array, loss: Float64Array, groups: Int64Array | None
) -> Estimate:
    """Return the AUROC of failure: how often a right answer is surer than a wrong one."""
    if not ((loss == 0) | (loss == 1)).all():
        return Estimate(None)
    scores, right = np.stack([-confidence, confidence], axis=1), (loss == 0).astype(np.int64)
    found = areas(scores, right, label_kind="binary-class", positive=1, groups=groups)
    if found is None:
        return Estimate(None)
    bounds = logit_interval(
        found.value, found.influence, groups,
        smallest=found.smallest, degrees=found.degrees, unseen=found.unseen,
    )  # fmt: skip
    return with_bounds(found.value, bounds)


def curve_points(
    confidence: Float64Array,
    loss: Float64Array,
    groups: Int64Array | None,
    coverages: Float64Array,
) -> list[tuple[float, Estimate]]:
    """Return realised coverage and selective risk where these shares of images are accepted.

    Images as sure as the last accepted one are accepted, too, so that order cannot matter.
    """
    found = []
    for coverage in coverages:
        threshold = threshold_for_coverage(confidence, float(coverage))
        accepted = (confidence >= threshold).astype(np.float64)
        risk = selective_risk(loss * accepted, accepted, groups)
        found.append((float(accepted.mean()), risk))
    return found
