"""What the config.json of a timm repository may and may not say; families are in test_families."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_random_timm

from medrobust.exceptions import WeightsMismatchError
from medrobust.models import TimmEncoder


def edited(folder: Path, **changes: Any) -> TimmEncoder:
    """A checkpoint whose config.json says something else; None takes a key away."""
    folder.mkdir(exist_ok=True)
    write_random_timm(folder)
    file = folder / "config.json"
    said = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return TimmEncoder("timm", "nobody/nothing", local_dir=str(folder))


def test_older_repositories_without_arguments_give_the_same_features(tmp_path: Path) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    newer = edited(tmp_path / "newer").load()
    older = edited(tmp_path / "older", model_args=None).load()
    with torch.no_grad():
        assert torch.equal(newer.encode_image(pixels), older.encode_image(pixels))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_args": {"in_chans": 1}}, "describes a model of 1 channels"),
        ({"pretrained_cfg": None}, "has no pretrained_cfg.*transformers_vision"),
        ({"architecture": None}, "has no architecture"),
    ],
)
def test_a_config_that_is_not_one_of_a_colour_tower_is_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(WeightsMismatchError, match=complaint):
        edited(tmp_path, **changes).load()
