"""What a gate does to stored cells: how much it accepts, and how often answers are wrong then."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.deferral import selective_risk
from medrobust.metrics.intervals import mean_interval
from medrobust.reporting.tables import number

from .gate import Gate, accepted
from .pairs import Pair, condition_names, row_of, share


@dataclass(frozen=True, slots=True)
class Realised:
    """What a gate does to one condition, or to several of them mixed.

    Attributes:
        condition: From `condition_names`; of mixtures one of `MIXTURES`.
        identity: As that of `Pair`; empty of mixtures.
        severity: Of the corruption; 0 for clean images and mixtures.
        fitted: Whether the fit saw that corruption, on that data set.
        count: Images, of mixtures each under all of their conditions.
        units: Patients, or images where no patients are named.
        unit: "patient" or "image".
        risk: Share of wrong answers without the gate.
        kept: Share of images that it accepts, with its interval.
        kept_risk: Share of wrong answers among these, with its interval; None if none is accepted.
    """

    condition: str
    identity: str
    severity: int
    fitted: bool
    count: int
    units: int
    unit: str
    risk: float
    kept: tuple[float, float, float]
    kept_risk: tuple[float, float, float] | None


def realised(gate: Gate, found: Sequence[Pair]) -> list[Realised]:
    """Return what a gate does to each condition of some cells, in their order.

    Raises:
        ConfigurationError: If they are of another model, or of images of another size or kind.
    """
    made = []
    names = condition_names(found, gate.conditions)
    for pair in found:
        spec = pair.answers.spec
        if row_of(pair.answers) != gate.about["row"]:
            raise ConfigurationError(
                f"this gate is of {gate.about['model']} as it answered then, and these cells are "
                f"of {spec.model} with other weights, prompts or precision: fit one of its own."
            )
        _check_images(gate, pair)
        kept = accepted(gate, pair)
        kept_share, bounds = share(kept, pair.patients)
        risk = None
        if kept.any():
            value, ends = share(pair.wrong[kept], pair.patients[kept])
            risk = (ends[0], value, ends[1])
        made.append(
            Realised(
                names[pair.identity],
                pair.identity,
                spec.severity,
                _of_fit(gate, pair) and spec.dataset == gate.about["dataset"],
                len(kept),
                len(np.unique(pair.patients)),
                pair.unit,
                float(pair.wrong.mean()),
                (bounds[0], kept_share, bounds[1]),
                risk,
            )
        )
    return made


def _of_fit(gate: Gate, pair: Pair) -> bool:
    return pair.condition == "clean" or pair.identity in gate.conditions


MIXTURES = ("mixture of the fit", "mixture, others")
"""Clean images with the conditions of the fit, and with all others in place of these."""


def mixtures(gate: Gate, found: Sequence[Pair]) -> list[Realised]:
    """Return what a gate does to the mixture that it was fitted for, and to one that it was not.

    Both have the promised share of clean images, and the conditions share the rest equally. A
    mixture is left out where clean images or a condition of it are missing. Intervals are over
    units, each image under all conditions.

    Args:
        gate: Whose cells these are.
        found: Of one data set and split.
    """
    clean = [pair for pair in found if pair.condition == "clean"]
    corrupted = [pair for pair in found if pair.condition != "clean"]
    fitted = [pair for pair in corrupted if _of_fit(gate, pair)]
    others = [pair for pair in corrupted if not _of_fit(gate, pair)]
    lacking = set(gate.conditions) - {pair.identity for pair in fitted}
    made = []
    for name, parts in zip(MIXTURES, (fitted, others), strict=True):
        whole = not lacking if parts is fitted else gate.promise.clean < 1
        if clean and whole and (parts or gate.promise.clean == 1):
            made.append(_mixed(gate, name, clean[0], parts))
    return made


def _mixed(gate: Gate, name: str, clean: Pair, parts: Sequence[Pair]) -> Realised:
    """Return the risk among what is accepted of a mixture: a ratio of means over conditions."""
    weights = [gate.promise.clean, *[(1 - gate.promise.clean) / max(len(parts), 1)] * len(parts)]
    wrong, taken, lost = np.zeros((3, len(clean.wrong)))
    for weight, pair in zip(weights, (clean, *parts), strict=True):
        kept = accepted(gate, pair)
        wrong += weight * pair.wrong
        taken += weight * kept
        lost += weight * (kept & pair.wrong)
    units, groups = len(np.unique(clean.patients)), group_codes(clean.patients)
    low, high = mean_interval(taken, groups, limits=(0.0, 1.0))
    risk = selective_risk(lost, taken, groups)
    ends = None
    if risk.value is not None and risk.low is not None and risk.high is not None:
        ends = (risk.low, risk.value, risk.high)
    own = clean.answers.spec.dataset == gate.about["dataset"] and name == MIXTURES[0]
    kept_share = (low, float(taken.mean()), high)
    error = float(wrong.mean())
    return Realised(name, "", 0, own, len(taken), units, clean.unit, error, kept_share, ends)


def _check_images(gate: Gate, pair: Pair) -> None:
    """Refuse cells of images that the gate is not of.

    Raises:
        ConfigurationError: Saying which size and kind it is of.
    """
    size, channels = int(pair.images["size"][0]), int(pair.images["channels"])
    if (size, channels) != (gate.images["size"], gate.images["channels"]):
        kinds = {1: "grey", 3: "colour"}
        raise ConfigurationError(
            f"this gate is of {kinds[gate.images['channels']]} images of {gate.images['size']} "
            f"pixels a side, and these cells are of {kinds[channels]} ones of {size}: measures of "
            f"another size are other numbers. Fit a gate of its own."
        )


COLUMNS = (
    *("condition", "fitted", "n", "error", "accepted", "accepted_low", "accepted_high"),
    *("accepted_error", "accepted_error_low", "accepted_error_high", "units"),
)


def rows(found: Sequence[Realised]) -> list[dict[str, str]]:
    """Lay conditions out as rows of a table."""
    made = []
    for one in found:
        low, kept, high = map(number, one.kept)
        least, risk, most = map(number, one.kept_risk) if one.kept_risk else ("", "", "")
        first = (one.condition, str(one.fitted).lower(), str(one.count), number(one.risk))
        values = (*first, kept, low, high, risk, least, most, str(one.units))
        made.append(dict(zip(COLUMNS, values, strict=True)))
    return made


def summary(gate: Gate, found: Sequence[Realised], mixed: Sequence[Realised]) -> list[str]:
    """Say in sentences whether the promise is kept where it was made, and elsewhere.

    Args:
        gate: What was promised.
        found: From `realised`.
        mixed: From `mixtures`, of the same cells.
    """
    promise = gate.promise
    lines = [gate.sentence, *(_of_mixture(gate, one) for one in mixed)]
    if not any(one.condition == MIXTURES[0] for one in mixed):
        lines.append(_unmixed(gate, found))
    for one in found:
        if one.condition == "clean":
            kept = f"{100 * one.kept[1]:.1f} % [{100 * one.kept[0]:.1f}, {100 * one.kept[2]:.1f}]"
            lines.append(f"Clean images: {kept} are accepted.")
    corrupted = [one for one in found if one.condition != "clean"]
    hardest = max((one.severity for one in corrupted), default=0)
    for of_kind, where in (
        ([one for one in corrupted if one.fitted], "of the fit"),
        ([one for one in corrupted if not one.fitted], "that the fit did not see"),
        ([one for one in corrupted if one.severity == hardest], f"at s{hardest}"),
    ):
        lines += [_before_and_after(of_kind, where)] if of_kind else []
    above = [one.condition for one in found if one.kept_risk and one.kept_risk[0] > promise.alpha]
    if above:
        lines.append(
            f"Above {100 * promise.alpha:g} % even so, each taken alone: {', '.join(above)}. The "
            f"promise is about the mixture of the fit and not about each condition."
        )
    return lines


def _of_mixture(gate: Gate, one: Realised) -> str:
    """Say how often accepted images of a mixture are answered wrong, beside what was promised."""
    low, kept, high = (100 * share for share in one.kept)
    units = counted(one.units, one.unit)
    text = f"{one.condition[0].upper()}{one.condition[1:]}: {kept:.1f} % [{low:.1f}, {high:.1f}]"
    if one.kept_risk is None:
        return f"Of the {one.condition} nothing is accepted ({units})."
    least, risk, most = (100 * share for share in one.kept_risk)
    asked = 100 * gate.promise.alpha
    text += f" accepted, and {risk:.1f} % [{least:.1f}, {most:.1f}] of these wrong ({units})"
    if risk <= asked:
        held = f"within {asked:g} %"
    elif least <= asked:
        held = f"above {asked:g} %, by what may be chance"
    else:
        held = f"above {asked:g} % beyond chance"
    if not one.fitted:
        return f"{text}, {held}; nothing was promised of it."
    broken = ": the promise is broken here" if least > asked else ", as promised"
    return f"{text}, {held}{broken if least > asked or risk <= asked else ''}."


def _unmixed(gate: Gate, found: Sequence[Realised]) -> str:
    """Say which conditions of the fit are missing, so that its mixture has no risk here."""
    there = {one.identity for one in found}
    missing = [] if any(one.condition == "clean" for one in found) else ["clean"]
    missing += sorted(name for one, name in gate.conditions.items() if one not in there)
    return (
        f"The risk of the mixture of the fit is not known: these cells lack "
        f"{counted(len(missing), 'condition')} of it ({', '.join(missing)}). Run them with "
        f"quality=alone."
    )


def _before_and_after(found: Sequence[Realised], where: str) -> str:
    """Say what the gate does to conditions taken together, each counting the same."""
    before = sum(one.risk for one in found) / len(found)
    text = f"{counted(len(found), 'condition')} {where}: error {100 * before:.1f} % without"
    parts = [(one.kept[1], one.kept_risk[1]) for one in found if one.kept_risk]
    share = sum(kept for kept, _ in parts)
    if not share:
        return f"{text} the gate, which accepts none of their images."
    after = sum(kept * risk for kept, risk in parts) / share
    taken = 100 * share / len(found)
    return f"{text} the gate, {100 * after:.1f} % among the {taken:.1f} % that it accepts."
