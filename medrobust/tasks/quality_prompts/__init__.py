"""Quality prompts: what a model's own sentences say of the quality of an image."""

from .task import TASK, QualityPrompts

__all__ = ["TASK", "QualityPrompts"]
