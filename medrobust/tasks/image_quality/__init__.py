"""What images are worth without a model: measures of their quality, one row of every matrix."""

from .task import TASK as TASK
