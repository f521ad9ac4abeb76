"""What a gate does to stored cells: how much it accepts, and how often answers are wrong then."""

from collections.abc import Sequence
from dataclasses import dataclass

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.reporting.tables import number

from .gate import Gate, accepted
from .pairs import Pair, row_of, share


@dataclass(frozen=True, slots=True)
class Realised:
    """What a gate does to one condition.

    Attributes:
        condition: Such as "contrast s5", or "clean".
        fitted: Whether the fit saw that corruption, on that data set.
        count: Images.
        risk: Share of wrong answers without the gate.
        kept: Share of images that it accepts, with its interval.
        kept_risk: Share of wrong answers among these, with its interval; None if none is accepted.
    """

    condition: str
    fitted: bool
    count: int
    risk: float
    kept: tuple[float, float, float]
    kept_risk: tuple[float, float, float] | None


def realised(gate: Gate, found: Sequence[Pair]) -> list[Realised]:
    """Return what a gate does to each condition of some cells, in their order.

    Raises:
        ConfigurationError: If they are of another model, or of images of another size or kind.
    """
    made = []
    for pair in found:
        spec = pair.answers.spec
        if row_of(pair.answers) != gate.about["row"]:
            raise ConfigurationError(
                f"this gate is of {gate.about['model']} as it answered then, and these cells are "
                f"of {spec.model} with other weights, prompts or precision: fit one of its own."
            )
        _check_images(gate, pair)
        kept = accepted(gate, pair)
        known = ("clean", *gate.conditions)
        kept_share, bounds = share(kept, pair.patients)
        risk = None
        if kept.any():
            value, ends = share(pair.wrong[kept], pair.patients[kept])
            risk = (ends[0], value, ends[1])
        made.append(
            Realised(
                pair.condition,
                pair.condition in known and spec.dataset == gate.about["dataset"],
                len(kept),
                float(pair.wrong.mean()),
                (bounds[0], kept_share, bounds[1]),
                risk,
            )
        )
    return made


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
    *("accepted_error", "accepted_error_low", "accepted_error_high"),
)


def rows(found: Sequence[Realised]) -> list[dict[str, str]]:
    """Lay conditions out as rows of a table."""
    made = []
    for one in found:
        low, kept, high = map(number, one.kept)
        least, risk, most = map(number, one.kept_risk) if one.kept_risk else ("", "", "")
        values = (one.condition, str(one.fitted).lower(), str(one.count), number(one.risk))
        made.append(dict(zip(COLUMNS, (*values, kept, low, high, risk, least, most), strict=True)))
    return made


def summary(gate: Gate, found: Sequence[Realised]) -> list[str]:
    """Say in sentences whether the promise is kept where it was made, and elsewhere."""
    promise = gate.promise
    lines = [gate.sentence]
    for one in found:
        if one.condition == "clean":
            kept = f"{100 * one.kept[1]:.1f} % [{100 * one.kept[0]:.1f}, {100 * one.kept[2]:.1f}]"
            lines.append(f"Clean images: {kept} are accepted.")
    corrupted = [one for one in found if one.condition != "clean"]
    levels = {one.condition.rpartition(" s")[2] for one in corrupted}
    hardest = max(levels, default="")
    for of_kind, where in (
        ([one for one in corrupted if one.fitted], "of the fit"),
        ([one for one in corrupted if not one.fitted], "that the fit did not see"),
        ([one for one in corrupted if one.condition.endswith(f" s{hardest}")], f"at s{hardest}"),
    ):
        lines += [_before_and_after(of_kind, where)] if of_kind else []
    above = [one.condition for one in found if one.kept_risk and one.kept_risk[0] > promise.alpha]
    if above:
        lines.append(
            f"Above {100 * promise.alpha:g} % even so, each taken alone: {', '.join(above)}. The "
            f"promise is about the mixture of the fit and not about each condition."
        )
    return lines


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
