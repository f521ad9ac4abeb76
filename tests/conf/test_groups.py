"""Every file of conf/ composes and builds."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.base.former_names import recipe_keys
from medrobust.cli import hydra_app as cli
from medrobust.cli.conf_files import groups
from medrobust.evaluation.config import UNTUNED
from medrobust.exceptions import UnknownNameError
from medrobust.readings import Aggregation
from medrobust.tuning import Tuning

CONF = conf_folder()
FILES = [path.relative_to(CONF) for path in option_files(CONF)]
LOCAL = {"local"}
GIVEN = {
    "dataset/dicom.yaml": ("dataset.csv=labels.csv",),
    "dataset/folder.yaml": ("dataset.csv=labels.csv",),
    "dataset/lesions.yaml": ("dataset.csv=images.csv", "dataset.boxes=boxes.csv"),
    "dataset/npz.yaml": ("dataset.file=a.npz", "dataset.class_names=[a,b]"),
} | {
    f"dataset/{name}.yaml": ("dataset.root=folder",)
    for name in ("chexpert_5x200", "mimic_cxr", "openi", "padchest", "rocov2")
}
GIVEN |= {
    f"dataset/{file.name}": ("dataset.root=folder",) for file in FILES if file.stem[:5] == "bmad_"
}
GIVEN |= {
    f"dataset/{name}.yaml": ("dataset.root=folder",)
    for name in (
        *("ham10000", "isic_2019", "isic_2020", "pad_ufes_20", "ddi"),
        *("pranet", "kvasir_seg", "cvc_clinicdb", "polypgen", "isic_2018"),
    )
}
GIVEN |= {
    f"text_corruption/{file.stem}.yaml": ("task=retrieval",)
    for file in FILES
    if file.parent.as_posix() == "text_corruption" and file.stem != "none"
}
"""What the user must give, by file."""


def composed(*overrides: str) -> DictConfig:
    cli.prepare_hydra()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def given(file: Path, folder: Path) -> tuple[str, ...]:
    if file.as_posix() == "adapter/path.yaml":
        (folder / "adapter_model.safetensors").write_bytes(b"")
        return (f"adapter.path={folder}",)
    return GIVEN.get(file.as_posix(), ())


def built(config: DictConfig, group: str) -> Any:
    return instantiate(config[group], _convert_="all")


MADE: dict[str, Any] = {}


def built_once(config: DictConfig, group: str) -> Any:
    """Build what is configured alike once: beside most files stand the same others."""
    alike = f"{group} {OmegaConf.to_container(config[group], resolve=True)}"
    if alike not in MADE:
        MADE[alike] = built(config, group)
    return MADE[alike]


APART = (
    *("corruption", "dataset", "model", "adapter", "prompts", "readings", "severity"),
    *("aggregate", "logger", "quality", "speed", "trainer"),
)
"""Groups that know nothing of the others."""
BESIDE = "beside"
"""Second place of a group of many files, in the same configuration."""


def rows_of() -> list[tuple[tuple[str, Path], ...]]:
    """Where to put which files, to compose them at once.

    One of each group that knows nothing of the others, and of a longer group than that of models
    (which set keys of others, and have one place) another, if it refers to nothing outside it.
    """
    columns = {name: [file for file in FILES if file.parent.as_posix() == name] for name in APART}
    rows = len(columns["model"])
    for name in [name for name in APART if len(columns[name]) > rows]:
        columns[name].sort(key=lambda file: "defaults:" not in (CONF / file).read_text())
        columns[f"{name}_{BESIDE}"] = columns[name][rows:]
        del columns[name][rows:]
    named = [[(place, file) for file in files] for place, files in columns.items()]
    together = [tuple(one for one in row if one) for row in zip_longest(*named)]
    assert len(together) == rows
    others = [file for file in FILES if file.parent.as_posix() not in APART]
    return together + [((file.parent.as_posix(), file),) for file in others]


@pytest.mark.parametrize("files", rows_of(), ids=lambda row: " ".join(str(f) for _, f in row))
def test_every_file_composes_and_its_object_builds(
    files: tuple[tuple[str, Path], ...], tmp_path: Path
) -> None:
    group, option = files[0][0], files[0][1].stem
    if group in LOCAL:
        return
    if group.startswith("hydra/"):
        pytest.importorskip("hydra_plugins.hydra_ray_launcher") if "ray" in option else None
        assert composed(f"{group}={option}").hydra[group.split("/")[1]]
        return
    chosen, more = list[str](), list[str]()
    for place, file in files:
        of = file.parent.as_posix()
        chosen.append(f"{place}={file.stem}" if place == of else f"+{of}@{place}={file.stem}")
        more += [word.replace(f"{of}.", f"{place}.", 1) for word in given(file, tmp_path)]
    config = composed(*chosen, *more)
    for place, _ in files:
        OmegaConf.to_container(config.get(place), resolve=True) if place in config else None
        assert not place.endswith(BESIDE) or built(config, place) is not None
    parts = ("model", "dataset", "corruption", "prompts", "adapter", "logger", "task", "speed")
    for part in parts:
        assert built_once(config, part) is not None
    needs_tuning = built_once(config, "adapter").needs_tuning
    assert needs_tuning == (config.adapter["_target_"] in UNTUNED)
    if config.get("aggregate"):
        assert isinstance(built(config, "aggregate"), Aggregation)
    if config.get("tuning"):
        assert isinstance(built(config, "tuning"), Tuning)


def test_a_models_file_names_its_own_data_set_and_the_command_line_wins() -> None:
    assert composed("model=biomedclip").dataset.flag == "bloodmnist"
    assert composed("model=biomedclip", "dataset=octmnist").dataset.flag == "octmnist"
    assert composed("dataset=octmnist", "model=biomedclip").dataset.flag == "octmnist"


def test_the_reference_follows_the_data_set_unless_it_is_named() -> None:
    assert composed().reference == "phantomclip_small"
    assert composed("model=biomedclip").reference == "clip_vit_b16"
    assert composed("reference=biomedclip").reference == "biomedclip"


def test_a_bare_name_means_imagenet_c_on_every_data_set() -> None:
    config = composed("corruption=motion_blur", "dataset=octmnist")
    (column,) = built(config, "corruption").expand("octmnist")
    assert (column.suite, column.name) == ("imagenet_c", "motion_blur")


def test_severity_files_set_the_levels() -> None:
    assert composed().severity.levels == [1, 2, 3, 4, 5]
    assert composed("severity=s3").severity.levels == [3]


def test_the_demonstration_is_a_sweep_over_both_models() -> None:
    config = composed("experiment=demonstration")
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweeper.params.model == "phantomclip_small,phantomclip"


def test_the_preset_per_set_sweeps_over_every_set_of_the_joint_one() -> None:
    joint = composed("experiment=robustmedclip_paper")
    apart = composed("experiment=robustmedclip_per_set")
    swept = apart.hydra.sweeper.params["dataset.sets"].strip("[]").split("],[")
    assert swept == list(joint.dataset.sets)
    assert len(swept) == 12
    assert (apart.adapter.name, apart.adapter.alpha) == ("lora_per_set_r16", 16)


OURS = """# @package _global_
defaults:
  - override /task: few_shot
task:
  shots: 4
  optimizer: {lr: 0.5}
  corrupt:
    _target_: medrobust.tuning.CorruptedShots
    columns: []
"""
"""An experiment of somebody's own, as release 0.1 had it."""


def test_files_of_release_0_1_mean_what_they_meant(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "ours.yaml").write_text(OURS)
    pack = f"hydra.searchpath=[file://{tmp_path}]"
    config = composed(pack, "experiment=ours", "tuning.shot_seed=7")
    assert config.task == {"_target_": "medrobust.tasks.lookup.task_of", "kind": "classification"}
    plain = composed("tuning=few_shot").tuning
    assert (config.tuning.shots, config.tuning.shot_seed) == (4, 7)
    assert config.tuning.optimizer == {**plain.optimizer, "lr": 0.5}
    assert config.tuning.corrupt._target_ == "medrobust.tuning.CorruptedShots"
    kept = {key for key in plain if key not in ("shots", "shot_seed", "optimizer", "corrupt")}
    assert all(config.tuning[key] == plain[key] for key in kept)
    typed = ["tuning.shots=9", "tuning.optimizer.lr=0.1"]  # as the entry writes task.shots=9
    config = composed(pack, "experiment=ours", *typed)
    assert (config.tuning.shots, config.tuning.optimizer.lr) == (9, 0.1)


def test_no_task_has_a_key_of_tuning() -> None:
    for file in CONF.glob("task/*.yaml"):
        assert not recipe_keys() & OmegaConf.load(file).keys()


def test_a_base_file_is_no_option() -> None:
    bases = {path.stem for path in CONF.glob("*/_*.yaml")}
    assert {"_hub", "_medmnist"} <= bases
    assert not bases & {option for options in groups([CONF]).values() for option in options}
    with pytest.raises(UnknownNameError, match="'_hub'"):
        cli.composed(["model=_hub"])
