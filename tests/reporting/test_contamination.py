"""Lists of training data: facts that agree with conf/model, and what is said of a data set."""

import pytest

from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.reporting.contamination import naming, seen, training_lists, verdict


def test_every_list_says_how_it_is_listed_and_from_where() -> None:
    for name, entry in training_lists().items():
        assert entry["list"] in ("images by name", "set", "split", "none"), name
        assert len(entry["source"]) > 10, name
        assert not set(entry.get("known", ())) & set(entry.get("suspected", ())), name
        assert entry["list"] != "none" or not entry.get("known"), "known needs a list"


def test_every_data_set_that_is_named_is_one_of_the_package() -> None:
    there = {file.stem for file in option_files(conf_folder(), "dataset")}
    for name, entry in training_lists().items():
        named = {*entry.get("known", ()), *entry.get("suspected", ())}
        assert named <= there, (name, named - there)


def test_all_training_data_of_published_models_have_an_entry() -> None:
    import yaml

    named = {
        data
        for file in option_files(conf_folder(), "model")
        for data in (yaml.safe_load(file.read_text("utf-8")).get("model") or {}).get(
            "trained_on", ()
        )
    }
    assert named - training_lists().keys() <= {"phantoms"}


@pytest.mark.parametrize(
    ("dataset", "trained_on", "said"),
    [
        ("aml", ["lvm_med_55"], "known"),
        ("organamnist", ["sa_1b", "lvm_med_55"], "known"),
        ("octmnist", ["lvm_med_55"], "suspected"),
        ("bloodmnist", ["lvm_med_55"], "not listed"),
        ("bloodmnist", ["sa_1b", "lvm_med_55"], "unknown"),
        ("chestmnist", ["lvd_142m", "nih_chestxray14"], "known"),
        ("retinamnist", ["imagenet_1k", "moorfields"], "unknown"),
        ("ward", ["ward"], "known"),
        ("ward", [], "unknown"),
        ("ward", ["a list that nobody knows"], "unknown"),
    ],
)
def test_what_the_lists_tell_of_a_data_set(dataset: str, trained_on: list[str], said: str) -> None:
    assert verdict(dataset, trained_on) == said
    assert bool(seen(dataset, trained_on)) == (said == "known")
    assert bool(naming(dataset, trained_on)) == (said in ("known", "suspected"))
