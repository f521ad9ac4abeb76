"""How a command of this package begins."""

from pathlib import Path

from medrobust.exceptions import ConfigurationError

from .conf_folder import conf_folder


def program() -> str:
    """Return `python run.py` in the folder of a checkout, which has that file; else `medrobust`."""
    here = Path.cwd() == conf_folder().parent and Path("run.py").is_file()
    return "python run.py" if here else "medrobust"


def check_current_folder() -> None:
    """Refuse to work in a folder that was deleted or moved: whatever is relative leads nowhere.

    Raises:
        ConfigurationError: If it is no longer there.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the current folder is no longer there: it was deleted or moved. Change to one that is "
            "(cd), and run the same command again."
        ) from error
