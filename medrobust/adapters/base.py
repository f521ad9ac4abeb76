"""The contract of an adapter: how a model is changed before it is evaluated."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn


class Adapter(Protocol):
    """What a file in conf/adapter builds."""

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    def description(self) -> dict[str, Any]:
        """Plain values that decide what the adapter does: part of every cell's fingerprint."""
        ...

    def attach(self, model: nn.Module) -> nn.Module:
        """Return the adapted model; the model given may be changed."""
        ...


@dataclass(frozen=True, slots=True)
class NoAdapter:
    """The model as it was published."""

    name: str = "none"

    def description(self) -> dict[str, Any]:
        """Nothing that decides anything."""
        return {}

    def attach(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model
