"""What an account, a shell or a launcher has exported, made harmless before libraries read it."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from medrobust.base.program import check_current_folder
from medrobust.exceptions import ConfigurationError

from .odd_variables import keeps_settings, lost_caches, odd_variables

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Keeps libraries from reporting to their makers; who wants that sets the variable otherwise."""

OURS = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull, "HYDRA_FULL_ERROR": "1"}
"""Not for users to choose: figures are files of one look, and what went wrong is said by us."""

NUMBERS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_PORT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"),
    *("SLURM_NNODES", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"),
)
"""Variables that libraries read as whole numbers, some of them while they are imported."""

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""Variables that end the process while torch is imported, if they are no lists of NAME:VALUE."""

SETTING = r"\s*\w+\s*:\s*(?:\[[^\]]*\]|[^,\[\]]*[^,\[\]\s])\s*"

LIBRARIES = ("cv2", "hydra", "matplotlib", "numba", "numpy", "omegaconf", "pandas", "PIL", "scipy",
             "sklearn", "torch", "transformers", "wandb", "yaml")  # fmt: skip
"""What is imported by name, and may be hidden by a file of one's own of that name."""


def prepare() -> None:
    """Set what must be set before libraries are imported.

    Raises:
        ConfigurationError: If the current folder is gone or holds a file that hides a library, none
            for temporary files can be written, or a variable would end the process.
    """
    check_current_folder()
    check_hidden(Path.cwd())
    check_allocator(os.environ)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(OURS)
    for name in not_numbers(os.environ) + empty_of_wandb(os.environ):
        del os.environ[name]
    _set_aside()
    _have_a_home()
    _have_a_name()
    _have_temporary_files()
    if not keeps_settings(os.environ):  # matplotlib would complain, and take a temporary folder
        logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _set_aside() -> None:
    """Forget variables that libraries cannot take, and say so: a line each."""
    odd = {name: f"which is not {what}" for name, what in odd_variables(os.environ).items()}
    odd |= dict.fromkeys(lost_caches(os.environ), "where no folder can be made or written")
    for name, why in odd.items():
        given = "".join(c if c.isprintable() else "?" for c in os.environ.pop(name))
        sys.stderr.write(f"warning: {name}={given[:80]}, {why}, is set aside\n")


def not_numbers(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that should hold a number and do not.

    Example:
        >>> not_numbers({"RANK": "", "LOCAL_RANK": "0", "OMP_NUM_THREADS": "4,2"})
        ['RANK']
        >>> not_numbers({"NUMBA_NUM_THREADS": "0"})
        ['NUMBA_NUM_THREADS']
    """

    def is_one(name: str, text: str) -> bool:
        least = 1 if name.endswith("THREADS") else 0
        return text.isdecimal() and int(text) >= least

    return [
        name
        for name in NUMBERS
        if name in environment
        and not all(is_one(name, part.strip()) for part in environment[name].split(","))
    ]


def empty_of_wandb(environment: Mapping[str, str]) -> list[str]:
    """Return the variables of W&B that hold nothing: it would take that for a wrong value."""
    return [name for name in environment if name.startswith("WANDB_") and not environment[name]]


def check_allocator(environment: Mapping[str, str]) -> None:
    """Refuse what torch would end the process for without a word.

    Raises:
        ConfigurationError: Naming the variable.
    """
    for name in ALLOCATOR:
        given = environment.get(name, "")
        if given.strip() and not re.fullmatch(f",?{SETTING}(?:,{SETTING})*,?", given.strip()):
            raise ConfigurationError(
                f"{name}={given} is no list of NAME:VALUE, as max_split_size_mb:512, and torch "
                f"would end the process for it. Unset it, or correct it."
            )


def check_hidden(folder: Path) -> None:
    """Refuse a file or folder of one's own that would be imported in place of a library.

    Args:
        folder: The current one.

    Raises:
        ConfigurationError: Naming the file.
    """
    for name in LIBRARIES:
        if not ((folder / f"{name}.py").exists() or (folder / name).is_dir()):
            continue
        spec = None if name in sys.modules else find_spec(name)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        for own in (folder / f"{name}.py", folder / name / "__init__.py"):
            if origin == own.resolve():
                raise ConfigurationError(
                    f"{own.relative_to(folder)} in the current folder would be imported in place "
                    f"of the library {name}: rename it, or run the command in another folder."
                )


def _have_a_home() -> None:
    """Give an account whose home folder is not there that of temporary files, for caches."""
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry of the user
        home = None
    if home is None or not home.is_dir():
        os.environ["HOME"] = _temporary_folder()


def _have_a_name() -> None:
    """Give an account without a name one: torch and W&B ask for it."""
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # KeyError before Python 3.13
        os.environ["LOGNAME"] = f"user-{os.getuid()}"


def _have_temporary_files() -> None:
    """Forget a TMPDIR that cannot be used, and say so where nothing else can."""
    given = os.environ.get("TMPDIR")
    if given is not None and not (Path(given).is_dir() and os.access(given, os.W_OK | os.X_OK)):
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
    _temporary_folder()


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "no folder for temporary files can be written: neither that of TMPDIR nor /tmp, nor "
            "the current one. Export TMPDIR=FOLDER."
        ) from error
