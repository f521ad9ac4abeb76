"""Sizes of published towers whose repositories do not say them: facts of `architectures.json`."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from medrobust.exceptions import WeightsMismatchError, WeightsNotFoundError, unknown_name

from .settings import read_settings


@cache
def _facts() -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads(
        (files(__package__) / "architectures.json").read_text()
    )
    return content


def table(kind: str) -> dict[str, Any]:
    """Return all architectures of a kind ("vit", "bert", "whole", "tower"), name -> sizes."""
    return _facts()[kind]


def known(kind: str, name: str | None, source: str) -> dict[str, Any]:
    """Look a tower up that a configuration names.

    Args:
        kind: "vit" or "bert".
        name: As the configuration writes it.
        source: Where it was read, for the message.

    Raises:
        WeightsMismatchError: If its sizes are not known.
    """
    if name not in table(kind):
        raise WeightsMismatchError(
            f"{source} names the {kind} {name!r}, whose dimensions are not known. "
            f"There are: {', '.join(table(kind))}."
        )
    found: dict[str, Any] = table(kind)[name]
    return found


def _of_open_clip(name: str) -> dict[str, Any] | None:
    """Return what the library open_clip knows by that name (`ViT-B-32-quickgelu`), or None."""
    from open_clip import get_model_config

    found: dict[str, Any] | None = get_model_config(name)
    return found


def packaged(name: str) -> dict[str, Any]:
    """Return a whole architecture: by its name here or in open_clip, or from a JSON file.

    Raises:
        UnknownNameError: If there is no such name.
        WeightsNotFoundError: If there is no such file.
    """
    if not name.endswith(".json"):
        found: dict[str, Any] | None = table("whole").get(name) or _of_open_clip(name)
        if found is None:
            from open_clip import list_models

            raise unknown_name("model.config", name, (*table("whole"), *list_models()))
        return found
    return _of_file(name)


def tower(name: str) -> dict[str, Any]:
    """Return an image tower in the layout of timm: by its name here, or from a JSON file.

    Raises:
        UnknownNameError: If there is no such name.
        WeightsNotFoundError: If there is no such file.
    """
    if name.endswith(".json"):
        return _of_file(name)
    if name not in table("tower"):
        raise unknown_name("model.config", name, tuple(table("tower")))
    found: dict[str, Any] = table("tower")[name]
    return found


def _of_file(name: str) -> dict[str, Any]:
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsNotFoundError(f"model.config={name!r} is no file. Pass the path of one.")
    return read_settings(path)
