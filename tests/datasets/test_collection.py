from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import medmnist_arrays, write_medimeta, write_medmnist

from medrobust.base.conf_folder import conf_folder
from medrobust.datasets import Collection
from medrobust.datasets.published.medimeta_facts import FACTS as MEDIMETA
from medrobust.datasets.published.medimeta_facts import MEDIMETA_C
from medrobust.datasets.published.medmnist_facts import FACTS as MEDMNIST
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError


def sets(name: str) -> list[str]:
    found = yaml.safe_load((conf_folder() / "dataset" / f"{name}.yaml").read_text())["sets"]
    assert isinstance(found, list)
    return found


def test_the_collections_hold_the_published_sets() -> None:
    assert sorted(sets("medmnist")) == sorted(MEDMNIST)
    assert sorted(sets("medimeta_c")) == sorted(MEDIMETA_C)
    assert sorted(sets("robustmedclip_12")) == sorted(
        [*sets("medimeta_c"), *sets("medmnist_repacked_files")]
    )
    assert len(sets("robustmedclip_12")) == 12
    assert set(MEDMNIST) - set(sets("medmnist_c_files")) == {"tissuemnist"}


def test_each_member_is_a_set_of_its_own_and_reads_one_root(tmp_path: Path) -> None:
    write_medmnist(tmp_path, "octmnist", size=28)
    write_medimeta(tmp_path / "medimeta", "bus", size=28)
    both = Collection("two", ["octmnist", "bus"], root=str(tmp_path), size=28, limit=3)
    assert [member.name for member in both.members] == ["octmnist", "bus"]
    assert [len(member.load()) for member in both.members] == [3, 3]


def test_members_that_share_pictures_say_so_in_their_tables(tmp_path: Path) -> None:
    write_medmnist(tmp_path, "bloodmnist", size=28)
    write_medimeta(tmp_path / "medimeta", "pbc", size=28)
    shared = Collection("x", ["bloodmnist", "pbc"], root=str(tmp_path), size=28)
    for member in shared.members:
        assert any(mark.startswith("bloodmnist and pbc hold") for mark in member.load().marks)
    alone = Collection("x", ["bloodmnist"], root=str(tmp_path), size=28)
    assert not any("hold" in mark for mark in alone.members[0].load().marks)


def test_an_order_is_given_to_the_sets_that_know_it() -> None:
    orders = {
        member.name: member.label_order
        for member in Collection("x", ["aml", "pbc", "oct"], label_order="robustmedclip").members
    }
    assert orders == {"aml": None, "pbc": "robustmedclip", "oct": "robustmedclip"}
    one = Collection("x", ["pbc", "oct"], label_order={"oct": "robustmedclip"})
    assert [member.label_order for member in one.members] == [None, "robustmedclip"]
    with pytest.raises(ConfigurationError, match="medimeta, robustmedclip"):
        Collection("x", ["pbc"], label_order="rmc")
    with pytest.raises(ConfigurationError, match="'oct'"):
        Collection("x", ["pbc"], label_order={"oct": "robustmedclip"})


def test_layouts_decide_where_corrupted_images_come_from() -> None:
    files = Collection("x", ["octmnist"], layout="medmnist_c", root="r")
    (member,) = files.members
    assert (member.files_suite, member.folder) == (
        "medmnist_c_files",
        Path("r/medmnist_c/octmnist"),
    )
    names = ["aml", "octmnist"]
    packed = Collection("x", names, layout="robustmedclip", root="r")
    assert [m.files_suite for m in packed.members] == [
        "medimeta_c_files",
        "medmnist_repacked_files",
    ]
    assert [str(m.folder) for m in packed.members] == [
        "r/medimeta_c/aml",
        "r/medmnist_repacked/octmnist",
    ]
    clean = Collection("x", names, layout="robustmedclip", files=False)
    assert [m.files_suite for m in clean.members] == [None, None]


def test_what_cannot_be_a_collection_is_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="octmnist"):
        Collection("x", ["octmnst"])
    with pytest.raises(ConfigurationError, match="each once"):
        Collection("x", ["oct", "oct"])
    with pytest.raises(ConfigurationError, match="original, medmnist_c, robustmedclip"):
        Collection("x", ["oct"], layout="zip")
    with pytest.raises(UnknownNameError):
        Collection("x", ["bus"], layout="robustmedclip")
    assert set(MEDIMETA) >= {"bus"}


def test_counts_that_fit_another_order_stop_a_medmnist_run_too(tmp_path: Path) -> None:
    arrays = medmnist_arrays("breastmnist", (4, 4, 60), size=28)
    arrays["test_labels"] = np.repeat([0, 1], [45, 15])[:, None].astype(np.uint8)
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    (member,) = Collection("x", ["breastmnist"], root=str(tmp_path), size=28).members
    with pytest.raises(InvalidDataError, match=r"dataset\.label_order=reversed"):
        member.load()
