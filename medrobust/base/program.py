"""How a command of this package begins."""

from pathlib import Path

from .conf_folder import conf_folder


def program() -> str:
    """Return `python run.py` in the folder of a checkout, which has that file; else `medrobust`."""
    here = Path.cwd() == conf_folder().parent and Path("run.py").is_file()
    return "python run.py" if here else "medrobust"
