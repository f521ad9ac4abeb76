"""What stored cells say further, without a model: one file a reading."""

from .aggregation import Aggregation

__all__ = ["Aggregation"]
