"""Groups of a configuration as objects; what is said of a key that a class does not take."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from medrobust.evaluation.building import built
from medrobust.exceptions import ConfigurationError

FOLDER = {"_target_": "medrobust.datasets.Folder", "csv": "labels.csv", "lable_column": "x"}


@pytest.mark.parametrize(
    ("group", "place"),
    [
        (FOLDER, "dataset"),
        ({"_target_": "builtins.dict", "inner": FOLDER}, "dataset.inner"),
        ({"sets": [{**FOLDER, "lable_column": "label"}, FOLDER]}, "dataset.sets[0]"),
        ({"few1": {"inner2": FOLDER}}, "dataset.few1.inner2"),
    ],
)
def test_an_unknown_key_is_named_with_its_place(group: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        built(OmegaConf.create({"dataset": group}), "dataset")
    assert str(error.value) == (
        f"there is no configuration key '{place}.lable_column'. "
        f"Did you mean '{place}.label_column'?"
    )


def test_keys_that_a_part_cannot_do_without_are_named() -> None:
    config = OmegaConf.create({"model": {"_target_": "medrobust.models.OpenClip", "weights": "a"}})
    with pytest.raises(ConfigurationError) as error:
        built(config, "model")
    assert str(error.value) == (
        "model lacks name and hub_id: write what is missing into its configuration file, or add "
        "+model.name=VALUE +model.hub_id=VALUE to the command."
    )
