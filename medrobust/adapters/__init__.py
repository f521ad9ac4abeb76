"""How a model is changed before it is evaluated."""

from medrobust.adapters.base import Adapter, NoAdapter

__all__ = ["Adapter", "NoAdapter"]
