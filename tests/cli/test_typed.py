"""What people type: rewriting, near misses, help."""

import pytest

from medrobust.base.conf_folder import conf_folder
from medrobust.cli import typed as arguments
from medrobust.exceptions import ConfigurationError, MissingDependencyError, UnknownNameError

KNOWN = arguments.groups([conf_folder()])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["severity=3"], ["severity=s3"]),
        (["severity=3.0"], ["severity=s3"]),
        (["-m", "severity=1.0,3."], ["-m", "severity=s1,s3"]),
        (["severity=[1.0,3]"], ["severity=all", "severity.levels=[1,3]"]),
        (["adapter.prior=.inf"], ["adapter.prior=inf"]),
        (["-m", "adapter.prior=16,.inf"], ["-m", "adapter.prior=16,inf"]),
        (["adapter.online=[{prior: .inf, steps: 0}]"], ["adapter.online=[{prior: inf, steps: 0}]"]),
        (["dataset.csv=a.inf", "name='.inf'"], ["dataset.csv=a.inf", "name='.inf'"]),
        (["severity=s3"], ["severity=s3"]),
        (["severity=all"], ["severity=all"]),
        (["severity=1,3,5"], ["severity=all", "severity.levels=[1,3,5]"]),
        (["severity=[1,3,5]"], ["severity=all", "severity.levels=[1,3,5]"]),
        (["severity=[1, 3]"], ["severity=all", "severity.levels=[1,3]"]),
        (["severity=[2]"], ["severity=all", "severity.levels=[2]"]),
        (["severity=range(1,4)"], ["severity=all", "severity.levels=[1,2,3]"]),
        (["-m", "severity=1,3,5"], ["-m", "severity=s1,s3,s5"]),
        (["severity=1,3", "--multirun"], ["--multirun", "severity=s1,s3"]),
        (["seed=1", "-m", "severity=1,3"], ["-m", "seed=1", "severity=s1,s3"]),
        (["-m", "severity=range(1,6)"], ["-m", "severity=s1,s2,s3,s4,s5"]),
        (["-m", "severity=range(1,6,2)"], ["-m", "severity=s1,s3,s5"]),
        (["-m", "severity=s1,all"], ["-m", "severity=s1,all"]),
        (["-m", "severity=[1,5]"], ["-m", "severity=all", "severity.levels=[1,5]"]),
        (["severity.levels=[1,2]"], ["severity.levels=[1,2]"]),
        (
            ["severity=2.5"],
            ["severity=between", "severity.levels=[3]", "severity.equalise.at=2.5"],
        ),
        (
            ["-m", "severity=0.25"],
            ["-m", "severity=between", "severity.levels=[1]", "severity.equalise.at=0.25"],
        ),
        (["model=biomedclip"], ["model=biomedclip"]),
        (["model.adapter=a/b"], ["adapter=path", "adapter.path=a/b"]),
        (["hydra/launcher=joblib"], ["hydra/launcher=medrobust_joblib"]),
        (["hydra/launcher=basic"], ["hydra/launcher=basic"]),
        (["-m", "prompts=a,b"], ["-m", "prompts=a,b", "store.features=true"]),
        (["-m", "prompts=a"], ["-m", "prompts=a"]),
        (["prompts=a"], ["prompts=a"]),
        (["prompts=a,b"], ["prompts=a", "+prompts@further_prompts.b=b"]),
        (
            ["prompts=[a, b-2, c]"],
            ["prompts=a", "+prompts@further_prompts.b_2=b-2", "+prompts@further_prompts.c=c"],
        ),
        (["-m", "prompts=[a,b]"], ["-m", "prompts=a", "+prompts@further_prompts.b=b"]),
        (["-m", "prompts=glob(*)"], ["-m", "prompts=glob(*)"]),
        (
            ["-m", "prompts=a,b", "store.features=false"],
            ["-m", "prompts=a,b", "store.features=false"],
        ),
        (
            ["model=a,b", "--config-dir", "my mine", "severity=3", "-m"],
            ["-m", "--config-dir=my mine", "model=a,b", "severity=s3"],
        ),
        (["model=a", "-cd=mine"], ["--config-dir=mine", "model=a"]),
    ],
)
def test_what_is_typed_is_rewritten_for_hydra(given: list[str], expected: list[str]) -> None:
    assert arguments.rewrite(given) == expected


@pytest.mark.parametrize("given", [["model=a", "--config-dir"], ["--config-dir=", "model=a"]])
def test_a_flag_without_its_folder_is_a_sentence(given: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--config-dir needs a folder"):
        arguments.rewrite(given)


def test_a_launcher_whose_plugin_is_missing_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'medrobust\[ray\]'"):
        arguments.rewrite(["-m", "hydra/launcher=ray"])


@pytest.mark.parametrize(
    "typed",
    ["severity=6", "severity=0", "severity=-1", "severity=1,6", "severity=5.5", "severity=1,2.5"],
)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_severity_outside_one_to_five_is_refused(typed: str, flags: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="severity"):
        arguments.rewrite([*flags, typed])


@pytest.mark.parametrize("typed", ["severity=s1,s3", "severity=[s1,s3]", "severity=[all]"])
def test_a_list_of_option_names_is_refused_without_multirun(typed: str) -> None:
    with pytest.raises(ConfigurationError, match="severity=1,3,5"):
        arguments.rewrite([typed])


@pytest.mark.parametrize("typed", ["prompts=a,", "prompts=a,b,b", "prompts=[]"])
def test_a_list_of_prompt_sets_names_each_once(typed: str) -> None:
    with pytest.raises(ConfigurationError, match="each once"):
        arguments.rewrite([typed])


@pytest.mark.parametrize("typed", ["prompts=clip,papr", "prompts=papr,clip"])
def test_a_mistyped_prompt_set_names_the_nearest_wherever_it_stands(typed: str) -> None:
    known = arguments.groups([conf_folder()])
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        arguments.check_options(arguments.rewrite([typed]), known)


def test_an_unknown_option_names_the_nearest() -> None:
    known = arguments.groups([conf_folder()])
    with pytest.raises(UnknownNameError, match="Did you mean 'zero_shot'"):
        arguments.check_options(["task=zeroshot"], known)


@pytest.mark.parametrize(
    ("suite", "option"),
    [
        ("medfm_robust_mri", "medfm_robust"),
        ("bloodmnist", "medimeta_c"),
        ("overlays", "medimeta_c"),
        ("ward/mine.yaml", "medimeta_c"),
    ],
)
def test_a_suite_without_an_option_says_how_it_is_chosen(suite: str, option: str) -> None:
    known = arguments.groups([conf_folder()])
    how = f"write corruption={option} corruption.suite={suite}"
    with pytest.raises(ConfigurationError, match=how):
        arguments.check_options([f"corruption={suite}"], known)
    with pytest.raises(UnknownNameError, match="Did you mean 'mri_physics'"):
        arguments.check_options(["corruption=mri_physic"], known)
    arguments.check_options([f"corruption={option}", f"corruption.suite={suite}"], known)


def test_several_options_without_multirun_ask_for_m() -> None:
    known = {"model": {"a": "", "b": ""}}
    with pytest.raises(ConfigurationError, match="add -m"):
        arguments.check_options(["model=a,b"], known)
    arguments.check_options(["-m", "model=a,b"], known)


@pytest.mark.parametrize("flags", [[], ["-m"]])
@pytest.mark.parametrize("group", ["corruption", "model", "dataset", "tuning", "adapter", "speed"])
def test_a_bracketed_list_of_options_is_refused_and_the_sweep_is_named(
    group: str, flags: list[str]
) -> None:
    first, second, *_ = sorted(KNOWN[group])
    typed = [*flags, f"{group}=[{first}, {second}]"]
    with pytest.raises(ConfigurationError) as refused:
        arguments.check_options(arguments.rewrite(typed), KNOWN)
    assert str(refused.value) == (
        f"{typed[-1]}: a list in brackets would run only the last one. "
        f"Write {group}={first},{second} and -m."
    )


def test_lists_that_have_a_meaning_stay_legal() -> None:
    typed = ["severity=[1,3]", "prompts=[paper,clip]", "corruption=[brightness]"]
    typed += ["experiment=[demonstration,adapter_bakeoff]", "dataset.class_names=[a,b]"]
    for flags in ([], ["-m"]):
        arguments.check_options(arguments.rewrite([*flags, *typed]), KNOWN)


def test_hydra_syntax_and_plain_keys_are_left_to_hydra() -> None:
    known = {"model": {"a": ""}}
    arguments.check_options(
        ["model='a'", "model=glob(*)", "model=null", "seed=3", "+model.x=1", "~model"], known
    )


def test_a_group_of_an_own_config_dir_is_known(tmp_path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("# My data\nname: mine\n")
    dirs = arguments.config_dirs(["--config-dir", str(tmp_path), "dataset=mine"])
    assert dirs == [tmp_path]
    known = arguments.groups([*dirs, conf_folder()])
    assert known["dataset"]["mine"] == "My data"
    arguments.check_options(["dataset=mine"], known)


def test_a_plain_word_is_a_subcommand_and_a_flag_value_is_not() -> None:
    assert arguments.subcommand(["verify", "outputs/store"]) == "verify"
    assert arguments.subcommand(["--config-dir", "conf2"]) is None
    assert arguments.subcommand(["seed=1"]) is None


def test_help_lists_every_option_of_every_group_with_its_headline() -> None:
    text = arguments.help_text([conf_folder()], {"report": "a report"})
    for group, options in arguments.groups([conf_folder()]).items():
        assert group == "local" or f"\n{group}=\n" in text
        for option, headline in options.items():
            assert headline, f"conf/{group}/{option}.yaml must begin with a comment line"
            assert headline in text
    for key in ("seed=0", "batch_size=", "store.dir=", "reference=", "resume=true"):
        assert key in text


def test_former_names_of_tuning_are_taken() -> None:
    typed = ["task=few_shot", "task.shots=4", "+task.corrupt.columns=[]", "task.kind=retrieval"]
    rewritten = ["tuning=few_shot", "tuning.shots=4", "+tuning.corrupt.columns=[]"]
    assert arguments.rewrite(typed) == [*rewritten, "task.kind=retrieval"]
    assert arguments.rewrite(["-m", "task=zero_shot,few_shot"]) == ["-m", "tuning=none,few_shot"]
    assert arguments.rewrite(["task=classification"]) == ["task=classification"]


def test_run_wide_keys_alone_leave_the_default_job_as_it_is() -> None:
    assert arguments.with_default_job([]) == ["experiment=demonstration"]
    for chosen in (["model=phantomclip"], ["dataset.per_class=1"], ["-m"], ["hydra.mode=RUN"]):
        assert arguments.with_default_job([*chosen, "seed=1"]) == [*chosen, "seed=1"]


def test_the_folder_of_a_run_is_that_of_the_default_job() -> None:
    default = "experiment=demonstration"
    for typed in ("hydra.run.dir=x", "hydra.sweep.dir=x"):
        found = arguments.with_default_job([typed, "seed=1"])
        assert found == [default, "hydra.sweep.dir=x", "seed=1"]
    for typed in ("hydra.job.chdir=true", "hydra.verbose=true"):
        assert arguments.with_default_job([typed]) == [default, typed]
    alone = ["hydra.run.dir=x", "model=phantomclip"]
    assert arguments.with_default_job(alone) == alone
    swept = ["hydra.sweeper.params.seed='1,2'"]
    assert arguments.with_default_job(swept) == swept
