"""Classification: which class, or which labels, a model sees in an image."""

from .task import TASK as TASK
