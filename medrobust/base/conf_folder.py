"""Where the configuration lies."""

from pathlib import Path

from medrobust.exceptions import ConfigurationError

BASE = "_"
"""Files whose names begin with it are what others are built on, and no options themselves."""


def option_files(folder: Path, group: str = "*/**") -> list[Path]:
    """Return the files of the options of a group, or of all groups, in the order of their paths.

    Args:
        folder: Of configuration.
        group: Folder below it.
    """
    files = sorted(folder.glob(f"{group}/*.yaml"))
    return [file for file in files if not file.name.startswith(BASE)]


def conf_folder() -> Path:
    """Return the folder of the configuration, in an installed wheel or in a checkout.

    Raises:
        ConfigurationError: If neither place has it.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigurationError(
        f"no conf/ beside {package}: this installation is incomplete, install medrobust again."
    )
