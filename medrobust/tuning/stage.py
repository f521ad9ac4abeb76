"""What is tuned before cells are planned, told apart from what is evaluated."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from medrobust.adapters import Adaptation, Adapter, NoAdapter, Recipe
from medrobust.base.untuned import not_tunable, to_be_tuned

if TYPE_CHECKING:
    from .recipe import Tuning


@dataclass(frozen=True, slots=True)
class Stage:
    """An adapter that is to be made first.

    Attributes:
        recipe: What is trained.
        how: On how many images, for how long.
    """

    recipe: Recipe
    how: "Tuning"

    @property
    def label(self) -> str:
        """Recipe, amount and objectives, which the draws of one figure have in common.

        A head that is fitted to its optimum has no objectives.
        """
        objectives = "" if self.recipe.trains_head else self.how.objective_label
        return f"{self.recipe.name} {self.how.amount_label}{objectives}"

    @property
    def name(self) -> str:
        """Recipe, amount and draw: in tables and in the store."""
        return f"{self.label} draw {self.how.shot_seed}"

    def description(self) -> list[Any]:
        """Return the plain values that decide what is made; a head is fitted to its optimum."""
        whole = self.how.description() if not self.recipe.trains_head else [self.how.seed]
        return [self.recipe.description(), whole]


def parted(adapter: Adapter, tuning: "Tuning | None") -> tuple[Adaptation, Stage | None]:
    """Tell what is evaluated from what is tuned first: the model as published, until that is made.

    Args:
        adapter: As conf/adapter has built it.
        tuning: As conf/tuning has built it; None where nothing is tuned.

    Raises:
        ConfigurationError: If the one needs the other.
    """
    if adapter.needs_tuning and tuning is None:
        raise to_be_tuned(adapter.name)
    if adapter.needs_tuning:
        assert tuning is not None
        return NoAdapter(), Stage(cast(Recipe, adapter), tuning)
    evaluated = cast(Adaptation, adapter)
    if tuning is not None and not evaluated.stays_untuned:
        raise not_tunable(adapter.name)
    return evaluated, None
