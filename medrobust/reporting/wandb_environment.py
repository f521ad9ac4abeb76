"""What is exported for Weights & Biases: refused before a run, where W&B would refuse it after."""

from collections.abc import Mapping
from pathlib import Path

from medrobust.exceptions import ConfigurationError

PREFIX = "WANDB_"


def check_exported(environment: Mapping[str, str]) -> None:
    """Refuse what W&B's settings refuse of the environment; they are asked for each variable.

    Args:
        environment: Names and values, as `os.environ`.

    Raises:
        ConfigurationError: Naming the variable and what W&B says of it.
    """
    exported = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    if not exported:
        return
    import wandb

    for name, value in exported.items():
        settings = wandb.Settings()
        try:
            settings.update_from_env_vars({name: value})
        except (ValueError, wandb.errors.UsageError) as error:
            raise _refused(name, _said(error)) from error
        for file in (settings.sweep_param_path, *(settings.config_paths or ())):
            if file and not Path(file).is_file():
                raise _refused(name, f"there is no file {file}")


def _said(error: Exception) -> str:
    """Return what a library says of a value, without its headings and addresses."""
    found: list[Mapping[str, object]] = getattr(error, "errors", list)()  # pydantic's, one a field
    return str(found[0]["msg"]).removeprefix("Value error, ") if found else str(error)


def _refused(name: str, why: str) -> ConfigurationError:
    """Name the variable, not its value: headers and addresses may hold a password."""
    return ConfigurationError(
        f"{name} is exported as W&B does not take it ({why.rstrip('.')}): correct it, unset it, or "
        f"log without W&B."
    )
