"""Which artifacts suit which data set: words of a modality, refusals, force, `physics`."""

import logging
from dataclasses import replace

import pytest
import yaml

from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.base.once import begin_again
from medrobust.corruptions import Corruption, Suite, suites
from medrobust.corruptions.kernels import KERNELS
from medrobust.corruptions.modality import PHYSICS, WORDS, device_of, modality_of, say_unchecked
from medrobust.datasets import (
    Folder,
    MedIMeta,
    MedMNIST,
    Npz,
    OpenI,
    PhantomLesions,
    Phantoms,
    Roco,
)
from medrobust.datasets.published.medimeta_facts import FACTS as MEDIMETA
from medrobust.datasets.published.medmnist_facts import FACTS as MEDMNIST
from medrobust.exceptions import ConfigurationError

CONF = conf_folder()


@pytest.mark.parametrize(
    ("words", "device"),
    [
        *(("T1w MRI of the brain", "MRI"), ("MR", "MRI"), ("magnetic resonance image", "MRI")),
        *(("Chest X-Ray", "x-ray"), ("chest radiograph", "x-ray"), ("mammography", "x-ray")),
        *(("low-dose CT", "CT"), ("breast ultrasound", "ultrasound"), ("sonography", "ultrasound")),
        *(("retinal OCT", "OCT"), ("H&E slide", "histopathology"), ("dermoscopy", "dermatoscopy")),
        *(("colonoscopy", "endoscopy"), ("", ""), ("medical image", ""), ("drawing", "")),
        *(("DX", "x-ray"), (" us ", "ultrasound"), ("US patients", ""), ("opt", "OCT")),
        *(("scan", ""), ("radiology image", ""), ("picture of an octopus", ""), ("mrs. x", "")),
    ],
)
def test_words_of_a_modality_name_a_device_or_none(words, device):
    assert device_of(words) == device


def test_every_published_set_names_its_device():
    found = {flag: device_of(facts.modality) for flag, facts in (MEDMNIST | MEDIMETA).items()}
    assert {flag for flag, device in found.items() if not device} == set()
    assert found["pathmnist"] == "histopathology"
    assert {found[flag] for flag in ("cxr", "chestmnist", "mammo_mass")} == {"x-ray"}
    assert (found["bus"], found["octmnist"], found["organs_axial"]) == ("ultrasound", "OCT", "CT")


def test_sources_say_their_modality_without_their_files(tmp_path):
    own = Folder(csv=str(tmp_path / "labels.csv"), name="ward", modality="brain MRI")
    assert modality_of(own) == "brain MRI"
    assert modality_of(MedMNIST("organamnist")) == "axial abdominal CT"
    assert modality_of(MedIMeta("cxr")) == "chest x-ray"
    assert modality_of(OpenI(root=str(tmp_path))) == "chest x-ray"
    assert device_of(modality_of(Roco(root=str(tmp_path)))) == ""
    assert modality_of(Phantoms()) == modality_of(PhantomLesions()) == ""


def test_kernels_and_suites_name_devices_that_there_are():
    assert {facts.device for facts in KERNELS.values()} - {""} <= set(WORDS)
    assert set(PHYSICS.values()) <= set(suites())
    for device, suite in PHYSICS.items():
        assert [c.suite for c in Suite("physics").expand(None, device)] == [suite] * len(
            suites(suite)
        )


@pytest.mark.parametrize("asked", [Corruption("ghosting", "mri_physics"), Suite("mri_physics")])
@pytest.mark.parametrize("words", ["axial abdominal CT", "colon histopathology"])
def test_an_artifact_of_another_device_is_refused_unless_forced(asked, words):
    told = rf"'ghosting' of suite 'mri_physics' is an artifact of MRI.*{words}"
    with pytest.raises(ConfigurationError, match=told):
        asked.expand(None, words)
    forced = replace(asked, force=True)
    assert len(forced.expand(None, words)) == len(asked.expand(None, "brain MRI"))


def test_force_changes_no_pixels_and_no_fingerprint():
    plain, forced = (Corruption("spike", "mri_physics", force=force) for force in (False, True))
    assert plain.identity(3) == forced.identity(3)


def test_where_no_device_is_named_it_runs_and_says_so_once(caplog):
    begin_again()
    with caplog.at_level(logging.INFO):
        columns = Suite("mri_physics").expand(None, "")
        assert len(columns) == len(suites("mri_physics"))
        for _ in range(2):
            say_unchecked((column.device for column in columns), "")
        assert len(caplog.records) == 1
        assert "MRI artifacts on a data set that does not say" in caplog.text
        say_unchecked([columns[0].device], "medical image")
        say_unchecked([columns[0].device], "brain MRI")
    assert len(caplog.records) == 2
    assert "says 'medical image', which names no device" in caplog.text


def test_corruptions_of_any_image_ask_nothing(caplog):
    begin_again()
    with caplog.at_level(logging.INFO):
        assert Suite("imagenet_c").expand(None, "colon histopathology")
        say_unchecked((column.device for column in Suite("occlusion").expand(None, "")), "")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [("", "declares no modality"), (None, "declares no modality"), ("retinal OCT", "retinal OCT")],
)
def test_physics_of_no_device_is_refused_with_the_suites_there_are(words, said):
    with pytest.raises(ConfigurationError, match=rf"{said}.*mri_physics.*dataset\.modality"):
        Suite("physics").expand(None, words)


def test_what_a_refusal_names_is_a_key_of_every_option_that_is_refused():
    options = [yaml.safe_load(file.read_text("utf-8")) for file in option_files(CONF, "corruption")]
    checked = 0
    for option in options:
        kind = {
            "medrobust.corruptions.Suite": Suite,
            "medrobust.corruptions.Corruption": Corruption,
        }
        given = {k: v for k, v in option.items() if k in ("name", "suite", "registry")}
        if "force" in option or option.get("suite") is None:
            continue
        asked = kind[option["_target_"]](**given)
        assert {column.device for column in asked.expand("bloodmnist", "")} <= {""}, given
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("force", ["maybe", 1, None])
def test_what_is_neither_true_nor_false_forces_nothing(force) -> None:
    with pytest.raises(ConfigurationError, match=r"corruption\.force="):
        Suite("mri_physics", force=force).expand(None, "CT")
    with pytest.raises(ConfigurationError, match=r"corruption\.force="):
        Corruption("spike", "mri_physics", force=force)


@pytest.mark.parametrize("modality", [["MRI", "CT"], None, 3])
def test_a_modality_that_is_no_words_is_refused_before_anything_is_opened(
    modality, tmp_path
) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"dataset\.modality=.* must be a few words"):
        Folder(csv=str(tmp_path / "labels.csv"), name="own", modality=modality).check_files()
    with pytest.raises(ConfigurationError, match=r"dataset\.modality=.* must be a few words"):
        Npz(file=str(tmp_path / "set.npz"), name="own", class_names=["a", "b"], modality=modality)
