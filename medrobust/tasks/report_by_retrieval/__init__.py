"""The report of the best match in a corpus as the answer to an image."""

from .task import TASK, ReportByRetrieval

__all__ = ["TASK", "ReportByRetrieval"]
