"""Sweeps over the engines of Hydra: the same tables as one process, and a lost worker."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest
import torch
from run_entry import medrobust
from safetensors.torch import load_file

RUN = Path(__file__).parents[2] / "run.py"
SMALL = ("dataset.per_class=2", "corruption=pixelate")
LAUNCHERS = {
    "joblib": (),
    "submitit_local": (),
    "ray": ("hydra.launcher.ray.init.num_cpus=2",),
}


def command(launcher: str, *arguments: str) -> list[str]:
    return [sys.executable, str(RUN), "-m", f"hydra/launcher={launcher}", *arguments]


def cells(store: str) -> list[Path]:
    return sorted(Path(store).glob("cells/*/*/*/s*"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_in_processes_of_their_own_make_the_same_tables(workplace, launcher: str) -> None:
    if launcher == "ray" and not find_spec("hydra_plugins.hydra_ray_launcher"):
        pytest.skip("Hydra's plugin for Ray is not installed")
    sweep = ("model=phantomclip,phantomclip_small", "severity=1", *SMALL)
    assert medrobust("-m", *sweep, "store.dir=one", "hydra.sweep.dir=alone") == 0
    beside = (*LAUNCHERS[launcher], "store.dir=two", "hydra.sweep.dir=beside")
    subprocess.run(command(launcher, *sweep, *beside), check=True, capture_output=True)
    for name in ("results.csv", "summary.csv"):
        assert Path("alone", name).read_bytes() == Path("beside", name).read_bytes()


@pytest.mark.skipif(which("srun") is not None, reason="Slurm is here")
def test_slurm_where_there_is_none_is_said_in_a_sentence(workplace, capfd) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    assert medrobust("-m", "seed=0,1", "dry_run=true", "hydra/launcher=submitit_slurm") == 1
    assert "this machine has no srun: start it where Slurm is" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_a_killed_worker_loses_the_cells_in_flight_which_the_next_run_computes(workplace) -> None:
    models = "model=phantomclip,phantomclip_small"
    sweep = (models, "dataset.per_class=2", "corruption=medimeta_c", "severity=[1,5]")
    arguments = command("joblib", *sweep, "store.dir=two", "hydra.sweep.dir=cut")
    with Path("errors.txt").open("w") as errors:
        process = subprocess.Popen(arguments, stderr=errors)
        deadline = time.monotonic() + 240
        while len(cells("two")) < 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        assert process.wait() == 1
    last = Path("errors.txt").read_text().splitlines()[-1]
    assert last.startswith("error: a process that ran a job was lost")
    whole = 2 * 16  # clean, seven by two, clean validation
    finished = {path: path.stat().st_mtime_ns for path in cells("two")}
    assert 4 <= len(finished) < whole
    again = (*sweep, "store.dir=two", "hydra.sweep.dir=again")
    assert medrobust("-m", *again) == 0
    assert len(cells("two")) == whole
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert medrobust("-m", *sweep, "store.dir=one", "hydra.sweep.dir=alone") == 0
    assert Path("again/results.csv").read_bytes() == Path("alone/results.csv").read_bytes()


def workers(parent: int) -> list[int]:
    """Return the processes of joblib below a process."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(c) for c in children if b"popen_loky" in Path(f"/proc/{c}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_sweep_over_ddp_runs_each_job_in_its_own_processes_only(workplace) -> None:
    sweep = ("-m", "model=phantomclip_small", "dataset=phantoms_site_b", "severity=1", *SMALL)
    tuned = ("task=few_shot", "task.shots=1", "task.epochs=1", "adapter=lora", "adapter.dropout=0")
    seeds = "task.shot_seed=0,1"
    beside = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    two = [sys.executable, str(RUN), *sweep, *tuned, seeds, *beside, "hydra.sweep.dir=two"]
    done = subprocess.run([*two, "store.dir=two"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("job 0: ") == done.stderr.count("job 1: ") == 1
    assert len(list(Path("two").glob("*/plan.json"))) == 2
    adapters = sorted(path.name for path in Path("two/adapters").iterdir())
    assert len(adapters) == 2
    again = (*sweep, *tuned, seeds, "store.dir=two", "hydra.sweep.dir=again", "resume=true")
    assert medrobust(*again) == 0
    assert Path("again/results.csv").read_bytes() == Path("two/results.csv").read_bytes()


@pytest.mark.slow
def test_processes_of_torchrun_evaluate_together(workplace) -> None:
    chosen = ("model=phantomclip_small", "dataset=phantoms_site_b", "severity=1", *SMALL)
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    ddp = ("trainer=ddp", "trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    together = [sys.executable, "-m", *launch, str(RUN), *chosen, *ddp, "store.dir=two"]
    done = subprocess.run([*together, "hydra.run.dir=two/run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert medrobust(*chosen, "store.dir=one", "hydra.run.dir=one/run") == 0
    for name in ("results.csv", "summary.csv"):
        assert Path("one/run", name).read_bytes() == Path("two/run", name).read_bytes()


def machine_of_torchrun(number: int) -> tuple[list[str], dict[str, str]]:
    agent = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(number)]
    agent += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", "29611"]
    return agent, {}


def machine_of_slurm(number: int) -> tuple[list[str], dict[str, str]]:
    """The variables that Slurm sets for a task."""
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "medrobust", "SLURM_JOB_NODELIST": "localhost"}
    job |= {"SLURM_NODELIST": "localhost", "SLURM_NNODES": "2", "SLURM_NTASKS": "2"}
    task = {"SLURM_NODEID": str(number), "SLURM_PROCID": str(number), "SLURM_LOCALID": "0"}
    return [], job | task | {"SLURM_NTASKS_PER_NODE": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("machine", [machine_of_torchrun, machine_of_slurm])
def test_two_machines_tune_one_adapter_and_evaluate_it_together(workplace, machine) -> None:
    chosen = ("model=phantomclip_small", "dataset=phantoms_site_b", "severity=1", *SMALL)
    tuned = ("task=few_shot", "task.shots=1", "task.epochs=1", "adapter=lora", "adapter.dropout=0")
    ddp = ("trainer=ddp", "trainer.strategy=ddp", "trainer.devices=1", "trainer.num_nodes=2")
    where = ("trainer.accelerator=cpu", "store.dir=two", "hydra.run.dir=two/run")
    processes = []
    for number in (0, 1):
        launch, variables = machine(number)
        together = [sys.executable, *launch, str(RUN), *chosen, *tuned, *ddp, *where]
        processes.append(subprocess.Popen(together, env=os.environ | variables))
    assert [process.wait(300) for process in processes] == [0, 0]
    assert medrobust(*chosen, *tuned, "store.dir=one", "hydra.run.dir=one/run") == 0
    alone, beside = (
        load_file(next(Path(store).glob("adapters/*/adapter_model.safetensors")))
        for store in ("one", "two")
    )
    assert alone.keys() == beside.keys()
    for name, value in alone.items():
        torch.testing.assert_close(beside[name], value, rtol=0, atol=1e-5)
    one, two = (
        [line.rsplit(",", 1)[0] for line in Path(store, "run/results.csv").read_text().splitlines()]
        for store in ("one", "two")
    )
    assert [line for line in one if ",error," in line] == [
        line for line in two if ",error," in line
    ]
