"""Retrieval: which report belongs to an image, and which image to a report."""

from .task import TASK, Retrieval

__all__ = ["TASK", "Retrieval"]
