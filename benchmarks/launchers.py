"""Workers against speed-up for each launcher of a sweep, and whether the tables are the same.

    python -m benchmarks launchers [--jobs N] [--images N] [--write]

The sweep is one job a corruption, all severities, phantomclip, each time from the command to the
joint table, in a fresh process on a fresh store. "One process" is the sweep without a launcher.
submitit_local starts all jobs at once, so that its workers are the jobs. Launchers that are not
installed are left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.main_job import RUN, free_threads
from benchmarks.setting import publish

CORRUPTIONS = (
    "gaussian_noise", "motion_blur", "zoom_blur", "impulse_noise", "brightness", "contrast",
    "pixelate", "defocus_blur",
)  # fmt: skip
TABLES = ("results.csv", "summary.csv")
ALONE = "one process"


@dataclass(frozen=True)
class Setting:
    """A way to run the sweep.

    Attributes:
        launcher: Its name.
        workers: Jobs at a time.
        typed: What is added to the command.
        plugin: Module that must be installed.
    """

    launcher: str
    workers: int
    typed: tuple[str, ...] = ()
    plugin: str | None = None

    @property
    def installed(self) -> bool:
        """Say whether it can run here."""
        return self.plugin is None or find_spec(f"hydra_plugins.{self.plugin}") is not None

    def command(self, jobs: int, images: int) -> list[str]:
        """Return the sweep as it is typed."""
        return [
            "-m", "model=phantomclip", f"corruption={','.join(CORRUPTIONS[:jobs])}",
            "severity=all", f"dataset.limit={images}", "hydra.sweep.dir=sweep", *self.typed,
        ]  # fmt: skip


def settings(jobs: int) -> list[Setting]:
    """Return every way, the sweep in one process first."""
    ways = [Setting(ALONE, 1)]
    for workers in (1, 2):
        typed = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}")
        ways.append(Setting("joblib", workers, typed, "hydra_joblib_launcher"))
    typed = ("hydra/launcher=submitit_local",)
    ways.append(Setting("submitit_local", jobs, typed, "hydra_submitit_launcher"))
    for workers in (1, 2):
        typed = ("hydra/launcher=ray", f"hydra.launcher.ray.init.num_cpus={workers}")
        ways.append(Setting("ray", workers, typed, "hydra_ray_launcher"))
    return [way for way in ways if way.installed]


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit with 1 if a table differs from that of one process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks launchers")
    parser.add_argument("--jobs", type=int, default=4, help=f"at most {len(CORRUPTIONS)}")
    parser.add_argument("--images", type=int, default=420)
    parser.add_argument("--only", nargs="*", default=[], help="launchers beside one process")
    parser.add_argument("--write", action="store_true", help="to docs/performance/launchers.md")
    options = parser.parse_args(arguments)
    jobs = min(options.jobs, len(CORRUPTIONS))
    lines, first, different = [], 0.0, 0
    expected: list[bytes] = []
    for way in settings(jobs):
        if options.only and way.launcher not in (ALONE, *options.only):
            continue
        seconds, tables, threads = timed(way.command(jobs, options.images))
        first, expected = first or seconds, expected or tables
        different += tables != expected
        same = "the same" if tables == expected else "**another**"
        lines.append(
            f"| {way.launcher} | {way.workers} | {threads} | {seconds:.1f} | "
            f"{first / seconds:.2f} | {same} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)  # what is known if it is stopped
    text = "\n".join(
        [
            f"{jobs} jobs of six cells of {options.images} images, and the clean ones.\n",
            "| launcher | workers | threads of a job | seconds | speed-up | tables |",
            "|--|--:|--:|--:|--:|--|",
            *lines,
        ]
    )
    publish("Workers against speed-up", "launchers", text, write=options.write)
    return int(different > 0)


def timed(typed: Sequence[str]) -> tuple[float, list[bytes], int]:
    """Run a sweep; return its seconds, its joint tables and the threads that a job had."""
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(RUN), *typed],
            cwd=place,
            capture_output=True,
            text=True,
            env=free_threads() | {"PYTHONPATH": str(RUN.parent)},
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{' '.join(typed)} failed: {done.stderr[-500:]}")
        sweep = Path(place, "sweep")
        (device, *_) = {json.loads(path.read_text())["device"] for path in sweep.glob("*/run.json")}
        return (
            seconds,
            [(sweep / name).read_bytes() for name in TABLES],
            int(device.split(",")[1].split()[0]),
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
