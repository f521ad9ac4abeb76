"""What is exported for Weights & Biases: refused before a run, where W&B would refuse it after."""

import netrc
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from medrobust.exceptions import ConfigurationError

PREFIX = "WANDB_"
API_KEY = "WANDB_API_KEY"
TAKEN = {"WANDB_ERROR_REPORTING": ("false",), "WANDB_MODE": ("online", "offline", "disabled")}
"""Values that W&B is known to take, the one that medrobust exports among them: it is not asked."""

LEAST_KEY = 40
"""Characters of a key, behind the prefix of a server of one's own."""


def account_mode() -> Literal["online", "offline"] | None:
    """Return None where WANDB_MODE decides, else "online" with an account and "offline" without."""
    if os.environ.get("WANDB_MODE"):
        return None
    return "online" if os.environ.get(API_KEY) or _in_netrc() else "offline"


def _in_netrc() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    given = os.environ.get("NETRC")
    places = [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for place in places:
        try:
            if netrc.netrc(str(place)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def check_exported(environment: Mapping[str, str], mode: str | None = None) -> None:
    """Refuse what W&B refuses of the environment: its settings are asked for each variable.

    Args:
        environment: Names and values, as `os.environ`.
        mode: "online", "offline", or None for what is exported. Only online a key is read.

    Raises:
        ConfigurationError: Naming the variable and what W&B says of it.
    """
    key = environment.get(API_KEY, "")
    if key and (mode or environment.get("WANDB_MODE") or "online") == "online":
        _check_key(key)
    exported = {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value not in TAKEN.get(name, ())
    }
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


def check_project(project: str, environment: Mapping[str, str]) -> None:
    """Refuse a name of a project that W&B does not take, and runs online without an account.

    Args:
        project: As it is typed.
        environment: Names and values, as `os.environ`.

    Raises:
        ConfigurationError: With what W&B says of it.
    """
    import wandb

    known = environment.get(API_KEY) or environment.get("WANDB_IDENTITY_TOKEN_FILE")
    if environment.get("WANDB_MODE") == "online" and not (known or _in_netrc()):
        raise ConfigurationError(
            "WANDB_MODE is online, and no account is known here: run `wandb login`, export "
            "WANDB_API_KEY, or unset WANDB_MODE to keep runs offline."
        )

    try:
        wandb.Settings(project=project)
    except (ValueError, wandb.errors.UsageError) as error:
        raise ConfigurationError(f"--wandb {project!r}: {_said(error).rstrip('.')}.") from error


def _check_key(key: str) -> None:
    """Refuse a key as W&B does before it asks its server; web tokens of three parts pass."""
    secret = key.partition("-")[2] or key
    if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", key):
        return
    if not re.fullmatch(r"[\w-]+", secret):
        raise _refused(API_KEY, "it may hold letters, digits and underscores alone")
    if len(secret) < LEAST_KEY:
        raise _refused(API_KEY, f"it needs {LEAST_KEY} characters or more, and has {len(secret)}")


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
