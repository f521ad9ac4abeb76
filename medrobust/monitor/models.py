"""What made features and scores: a name for people, and a fingerprint that must agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.reporting.measure import variant


@dataclass(frozen=True, slots=True)
class Model:
    """A model with all that decides its numbers.

    Attributes:
        name: For people; empty where an older monitor kept none, and where there is no model.
        fingerprint: Of weights, preprocessing and prompts; empty: nobody named a model.
    """

    name: str = ""
    fingerprint: str = ""

    def record(self) -> dict[str, str]:
        """Return what `monitor.json` keeps."""
        return {"model": self.fingerprint, "model_name": self.name}


UNNAMED = Model()
"""Stands where nobody named a model."""


def typed_model(name: str) -> Model:
    """Return the model of a table, as it is typed."""
    return Model(name, fingerprint(name)) if name else UNNAMED


def model_of(cell: StoredCell) -> Model:
    """Return what made a cell."""
    adapter = "" if cell.spec.adapter == "none" else cell.spec.adapter
    parts = (cell.spec.model, adapter, str(cell.head.get("name", "")))
    return Model(" ".join(part for part in parts if part), variant(cell))


def check_same(given: Model, record: Mapping[str, Any]) -> None:
    """Refuse studies of another model than that of the reference.

    Raises:
        ConfigurationError: If fingerprints differ; they are told where names do not tell.
    """
    fitted = Model(record.get("model_name", ""), record["model"])
    if given.fingerprint == fitted.fingerprint:
        return
    alike = given.name == fitted.name
    raise ConfigurationError(
        f"these studies come from {_named(given, alike)}, and the reference from "
        f"{_named(fitted, alike)}: numbers of two models or preprocessings do not compare. "
        f"Use that model, or fit a new monitor."
    )


def _named(model: Model, alike: bool) -> str:
    if not model.fingerprint:
        return "a model that is not named (--model)"
    short = model.fingerprint[:8]
    if not model.name:
        return f"a model whose name was not kept (fingerprint {short})"
    return f"model {model.name!r}" + (f" (fingerprint {short})" if alike else "")
