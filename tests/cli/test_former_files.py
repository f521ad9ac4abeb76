"""Files of options of release 0.1: what they say goes before and after other files as it did."""

from pathlib import Path

import pytest
from omegaconf import DictConfig
from run_entry import medrobust

from medrobust.base.former_names import FORMER_TARGETS, present_file, present_record
from medrobust.cli.hydra_app import composed

FILES = {
    "experiment/ours.yaml": """# @package _global_
defaults:
  - override /task: few_shot
  - override /adapter: full
adapter:
  name: full_${task.shots}
task:
  shots: 4
""",
    "experiment/swept.yaml": """# @package _global_
defaults:
  - override /task: few_shot
  - override /adapter: lora
task:
  epochs: 1
  datasets: [phantoms]
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      task.fraction: 0.1,0.2
""",
    "experiment/both.yaml": """# @package _global_
defaults:
  - override /adapter: untuned
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      task: zero_shot,few_shot
""",
    "adapter/ours.yaml": """# @package _global_
defaults:
  - override /task: few_shot
adapter:
  _target_: medrobust.adapters.Lora
  rank: 2
task:
  epochs: 30
  optimizer:
    lr: 0.5
  corrupt:
    _target_: medrobust.tasks.CorruptedShots
    columns: [{_target_: medrobust.corruptions.Suite, suite: medimeta_c}]
""",
    "dataset/grades.yaml": """# Built on a folder
defaults:
  - folder
  - _self_
csv: grades.csv
task: ordinal-regression
""",
    "dataset/whole_grades.yaml": """# All in one file
_target_: medrobust.datasets.Npz
file: grades.npz
class_names: [a, b, c]
task: ordinal-regression
""",
    "dataset/theirs.yaml": """# A class that has a task of its own
_target_: ward.Images
task: segmentation
""",
    "experiment/graded.yaml": """# @package _global_
defaults:
  - override /dataset: folder
dataset:
  csv: grades.csv
  task: ordinal-regression
""",
    "task/ours.yaml": """# Twenty epochs of SGD
defaults:
  - few_shot
  - _self_
epochs: 7
""",
    "task/whole.yaml": """_target_: medrobust.tasks.Tuning
shots: 3
optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: 0.5}
""",
}


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MEDROBUST_TRUST", "ward")
    for name, text in FILES.items():
        file = tmp_path / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return f"--config-dir={tmp_path / 'pack'}"


def classifies(config: DictConfig) -> bool:
    return bool(config.task == {**config.task, "kind": "classification"}) and len(config.task) == 2


def test_what_is_typed_goes_before_the_experiment_and_that_before_the_adapter(pack: str) -> None:
    config = composed([pack, "experiment=ours", "task.batch_size=8"])
    recipe = composed(["tuning=few_shot"]).tuning
    given = {"shots": 4, "batch_size": 8, "optimizer": {**recipe.optimizer, "lr": 1e-4}}
    assert config.tuning == {**recipe, **given}  # the rate is that of adapter=full
    assert config.adapter.name == "full_4"
    assert classifies(config)
    assert composed([pack, "experiment=ours", "task.shots=2"]).tuning.shots == 2
    assert composed([pack, "experiment=ours", "tuning.shots=2"]).tuning.shots == 2


def test_an_adapter_of_that_time_stands_below_an_experiment_of_now(pack: str) -> None:
    config = composed([pack, "experiment=adapter_bakeoff", "adapter=ours"])
    assert (config.tuning.epochs, config.tuning.optimizer.lr) == (5, 0.5)
    assert config.tuning.corrupt._target_ == "medrobust.tuning.CorruptedShots"
    for key in ("tuning.epochs=7", "task.epochs=7"):
        typed = composed([pack, "experiment=adapter_bakeoff", "adapter=ours", key])
        assert (typed.tuning.epochs, typed.tuning.optimizer.lr) == (7, 0.5)


def test_a_recipe_in_a_file_of_ones_own_is_a_tuning(pack: str) -> None:
    plain = composed(["tuning=few_shot"]).tuning
    config = composed([pack, "task=ours", "task.shots=2"])
    assert config.tuning == {**plain, "epochs": 7, "shots": 2}
    assert classifies(config)
    whole = composed([pack, "task=whole"]).tuning
    assert (whole._target_, whole.shots) == ("medrobust.tuning.Tuning", 3)


@pytest.mark.slow
def test_a_sweep_of_that_time_sweeps_over_what_is_typed_instead(pack: str, workplace: Path) -> None:
    def jobs(*typed: str, name: str) -> list[str]:
        assert medrobust(pack, *typed, "dry_run=true", f"hydra.sweep.dir={name}") == 0
        names = sorted(path.name for path in Path(name).iterdir() if path.is_dir())
        return [name.split(",")[-1] for name in names]

    assert jobs("experiment=swept", name="a") == ["tuning.fraction=0.1", "tuning.fraction=0.2"]
    assert len(jobs("experiment=swept", "-m", "task.fraction=0.5", name="b")) == 1
    assert jobs("experiment=both", name="c") == ["tuning=none", "tuning=few_shot"]


def test_keys_of_tuning_where_nothing_is_tuned_are_refused(
    pack: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert medrobust(pack, "experiment=ours", "task=zero_shot", "dry_run=true") == 1
    assert "is given, and nothing is tuned: add tuning=few_shot." in capsys.readouterr().err
    assert medrobust("task.shots=4", "dry_run=true") == 1
    assert "no configuration key 'tuning.shots' in tuning=none" in capsys.readouterr().err


def test_in_one_file_a_present_name_goes_before_a_former_one() -> None:
    both = {
        "task": {"shots": 2, "optimizer": {"lr": 1.0, "weight_decay": 2.0}},
        "tuning": {"optimizer": {"lr": 3.0}},
    }
    assert present_file(both, "experiment", whole=True) == {
        "tuning": {"shots": 2, "optimizer": {"lr": 3.0, "weight_decay": 2.0}}
    }


def test_a_file_of_the_present_form_is_read_as_it_is() -> None:
    content = {"defaults": [{"override /task": "retrieval"}, "_self_"], "task": {"kind": "x"}}
    assert present_file(content, "experiment", whole=True) == content


def test_a_record_of_release_0_1_has_its_recipe_as_its_task() -> None:
    recipe = {"_target_": "medrobust.tasks.Tuning", "shots": 2}
    present = present_record({"task": recipe, "seed": 0})
    assert present["tuning"] == {"_target_": "medrobust.tuning.Tuning", "shots": 2}
    assert present["task"]["kind"] == "classification"
    assert present["seed"] == 0
    encoder = {"_target_": "medrobust.tasks.ZeroShot", "_partial_": True}
    present = present_record({"task": encoder})
    assert present["task"]["kind"] == "classification"
    assert "tuning" not in present
    assert present_record(present) == present
    assert len(FORMER_TARGETS) == 3


KIND_SAID = "dataset.task is called dataset.label_kind now"


@pytest.mark.parametrize(
    "typed",
    [
        ["dataset=folder", "dataset.task=ordinal-regression"],
        ["dataset=grades"],
        ["dataset=whole_grades"],
        ["experiment=graded"],
    ],
    ids=" ".join,
)
def test_the_kind_of_labels_is_taken_by_its_former_name_with_a_warning(
    typed: list[str], pack: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = composed([pack, *typed]).dataset
    assert dataset.label_kind == "ordinal-regression"
    assert "task" not in dataset
    assert [record.levelname for record in caplog.records if KIND_SAID in record.message] == [
        "WARNING"
    ]


@pytest.mark.slow
def test_what_is_typed_for_the_kind_goes_before_the_file(pack: str) -> None:
    for typed in ("dataset.task=multi-class", "dataset.label_kind=multi-class"):
        for chosen in ("dataset=grades", "dataset=whole_grades", "experiment=graded"):
            assert composed([pack, chosen, typed]).dataset.label_kind == "multi-class"


def test_the_present_name_of_the_kind_and_a_class_of_others_are_left_alone(
    pack: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert composed(["dataset=folder", "dataset.label_kind=multi-class"]).dataset.label_kind
    assert composed([pack, "dataset=theirs"]).dataset.task == "segmentation"
    assert composed([pack, "dataset=theirs", "dataset.task=boxes"]).dataset.task == "boxes"
    assert KIND_SAID not in caplog.text


def test_a_record_of_the_former_name_is_read_and_nothing_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    npz = {"_target_": "medrobust.datasets.Npz", "file": "a.npz", "task": "multi-class"}
    theirs = {"_target_": "ward.Images", "task": "boxes"}
    present = present_record({"dataset": {"members": [npz, theirs]}})["dataset"]["members"]
    assert present[0] == {"_target_": npz["_target_"], "file": "a.npz", "label_kind": "multi-class"}
    assert present[1] == theirs
    assert not caplog.records
