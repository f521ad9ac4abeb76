"""Make a virtual environment with the locked versions: `python3 scripts/make_environment.py .venv`.

A second argument names another list of versions than requirements.lock.

Runs on a bare Python. The first Python from 3.11 to 3.13 that is found does it: the one that runs
this script if it fits, else `python3.11`, `python3.12`, `python3.13` on the path.
"""

import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
SIZE = "7 GB"
EVERY = 5.0
"""Seconds between two lines."""

BEGINS = ("Collecting ", "Processing ", "Obtaining ", "Requirement already satisfied")
"""How pip begins a package: "Processing" where it comes from a file that is there."""


def suitable_python() -> str:
    """Return a Python that medrobust runs on, or leave with a sentence."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        found = shutil.which(f"python3.{minor}")
        if found and _answers(found):
            return found
    sys.exit(
        f"medrobust needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}. "
        f"Install one, or name it: make PYTHON=/path/to/python3.12 install"
    )


def _answers(python: str, *module: str) -> bool:
    command = [python, *module, "--version"]
    found = shutil.which(python) is not None
    return found and subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Make the environment, or hand over to a Python that can."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python3 scripts/make_environment.py FOLDER [REQUIREMENTS]")
    python = suitable_python()
    if python != sys.executable:
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode)
    folder = Path(sys.argv[1])
    wanted = sys.argv[2] if len(sys.argv) == 3 else str(ROOT / "requirements.lock")
    inside = str(folder / "bin" / "python")
    if not _answers(inside, "-m", "pip"):
        venv.create(folder, with_pip=True, clear=True)
    print(f"Making {folder}, once: several minutes, up to {SIZE} of disk.", flush=True)
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    for what in (["-r", wanted], ["--no-deps", "-e", str(ROOT)]):
        if install([*pip, *what], packages=_listed(wanted) if "-r" in what else 1):
            sys.exit(
                "the environment could not be made: pip's message above says which package. "
                "A company mirror is set in pip's own configuration "
                "(pip config set global.index-url)."
            )


def _listed(requirements: str) -> int:
    """Count the packages of a list of versions."""
    lines = Path(requirements).read_text(encoding="utf-8").splitlines()
    return sum(line[:1].isalnum() for line in lines)


def _told(line: str) -> str:
    """Shorten a line of pip: no requirement that asked for it, no folder of a file."""
    words = line.split(" (from", 1)[0].strip()
    return f"Processing {Path(words).name}" if words.startswith("Processing ") else words


def install(pip: Sequence[str], packages: int) -> int:
    """Run pip, say in a line now and then how far it is, and return its status.

    Warnings are gathered: pip repeats some for every package. After an error all it said is shown.
    """
    started = said = time.monotonic()
    output, begun, warnings = [], 0, 0
    with subprocess.Popen(pip, stdout=PIPE, stderr=STDOUT, text=True, errors="replace") as command:
        assert command.stdout is not None
        for line in command.stdout:
            output.append(line)
            begun += line.startswith(BEGINS)
            if line.startswith("WARNING:"):
                warnings += 1
                continue
            last = line.startswith("Installing collected packages")
            if last or time.monotonic() - said > EVERY:
                said = time.monotonic()
                doing = "installing all of them" if last else _told(line)
                count = f"{min(begun, packages)} of {packages}"
                print(f"  {said - started:4.0f} s  {count}: {doing[:60]}", flush=True)
    status = command.returncode
    if status:
        sys.stdout.write("".join(line for line in output if not line.startswith("WARNING:")))
    if warnings:
        several = "s" if warnings > 1 else ""
        print(
            f"  pip gave {warnings} warning{several}; `pip check` and `pip config debug` say more."
        )
    print(f"  {time.monotonic() - started:4.0f} s  {'failed' if status else 'done'}", flush=True)
    return status


if __name__ == "__main__":
    main()
