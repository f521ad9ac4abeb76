"""Segmentation: which pixels of an image show what."""

from .task import TASK, Segmentation

__all__ = ["TASK", "Segmentation"]
