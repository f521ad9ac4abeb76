"""What an account, a shell or a launcher has exported, made harmless before libraries read it."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from medrobust.exceptions import ConfigurationError

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Keeps libraries from reporting to their makers; who wants that sets the variable otherwise."""

OURS = {"MPLBACKEND": "agg", "HYDRA_FULL_ERROR": "1"}
"""Not for users to choose: figures are files, and what went wrong is said by us."""

NUMBERS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_PORT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"),
    *("SLURM_NNODES", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"),
)
"""Variables that libraries read as whole numbers, some of them while they are imported."""


def prepare() -> None:
    """Set what must be set before libraries are imported.

    Raises:
        ConfigurationError: If the current folder is gone, or none for temporary files can be
            written.
    """
    _be_somewhere()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(OURS)
    for name in not_numbers(os.environ):
        del os.environ[name]
    _have_a_home()
    _have_a_name()
    _have_temporary_files()


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


def _be_somewhere() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the current folder is no longer there: it was deleted or moved. Change to one that is "
            "(cd), and run the same command again."
        ) from error


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
