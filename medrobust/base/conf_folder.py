"""Where the configuration lies."""

from pathlib import Path

from medrobust.exceptions import ConfigurationError


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
