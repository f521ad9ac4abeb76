"""What shells, accounts and launchers export changes nothing and raises nothing."""

import getpass
import logging
import os
import signal
import tempfile
from pathlib import Path

import pytest
from run_entry import answer, rows

from medrobust.cli import surroundings, unforeseen
from medrobust.cli.entry import leave
from medrobust.exceptions import ConfigurationError

JOB = (
    *("model=phantomclip_small", "dataset=phantoms", "dataset.per_class=1", "corruption=clean"),
    *("validation=false", "audit=false"),
)
SLURM = {
    "SLURM_JOB_ID": "31", "SLURM_JOB_NAME": "night", "SLURM_NTASKS": "4", "SLURM_NNODES": "2",
    "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NODELIST": "n[1-2]",
}  # fmt: skip
LEFT = {
    "sbatch or salloc": SLURM,
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "3", "GROUP_RANK": "0",
        "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1",
    },
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1",
               "PMI_SIZE": "2", "RANK": "1"},
    "jsrun": {"LSB_JOBID": "5", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_SIZE": "2",
              "JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_LOCAL_RANK": "1"},
    "kubeflow": {"KUBERNETES_PORT": "x", "MASTER_ADDR": "m", "MASTER_PORT": "1",
                 "WORLD_SIZE": "2", "RANK": "1"},
    "no numbers": {"RANK": "", "SLURM_PROCID": "x", "WORLD_SIZE": "two", "SLURM_NTASKS": ""},
}  # fmt: skip
TUNED = ("sbatch or salloc", "torchrun")
"""Launchers that Lightning looks for when it trains."""


@pytest.mark.every_nth(4)
@pytest.mark.parametrize(
    ("launcher", "task"),
    [
        *((launcher, "zero_shot") for launcher in LEFT),
        *((launcher, "few_shot") for launcher in TUNED),
        *(pytest.param(n, "few_shot", marks=pytest.mark.slow) for n in LEFT if n not in TUNED),
    ],
)
def test_one_device_ignores_what_a_launcher_has_left(
    workplace: Path, monkeypatch, launcher: str, task: str
) -> None:
    for name, value in LEFT[launcher].items():
        monkeypatch.setenv(name, value)
    tuned = ("task=few_shot", "task.shots=1", "task.epochs=1", "adapter=norm", "prompts=phantoms")
    done = answer(*JOB, *(tuned if task == "few_shot" else ()), "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {row["adapter"] for row in rows("run/results.csv")} != set()


def test_several_processes_that_slurm_starts_wrongly_are_one_sentence(
    workplace: Path, monkeypatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    ddp = ("trainer=ddp", "trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    done = answer(*JOB, *ddp)
    assert done.returncode == 1
    assert "--ntasks-per-node" in done.stderr
    assert len([line for line in done.stderr.splitlines() if "error" in line]) == 1


def test_figures_need_no_backend_and_no_settings_of_the_user(workplace: Path, monkeypatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://of_a_notebook.backend")
    monkeypatch.setenv("MATPLOTLIBRC", "broken")
    with pytest.raises(SystemExit) as done:
        leave(lambda: 0)
    assert done.value.code == 0
    assert os.environ["MPLBACKEND"] == "agg"
    from matplotlib import matplotlib_fname

    assert matplotlib_fname() == os.devnull


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_a_scheduler_stop_as_by_hand(monkeypatch, capsys, number) -> None:
    def job() -> int:
        child = os.fork()
        if child == 0:  # a helper ends as its owner expects, without a word
            signal.raise_signal(number)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number
        signal.raise_signal(number)
        return 0

    before = signal.getsignal(number)
    signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as done:
            leave(job)
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # nohup
        with pytest.raises(SystemExit) as ignored:
            leave(lambda: signal.raise_signal(number) or 0)
    finally:
        signal.signal(number, before)
    assert (done.value.code, ignored.value.code) == (130, 0)
    assert capsys.readouterr().err.startswith("error: stopped; finished cells are kept")


def test_an_account_without_home_and_name_gets_both(monkeypatch) -> None:
    import pwd

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("LOGNAME", "")
    monkeypatch.setenv("WANDB_MODE", "")
    surroundings.prepare()
    assert "WANDB_MODE" not in os.environ
    assert Path.home() == Path(tempfile.gettempdir())
    assert getpass.getuser() == f"user-{os.getuid()}"


@pytest.mark.parametrize("place", ["/nowhere", "file", "/proc"])
def test_a_tmpdir_that_cannot_be_used_is_left_for_another(
    tmp_path: Path, monkeypatch, place: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", place)
    monkeypatch.setattr(tempfile, "tempdir", None)
    surroundings.prepare()
    assert "TMPDIR" not in os.environ or place == "/proc"
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).exists()


def test_no_folder_for_temporary_files_at_all_is_one_sentence(monkeypatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(ConfigurationError, match="TMPDIR=FOLDER"):
        surroundings.prepare()


def test_what_nobody_foresaw_is_one_sentence_and_a_file(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)

    def fails() -> int:
        raise TypeError("two\nlines")

    with pytest.raises(SystemExit) as done:
        leave(fails)
    assert done.value.code == 1
    said = capsys.readouterr().err
    assert said == (
        "error: something that was not foreseen (TypeError: two lines). The whole of it is in "
        "outputs/traceback.txt.\n"
    )
    assert "in fails" in Path("outputs/traceback.txt").read_text()


@pytest.mark.parametrize("number", [28, 122])
def test_a_disk_that_is_full_is_called_so(tmp_path: Path, monkeypatch, capsys, number: int) -> None:
    def fails() -> int:
        raise OSError(number, os.strerror(number))

    with pytest.raises(SystemExit) as done:
        leave(fails)
    assert done.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the disk is full")
    assert len(said.splitlines()) == 1


def test_a_disk_that_is_full_while_hydra_writes_in_a_sweep_is_one_sentence(
    workplace: Path, monkeypatch
) -> None:
    from hydra.core import utils

    written = []
    write = utils._save_config

    def second_fails(*arguments: object) -> None:
        written.append(arguments)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(utils, "_save_config", second_fails)
    done = answer("-m", *JOB, "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_job_that_breaks_leaves_its_traceback_in_its_folder(workplace: Path, monkeypatch) -> None:
    from medrobust.jobs import run

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of a part")

    monkeypatch.setattr(run, "check_licenses", broken)
    done = answer(*JOB, "hydra.run.dir=run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "ZeroDivisionError: of a part" in done.stderr
    assert "in broken" in Path("run/traceback.txt").read_text()
    swept = answer("-m", *JOB, "seed=0,1", "hydra.sweep.dir=sweep")
    assert swept.returncode == 1
    assert "Traceback" not in swept.stderr + swept.stdout
    assert len(list(Path("sweep").glob("*/traceback.txt"))) == 2


def test_a_run_that_is_refused_before_it_has_written_anything_leaves_no_folder(
    workplace: Path,
) -> None:
    refused = ("dataset=folder", "dataset.csv=nowhere.csv")
    assert answer(*refused).returncode == 1
    assert list(Path("outputs/runs").iterdir()) == []
    assert answer(*refused, "hydra.run.dir=mine").returncode == 1
    assert Path("mine/.hydra/overrides.yaml").is_file()


def test_a_home_that_is_not_there_is_replaced_and_one_that_is_stays(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    surroundings.prepare()
    assert Path.home() == Path(tempfile.gettempdir())
    monkeypatch.setenv("HOME", str(tmp_path))
    surroundings.prepare()
    assert Path.home() == tmp_path


def test_a_current_folder_that_is_gone_is_said(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="current folder is no longer there"):
        surroundings.prepare()


@pytest.mark.parametrize("name", surroundings.ALLOCATOR)
@pytest.mark.parametrize("value", ["nonsense", ":", "max_split_size_mb", "a:1,,b:2", "a:", "a:1,b"])
def test_what_torch_would_end_the_process_for_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}={value} is no list of NAME:VALUE"):
        surroundings.check_allocator({name: value})


@pytest.mark.parametrize(
    "value",
    ["", " ", "max_split_size_mb: 64", "a:0.8,b:True,", "roundup:[256:1,512:2,>:8],backend:native"],
)
def test_settings_of_torchs_memory_pass(value: str) -> None:
    surroundings.check_allocator({"PYTORCH_CUDA_ALLOC_CONF": value})


@pytest.mark.parametrize("own", ["frobnicate.py", "frobnicate/__init__.py"])
def test_a_file_that_hides_a_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text("x = 1")
    monkeypatch.setattr(surroundings, "LIBRARIES", ("frobnicate",))
    surroundings.check_hidden(tmp_path)  # nothing is looked for there
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=f"^{own} in the current folder .* frobnicate: re"):
        surroundings.check_hidden(tmp_path)


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 3 GiB"), ImportError(f"libtorch.so: {unforeseen.UNMAPPED}")],
)
def test_too_little_memory_is_said_with_what_limits_it(tmp_path: Path, error: Exception) -> None:
    told = unforeseen.not_foreseen(error, tmp_path)
    assert told.startswith(f"there is not enough memory ({error})")
    assert "ulimit -v" in told
    assert not list(tmp_path.iterdir())


ODD = {
    "SOURCE_DATE_EPOCH": ("abc", "1700000000"),
    "TORCH_DISTRIBUTED_DEBUG": ("abc", "detail"),
    "TORCHINDUCTOR_COMPILE_THREADS": ("abc", "4"),
    "COMPILE_STROBELIGHT_SAMPLE_RATE": ("", "1000"),
    "NUMPY_MADVISE_HUGEPAGE": ("yes", "0"),
    "NUMBA_DEBUG": ("abc", "1"),
    "NUMBA_OPT": ("4", "max"),
    "NUMBA_CPU_FEATURES": ("abc", "+avx2,-fma"),
    "NUMBA_THREADING_LAYER": ("abc", "workqueue"),
    "NUMBA_THREADING_LAYER_PRIORITY": ("tbb omp", "omp tbb workqueue"),
    "NUMBA_FORCE_CUDA_CC": ("abc", "8.6"),
    "OPENCV_IO_MAX_IMAGE_PIXELS": ("abc", "64MB"),
    "OPENCV_BUFFER_AREA_ALWAYS_SAFE": ("maybe", "True"),
    "TIMM_FUSED_ATTN": ("on", "1"),
    "MPLCONFIGDIR": ("/proc/x", "made/by/matplotlib"),
    "TORCHINDUCTOR_CACHE_DIR": ("/proc/x", ""),
}
"""Name -> what a library cannot take, and what it can."""


@pytest.mark.parametrize("name", ODD)
def test_a_variable_that_a_library_cannot_take_is_set_aside_and_said(
    workplace: Path, monkeypatch, capsys, name: str
) -> None:
    odd, good = ODD[name]
    monkeypatch.setenv(name, odd)
    surroundings.prepare()
    assert name not in os.environ
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {name}={odd}, ")
    assert line.endswith(" is set aside")
    monkeypatch.setenv(name, good)
    surroundings.prepare()
    assert os.environ[name] == good
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("exported", "quiet"),
    [
        ({"HOME": "/proc"}, True),
        ({"XDG_CACHE_HOME": "/proc/x"}, True),
        ({"HOME": "/proc", "MPLCONFIGDIR": "mine"}, False),
        ({}, False),
    ],
)
def test_an_account_that_keeps_no_settings_hears_nothing_of_matplotlib(
    workplace: Path, monkeypatch, exported: dict[str, str], quiet: bool
) -> None:
    logger = logging.getLogger("matplotlib")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": str(workplace)} | exported).items():
        monkeypatch.setenv(name, value)
    surroundings.prepare()
    assert (logger.level == logging.ERROR) is quiet


def test_a_job_runs_among_odd_variables(workplace: Path, monkeypatch) -> None:
    for name, (odd, _) in ODD.items():
        monkeypatch.setenv(name, odd)
    done = answer(*JOB, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_below_an_exported_folder_is_told_with_its_variable(monkeypatch) -> None:
    monkeypatch.setenv("FROBNICATE_CACHE", "/of/caches/")
    error = PermissionError(13, "Permission denied", "/of/caches/deep/file")
    assert unforeseen.about_files(error) == (
        "cannot write or read /of/caches/deep/file (Permission denied). The variable "
        "FROBNICATE_CACHE leads there: unset it, or let it name a folder that can be written."
    )
    error = PermissionError(13, "Permission denied", "/of/caches2/fi\nle")
    assert unforeseen.about_files(error).startswith(
        "cannot write or read /of/caches2/fi\\nle (Permission denied). Point hydra.run.dir"
    )


def test_signs_of_interpolation_in_the_path_of_the_folder_or_a_value_are_one_sentence(
    workplace: Path, monkeypatch
) -> None:
    done = answer(*JOB, "store.dir=${x}", "hydra.run.dir=run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: store.dir: Interpolation key 'x' not ")
    assert "not foreseen" not in done.stderr
    for name in ("${x}", "${oc.env:HOME}", "${"):
        Path(name).mkdir()
        monkeypatch.chdir(name)
        done = answer(*JOB)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the path of the current folder, ")
        assert not list(Path().iterdir())
        monkeypatch.chdir("..")


def test_the_cause_of_a_part_that_cannot_be_built_is_said() -> None:
    from omegaconf import OmegaConf

    from medrobust.evaluation.building import built

    config = OmegaConf.create({"trainer": {"_target_": "unittest.mock.nowhere.Trainer"}})
    with pytest.raises(ConfigurationError, match=r"trainer cannot be built .*No module named"):
        built(config, "trainer")
