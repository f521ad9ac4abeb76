"""Keys that options accept: what a misspelt one is told, what help lists."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from medrobust.base.class_arguments import class_arguments
from medrobust.base.conf_folder import conf_folder
from medrobust.base.near_misses import nearest_key
from medrobust.cli import entry as cli
from medrobust.cli import hydra_app
from medrobust.cli import typed as arguments
from medrobust.cli.option_keys import option_help, option_keys
from medrobust.datasets import Dicom, Folder
from medrobust.exceptions import ConfigurationError

CONF = conf_folder()
ALL = arguments.groups([CONF])


def refused(*typed: str) -> str:
    """What a command with a wrong key is told."""
    with pytest.raises(ConfigurationError) as error:
        hydra_app.composed(typed)
    return str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["dataset=folder", "dataset.pathh=x"], "dataset.path_column"),
        (["dataset=folder", "dataset.columns.lable=x"], "dataset.label_column"),
        (["dataset=dicom", "dataset.columns.lable=x"], "dataset.label_column"),
        (["dataset=dicom", "dataset.instance_colum=x"], "dataset.instance_column"),
        (["dataset=npz", "dataset.clas_names=x"], "dataset.class_names"),
        (["adapter=lora", "adapter.rnk=3"], "adapter.rank"),
        (["adapter=full", "adapter.wich=all"], "adapter.which"),
        (["tuning=few_shot", "few_shot.shots=3"], "tuning.shots"),
        (["tuning=few_shot", "tuning.optimiser.lr=3"], "tuning.optimizer.lr"),
        (["logger=wandb", "logger.projekt=x"], "logger.project"),
        (["store.dirr=x"], "store.dir"),
        (["model=biomedclip", "model.imagesize=3"], "+model.image_size"),
    ],
)
def test_a_misspelt_key_names_the_nearest_of_the_chosen_option(typed, meant) -> None:
    key = typed[-1].partition("=")[0]
    said = refused(*typed)
    assert said.startswith(f"there is no configuration key {key!r}. Did you mean {meant!r}?")


def test_the_answer_says_how_the_keys_are_listed() -> None:
    assert "`dataset=folder --help` lists the keys of dataset." in refused(
        "dataset=folder", "dataset.zzz=x"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["task.shots=3"], "in tuning=none; tuning=few_shot has it."),
        (["tuning.shots=3"], "in tuning=none; tuning=few_shot has it."),
        (["few_shot.shots=3"], "in tuning=none; tuning=few_shot has 'tuning.shots'."),
        (["lora.rank=3"], "in adapter=none; adapter=lora has 'adapter.rank'."),
        (["dataset.csv=x"], "in dataset=phantoms; dataset=dicom, folder, lesions have it."),
    ],
)
def test_a_key_of_another_option_names_that_option(typed, said) -> None:
    assert refused(*typed).endswith(said)


def test_a_key_that_the_file_leaves_out_is_told_with_its_plus() -> None:
    assert refused("model=biomedclip", "model.image_size=336").endswith(
        "write +model.image_size=VALUE."
    )
    assert hydra_app.composed(["model=biomedclip", "+model.image_size=336"]).model.image_size == 336


def test_nothing_near_suggests_nothing() -> None:
    assert "Did you mean" not in refused("dataset=dicom", "dataset.zzzzz=x")
    assert nearest_key("dataset.zzzzz", ["dataset.csv", "seed", "dataset"]) is None


@pytest.mark.parametrize(("option", "class_"), [("folder", Folder), ("dicom", Dicom)])
def test_all_arguments_of_a_class_are_accepted_keys(option, class_) -> None:
    names = {key.name for key in option_keys([CONF], "dataset", option)}
    assert names == {f"dataset.{field.name}" for field in fields(class_)}


def test_a_key_missing_from_the_file_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    file = tmp_path / "dataset" / "short.yaml"
    file.write_text("_target_: medrobust.datasets.Folder\ncsv: a.csv  # my table\n")
    keys = {key.name: key for key in option_keys([tmp_path], "dataset", "short")}
    assert (keys["dataset.csv"].default, keys["dataset.csv"].meaning) == ("a.csv", "my table")
    assert keys["dataset.csv"].in_file
    assert keys["dataset.fit"].typed == "+dataset.fit"
    assert keys["dataset.fit"].meaning == '"pad", "crop" or "squash" (`Framing`)'


def test_an_option_that_builds_on_another_has_its_keys() -> None:
    keys = {key.name: key.default for key in option_keys([CONF], "adapter", "clip_lora")}
    assert keys["adapter.rank"] == "2"  # its own
    assert keys["adapter.targets"] == "[q, k, v]"  # of adapter=lora


def test_arguments_of_foreign_classes_are_not_loaded() -> None:
    assert class_arguments("os.system") == []
    assert class_arguments("medrobust.datasets.NoSuchSet") == []


@pytest.mark.slow
@pytest.mark.parametrize("group", ["dataset", "tuning", "adapter", "logger", "model"])
def test_help_gives_every_key_a_line_and_a_meaning(group: str) -> None:
    for option in ALL[group]:
        for key in option_keys([CONF], group, option):
            plain = not key.name.startswith("tuning.optimizer.") and key.name.startswith(group)
            assert key.meaning or not plain, f"{group}={option}: {key.name} has no meaning"


def test_help_of_an_option_lists_what_its_file_says(capsys) -> None:
    assert (
        cli.dispatch(["dataset=folder", "task=few_shot", "--help"]) == 0
    )  # the former name of tuning=few_shot
    said = capsys.readouterr().out
    assert said.startswith(f"dataset=folder: {ALL['dataset']['folder']}\n")
    for name, default in yaml.safe_load((CONF / "dataset" / "folder.yaml").read_text()).items():
        if name != "_target_":
            written = "null" if default is None else str(default) or '""'
            assert f"dataset.{name}={written}" in said
    assert re.search(r"tuning\.shots=null +images a class, in place of fraction\n", said)
    assert "corruption=" not in said


def test_help_names_a_mistyped_option() -> None:
    with pytest.raises(LookupError, match="Did you mean 'folder'"):
        cli.dispatch(["dataset=foldr", "--help"])


def test_help_of_an_option_without_keys_says_so() -> None:
    assert "It takes no keys." in option_help([CONF], "tuning", "none", "")
