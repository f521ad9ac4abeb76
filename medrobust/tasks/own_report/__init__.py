"""How far an image lies from its own report: consistency of image and text, without labels."""

from .task import TASK, OwnReport

__all__ = ["TASK", "OwnReport"]
