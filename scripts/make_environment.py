"""Make a virtual environment with the locked versions: `python3 scripts/make_environment.py .venv`.

A second argument names another list of versions than requirements.lock.

Runs on a bare Python. The first Python from 3.11 to 3.13 that is found does it: the one that runs
this script if it fits, else `python3.11`, `python3.12`, `python3.13` on the path.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent


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
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check"]
    for what in (["-r", wanted], ["--no-deps", "-e", str(ROOT)]):
        done = subprocess.run([*pip, "-q", *what], check=False)
        if done.returncode:
            sys.exit(
                "the environment could not be made: pip's message above says which package. "
                "A company mirror is set in pip's own configuration "
                "(pip config set global.index-url)."
            )


if __name__ == "__main__":
    main()
