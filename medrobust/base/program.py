"""How a command of this package begins."""

from .conf_folder import conf_folder


def program() -> str:
    """Return `python run.py` in a checkout, which has that file, and `medrobust` elsewhere."""
    return "python run.py" if (conf_folder().parent / "run.py").is_file() else "medrobust"
