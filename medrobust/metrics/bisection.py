"""Where a curve that is known at some places first reaches a level, and where to look next.

Nothing is assumed of the curve between the places: what is found is the first pair of neighbours
among them with the level in between, and a crossing inside it, not the only one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from medrobust.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True)
class Bracket:
    """Neighbouring places of a curve, the first of them below a level and the second not.

    Attributes:
        below: Place whose value is below the level, as are those of all places before it.
        reached: The next known place, whose value is the level or more.
        crossing: Where a straight line between the two values has the level.
    """

    below: float
    reached: float
    crossing: float

    @property
    def width(self) -> float:
        """How far apart they are."""
        return self.reached - self.below

    def middle(self, resolution: float) -> float | None:
        """Return the place to look at next; None once they lie within `resolution`.

        Example:
            >>> Bracket(1.0, 2.0, 1.3).middle(0.25), Bracket(1.0, 1.25, 1.1).middle(0.25)
            (1.5, None)
        """
        return None if self.width <= resolution else (self.below + self.reached) / 2


ROUNDING = 1e-9
"""Of a curve of shares: 18 % less 13 % is 5 % but for the last bits of a float."""


def bracket(curve: Mapping[float, float], level: float) -> Bracket | None:
    """Find where a curve first reaches a level.

    Args:
        curve: Place above 0 -> value; at place 0 it is 0.
        level: Above 0.

    Returns:
        The first bracket in the order of places; None where no known place reaches the level.

    Raises:
        ConfigurationError: If the level is not above 0.

    Example:
        >>> bracket({1: 0.25, 3: 1.0, 2: 0.5, 4: 0.25}, 0.75)
        Bracket(below=2.0, reached=3.0, crossing=2.5)
        >>> bracket({1: 0.25}, 0.75) is None
        True
        >>> bracket({1: 0.18 - 0.13, 2: 0.3}, 0.05)  # 0.04999999999999999
        Bracket(below=0.0, reached=1.0, crossing=1.0)
    """
    if not level > 0:
        raise ConfigurationError(f"level={level} must be above 0, which the curve is at its start.")
    place, before = 0.0, 0.0
    for at in sorted(curve):
        value = curve[at]
        if value >= level - ROUNDING:
            share = min((level - before) / (value - before), 1.0)
            return Bracket(place, float(at), float(place + (at - place) * share))
        place, before = float(at), value
    return None


def below_again(curve: Mapping[float, float], level: float) -> tuple[float, ...]:
    """List the places after the first that reaches a level at which the curve is below it again.

    Example:
        >>> below_again({1: 0.02, 3: 0.10, 4: 0.03, 5: 0.2}, 0.05)
        (4.0,)
    """
    first = next((at for at in sorted(curve) if curve[at] >= level - ROUNDING), None)
    if first is None:
        return ()
    return tuple(float(at) for at in sorted(curve) if at > first and curve[at] < level - ROUNDING)
