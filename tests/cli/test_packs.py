"""Configuration folders of others: what would run code is refused before Hydra reads it."""

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from medrobust.cli import entry as cli
from medrobust.cli.packs import check_packs
from medrobust.exceptions import ConfigurationError

OWN = "_target_: medrobust.adapters.Lora\nrank: 4\n"


def pack(folder: Path, text: str, name: str = "adapter/theirs.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        "_target_: torch.optim.AdamW\nlr: 0.1\n",
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n",
        "# Described\n",
        "a: &b [1, 2]\nc: *b\n",
    ],
)
def test_what_a_configuration_needs_is_allowed(tmp_path: Path, text: str) -> None:
    check_packs([pack(tmp_path, text)])


@pytest.mark.every_nth(5)
@pytest.mark.parametrize(
    "text",
    [
        "_target_: os.system\ncommand: 'true'\n",
        "_target_: medrobust.jobs.run.os.system\n",
        "_target_: medrobust.models.loading.torch.load\n",
        "_target_: ${x}\nx: os.system\n",
        "x: {y: [{_target_: subprocess.run}]}\n",
        "_target_: [os.system]\n",
        'x: ${oc.create:"{_target_: os.system}"}\n',
        "x: !!python/object/apply:os.system ['true']\n",
        "# @package hydra.callbacks\nx: 1\n",
        "# @package _global_\nhydra:\n  job:\n    env_set: {LD_PRELOAD: x}\n",
        "# @package _global_\nhydra:\n  searchpath: [file://x]\n",
        "# @package _global_\nhydra:\n  sweeper:\n    max_batch_size: 1\n",
        "defaults:\n  - other@hydra.job: x\n",
        "a: &a [*a]\n",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{k}: &{k} [{','.join([f'*{before}'] * 10)}]\n"
            for before, k in zip("abcd", "bcde", strict=True)
        ),
        "[" * 1200,
        "- a\n- b\n",
        "x: \x00",
    ],
)
def test_what_could_run_code_or_fill_the_memory_is_refused_by_name(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigurationError, match="theirs"):
        check_packs([pack(tmp_path, text)])


def test_options_of_hydra_itself_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="changes Hydra itself"):
        check_packs([pack(tmp_path, "x: 1\n", "hydra/launcher/theirs.yaml")])


def test_a_package_is_trusted_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pack(tmp_path, "_target_: mine.models.Net\n")
    with pytest.raises(ConfigurationError, match="MEDROBUST_TRUST=package"):
        check_packs([folder])
    monkeypatch.setenv("MEDROBUST_TRUST", "other, mine")
    check_packs([folder])
    with pytest.raises(ConfigurationError, match=r"minecraft\.Net"):
        check_packs([pack(tmp_path, "_target_: minecraft.Net\n", "adapter/theirs2.yaml")])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: ${oc.env:SECRET}\n", "name"),
        ("name: 'a ${ oc.env : SECRET, none } b'\n", "name"),
        ("name: ${oc.select:model.name,${oc.env:SECRET}}\n", "name"),
        ("x: {y: [a, {z: '${oc.env:SECRET}'}]}\n", r"x\.y\[1\]\.z"),
        ("name: \\${oc.env:SECRET}\n", "name"),
        ('name: "\\x24{oc.env:SECRET}"\n', "name"),
        ("a: oc.env\nname: ${${a}:SECRET}\n", "name"),
        ("a: oc.en\nname: ${${.a}v:SECRET}\n", "name"),
        ("'${oc.env:SECRET}': 1\n", r"\$\{oc"),
        ("defaults:\n  - /model: ${oc.env:SECRET}\n", r"defaults\[0\]\./model"),
        ("name: ${hydra:runtime.cwd}\n", "name"),
        ("name: ${hydra:job.env_set}\n", "name"),
        ("name: ${python_version:}\n", "name"),
        ("name: ${their.resolver:x}\n", "name"),
        ("templates: ['a {} of ${dataset.csv}']\n", r"templates\[0\]"),
        ("name: ${hydra.runtime.cwd}\n", "name"),
        ("name: ${hydra:job.override_dirname}\n", "name"),
        ("name: ${...dataset[csv]}\n", "name"),
        ("name: ${oc.select:model.local_dir,none}\n", "name"),
        ("name: 'a ${oc.dict.values:dataset}'\n", "name"),
        ("name: 'a ${dataset}'\n", "name"),
        ("x: csv\nname: ${dataset.${.x}}\n", "name"),
        ("x: sv\nname: ${dataset.c${.x}}\n", "name"),
        ("x: dataset.csv\nname: ${${.x}}\n", "name"),
        ("x: dataset.csv\nname: ${oc.select:${.x},none}\n", "name"),
        ("name: \\${dataset.csv}\n", "name"),
        ("root: x\n'${.root}': 1\n", r"\$\{\.root"),
    ],
)
def test_what_would_read_the_machine_is_refused_by_file_and_key(
    tmp_path: Path, text: str, place: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"theirs\.yaml has .* at {place}"):
        check_packs([pack(tmp_path, text)])


@pytest.mark.parametrize(
    "text",
    [
        "name: ${model.name}_${.rank}\n",
        "name: ${oc.select:model.name,none}\n",
        "name: ${model.${x}.name}\n",
        "name: ${hydra:job.num} ${hydra:runtime.choices.model}\n",
        "root: data\ncsv: ${.root}/labels.csv\n",
        "name: ${oc.select:model.name,${.rank}}\n",
        "# @package _global_\nhydra:\n  sweep:\n    subdir: ${hydra:job.override_dirname}\n",
        "# @package _global_\nhydra:\n  run:\n    dir: out/${now:%Y-%m-%d}\n",
    ],
)
def test_what_reads_keys_alone_is_allowed(tmp_path: Path, text: str) -> None:
    check_packs([pack(tmp_path, text)])


def test_a_variable_is_named_by_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pack(tmp_path, "a: ${oc.env:DATA}\nb: '${oc.env:DATA,x}'\n")
    with pytest.raises(ConfigurationError, match=r"as MEDROBUST_TRUST=oc\.env:DATA in"):
        check_packs([folder])
    monkeypatch.setenv("MEDROBUST_TRUST", "mine, oc.env:DATA")
    check_packs([folder])
    with pytest.raises(ConfigurationError, match="SECRET"):
        check_packs([pack(tmp_path, "a: ${oc.env:SECRET}\n")])
    with pytest.raises(ConfigurationError, match="at a"):
        check_packs([pack(tmp_path, "a: ${oc.env:${b}}\nb: SECRET\n")])


def test_files_behind_links_are_read_too(tmp_path: Path) -> None:
    outside = pack(tmp_path / "outside", OWN.replace("medrobust.adapters.Lora", "os.system"))
    folder = pack(tmp_path / "pack", OWN, "adapter/ours.yaml")
    (folder / "model").symlink_to(outside / "adapter")
    (folder / "again").symlink_to(folder)
    with pytest.raises(ConfigurationError, match=r"theirs\.yaml names _target_"):
        check_packs([folder])
    (folder / "model").unlink()
    check_packs([folder])
    (folder / "hydra").symlink_to(folder / "adapter")
    with pytest.raises(ConfigurationError, match="changes Hydra itself"):
        check_packs([folder])


def test_the_entry_refuses_such_a_folder_before_anything_runs(
    workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = workplace / "canary"
    call = f"x: {{_target_: os.mkdir, path: {canary}}}"
    text = f"# @package _global_\nhydra:\n  callbacks:\n    {call}\n"
    pack(workplace / "theirs", text, "experiment/theirs.yaml")
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(["--config-dir", "theirs", "experiment=theirs", "dry_run=true"])
    assert done.value.code == 1
    assert "sets hydra.callbacks" in capfd.readouterr().err
    assert not canary.exists()
