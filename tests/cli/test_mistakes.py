"""Values that stand where keys do."""

import re

import pytest

from medrobust.base.conf_folder import conf_folder
from medrobust.cli.conf_files import groups
from medrobust.cli.mistakes import check_tables
from medrobust.cli.typed import rewrite
from medrobust.exceptions import ConfigurationError


def check(*typed: str) -> None:
    check_tables(rewrite(typed), [conf_folder()], groups([conf_folder()]))


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (["store=/data/cells"], "store.dir, store.features, "),
        (["-m", "store=a,b"], "store.dir, "),
        (["tuning=few_shot", "tuning.optimizer=adam"], "tuning.optimizer.lr, "),
        (["adapter=full", "tuning.optimizer=adam"], "tuning.optimizer.lr."),
        (["readings=conformal,calibration", "readings.calibration=beta"], "readings.calibration."),
    ],
)
def test_a_value_in_place_of_a_table_is_refused_with_its_keys(typed: list[str], keys: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(keys)) as refused:
        check(*typed)
    assert str(refused.value).startswith(f"{typed[-1]}: ")


@pytest.mark.parametrize(
    "typed",
    [
        ["store.dir=/data/cells"],
        ["store={dir: a}"],
        ["adapter=lora_corrupted", "tuning.corrupt=null"],
        ["tuning=few_shot", "tuning.optimizer=${tuning.other}"],
        ["dataset=bloodmnist", "readings=calibration", "tuning=none"],
    ],
)
def test_what_can_stand_there_is_taken(typed: list[str]) -> None:
    check(*typed)
