"""Anomaly: whether an image is normal, and where it is not."""

from .task import TASK, Anomaly

__all__ = ["TASK", "Anomaly"]
