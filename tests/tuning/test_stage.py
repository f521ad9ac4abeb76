"""What conf/adapter and conf/tuning build together: what is evaluated, and what is tuned first."""

import ast
from functools import partial
from pathlib import Path

import pytest
import torch

import medrobust
from medrobust.adapters import Adaptation, LinearProbe, Lora, NoAdapter, WeightTuning
from medrobust.exceptions import ConfigurationError
from medrobust.tuning import Tuning
from medrobust.tuning.stage import parted

PACKAGE = Path(medrobust.__file__).parent
TUNING = Tuning(partial(torch.optim.AdamW, lr=1e-3), shots=2, shot_seed=3)
RECIPES = (Lora(), WeightTuning(), LinearProbe())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_tuned_and_the_model_stays_as_published_until_then(recipe) -> None:
    evaluated, stage = parted(recipe, TUNING)
    assert evaluated == NoAdapter()
    assert (stage.recipe, stage.how) == (recipe, TUNING)
    assert stage.name == f"{recipe.name} 2 shots draw 3"
    with pytest.raises(ConfigurationError, match=f"adapter={recipe.name} has to be tuned first"):
        parted(recipe, None)


def test_an_adapter_that_is_there_is_evaluated_and_no_more_tuned() -> None:
    assert parted(NoAdapter(), None) == (NoAdapter(), None)
    with pytest.raises(ConfigurationError, match="adapter=none is none that can be tuned"):
        parted(NoAdapter(), TUNING)
    untuned = NoAdapter("untuned", baseline=True)
    assert parted(untuned, TUNING) == (untuned, None)


def test_what_is_evaluated_says_no_more_than_it_must() -> None:
    class Flipped(Adaptation):
        name = "flipped"

        def description(self):
            return {"kind": "flipped"}

        def attach(self, model):
            return model

    own = Flipped()
    assert own.origin() is own.head("any") is own.head_description("any", ()) is None
    assert (own.tuned_how, list(own.made_from())) == ((), [])
    own.check_base("any", "0" * 64)
    assert parted(own, None) == (own, None)


@pytest.mark.slow
def test_no_room_above_the_adapters_asks_which_class_one_is_of() -> None:
    classes = {"Adaptation", "HeadRecipe", "LinearProbe", "Lora", "NearestNeighbours", "NoAdapter"}
    classes |= {"Prototypes", "Tunable", "Tuned", "WeightTuning"}
    asked = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for room in ("evaluation", "jobs", "tuning", "reporting", "readings", "tasks", "cli")
        for file in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "isinstance"
        and classes & {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
    ]
    assert not asked
