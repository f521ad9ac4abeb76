"""Old packages in environments of their own, with the exact versions that they need."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "outputs" / "benchmarks"
"""Where environments and images lie; git ignores it."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class MissingError(Exception):
    """An environment cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class Package:
    """A published package and what it needs.

    Attributes:
        name: As pip knows it.
        version: The one that is measured.
        python: "MAJOR.MINOR" that its requirements still run on.
        requirements: Exact versions.
        without_dependencies: Installed last, so that they change no version.
    """

    name: str
    version: str
    python: str
    requirements: tuple[str, ...]
    without_dependencies: tuple[str, ...]


IMAGECORRUPTIONS = Package(
    name="imagecorruptions",
    version="1.1.2",
    python="3.10",
    requirements=(
        "numpy==1.23.5", "scikit-image==0.19.3", "opencv-python-headless==4.8.1.78",
        "setuptools==69.5.1", "scipy<1.11", "numba<0.59", "pillow",
    ),
    without_dependencies=("imagecorruptions==1.1.2",),
)  # fmt: skip
MEDMNISTC = Package(
    name="medmnistc",
    version="0.1.0",
    python="3.11",
    requirements=(
        "numpy==1.26.4", "scikit-image==0.23.2", "opencv-python-headless==4.10.0.84",
        "wand==0.6.13", "scipy<1.14", "pillow", "tqdm", "scikit-learn", "pandas", "torch==2.6.0",
        "torchvision==0.21.0",
    ),
    without_dependencies=("medmnistc==0.1.0", "medmnist==3.0.1"),
)  # fmt: skip
"""Its motion blur needs ImageMagick 6 too, which pip cannot install."""


def one_thread_libraries() -> None:
    """Keep libraries that start threads of their own to one; set before they are imported.

    Where a benchmark asks torch for more, its threads sleep while they wait, as in a run.
    """
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def find_python(version: str) -> str:
    """Find an interpreter that runs: on the path, or among pyenv's.

    Raises:
        MissingError: If there is none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which(f"python{version}")]
    candidates += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    raise MissingError(
        f"Python {version} not found on the path or in {pyenv}. Install it, or put it on the path."
    )


def environment(package: Package) -> str:
    """Build the environment of a package, or find it built; return its interpreter.

    Raises:
        MissingError: If its Python is missing or pip fails.
    """
    folder = ROOT / f"{package.name}-{package.version}"
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(package.requirements + package.without_dependencies)
    if ready.is_file() and ready.read_text() == wanted:
        return str(python)
    print(f"Building an environment for {package.name} {package.version} in {folder} ..")
    subprocess.run([find_python(package.python), "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for more in (package.requirements, ("--no-deps", *package.without_dependencies)):
        done = subprocess.run([*pip, *more], capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1]
            raise MissingError(f"pip cannot install {package.name}'s requirements: {reason}")
    ready.write_text(wanted)
    return str(python)
