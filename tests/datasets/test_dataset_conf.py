import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.datasets.published.medmnist_facts import FACTS

OWN = {
    "dicom": ["dataset.csv=t.csv"],
    "folder": ["dataset.csv=t.csv"],
    "lesions": ["dataset.csv=t.csv", "dataset.boxes=boxes.csv"],
    "npz": ["dataset.file=a.npz", "dataset.class_names=[a,b]"],
} | {
    name: ["dataset.root=folder"]
    for name in ("chexpert_5x200", "mimic_cxr", "openi", "padchest", "rocov2")
}
OWN |= {
    f"bmad_{name}": ["dataset.root=folder"]
    for name in ("brain", "liver", "resc", "oct2017", "chest", "histopathology")
}
OWN |= {
    name: ["dataset.root=folder"]
    for name in (
        *("ham10000", "isic_2019", "isic_2020", "pad_ufes_20", "ddi"),
        *("pranet", "kvasir_seg", "cvc_clinicdb", "polypgen", "isic_2018"),
    )
}
OPTIONS = [file.stem for file in option_files(conf_folder(), "dataset")]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(overrides=[*overrides])


@pytest.fixture(scope="module")
def beside() -> DictConfig:
    """Those that have a place of their own in a configuration, composed at once."""
    names = [name for name in OPTIONS if "@package" not in file_of(name).read_text()]
    given = [(name, key) for name in names for key in OWN.get(name, [])]
    return composed(
        *(f"+dataset@{name}={name}" for name in names),
        *(key.replace("dataset", name, 1) for name, key in given),
    )


def file_of(name: str) -> Path:
    return conf_folder() / "dataset" / f"{name}.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_dataset_config_builds_without_opening_a_file(name: str, beside: DictConfig) -> None:
    if name in beside:
        config = OmegaConf.create({"dataset": OmegaConf.to_container(beside[name])})
    else:
        config = composed(f"+dataset={name}", *OWN.get(name, []))
    source = instantiate(config.dataset, _convert_="all")
    assert source.name in (name, f"{name}_kvasir"), "medsegbench names its set, too"
    assert source.split == "test"
    for member in getattr(source, "members", (source,)):
        assert member.split == "test"
        assert member.suite == (member.name if member.name in FACTS else None)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_dataset_config_says_in_its_first_line_what_it_is(name: str) -> None:
    text = file_of(name).read_text()
    assert text.startswith("# ")
    assert isinstance(yaml.safe_load(text), dict)


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, medrobust.datasets\n"
        "heavy = {'torch', 'cv2', 'PIL', 'medmnist', 'h5py', 'pydicom'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_of_public_names_is_complete() -> None:
    import medrobust.datasets as room

    for name in room.__all__:
        if (Path(room.__file__).parent / f"{room._HOME[name]}.py").exists():
            assert getattr(room, name).__name__ == name
