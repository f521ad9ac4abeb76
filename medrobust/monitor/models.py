"""What made features and scores: a name for people, a fingerprint and a reading that must agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.reporting.measure import variant

READING = ("size", "fit", "bit_depth", "window", "frame")
"""Keys of a data set that say how a file becomes the image that a model is shown."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model with all that decides its numbers.

    Attributes:
        name: For people; empty where an older monitor kept none, and where there is no model.
        fingerprint: Of weights, preprocessing and prompts; empty: nobody named a model.
        reading: Key of the data set -> value, as far as it is known how images were read.
    """

    name: str = ""
    fingerprint: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what `monitor.json` keeps."""
        found = {"model": self.fingerprint, "model_name": self.name}
        return found | ({"reading": dict(self.reading)} if self.reading else {})


UNNAMED = Model()
"""Stands where nobody named a model."""


def typed_model(name: str) -> Model:
    """Return the model of a table, as it is typed."""
    return Model(name, fingerprint(name)) if name else UNNAMED


def model_of(cell: StoredCell) -> Model:
    """Return what made a cell."""
    adapter = "" if cell.spec.adapter == "none" else cell.spec.adapter
    parts = (cell.spec.model, adapter, str(cell.head.get("name", "")))
    dataset = (cell.record.get("config") or {}).get("dataset") or {}
    reading = {key: dataset[key] for key in READING if key in dataset}
    return Model(" ".join(part for part in parts if part), variant(cell), reading)


def check_same(given: Model, record: Mapping[str, Any]) -> None:
    """Refuse studies of another model than that of the reference, or read in another way.

    Raises:
        ConfigurationError: If fingerprints differ; they are told where names do not tell. Or if a
            key of the reading does, of those that both know.
    """
    fitted = Model(record.get("model_name", ""), record["model"], record.get("reading", {}))
    if given.fingerprint == fitted.fingerprint:
        _check_reading(given.reading, fitted.reading)
        return
    alike = given.name == fitted.name
    raise ConfigurationError(
        f"these studies come from {_named(given, alike)}, and the reference from "
        f"{_named(fitted, alike)}: numbers of two models or preprocessings do not compare. "
        f"Use that model, or fit a new monitor."
    )


def _check_reading(given: Mapping[str, Any], fitted: Mapping[str, Any]) -> None:
    for key in READING:
        if key in given and key in fitted and given[key] != fitted[key]:
            raise ConfigurationError(
                f"these images were read with dataset.{key}={given[key]}, and those of the "
                f"reference with dataset.{key}={fitted[key]}: the model saw other pictures, and "
                f"its numbers do not compare. Read them as those, or fit a new monitor."
            )


def _named(model: Model, alike: bool) -> str:
    if not model.fingerprint:
        return "a model that is not named (--model)"
    short = model.fingerprint[:8]
    if not model.name:
        return f"a model whose name was not kept (fingerprint {short})"
    return f"model {model.name!r}" + (f" (fingerprint {short})" if alike else "")
