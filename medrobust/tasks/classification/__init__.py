"""Classification: which class, or which labels, a model sees in an image."""

from collections.abc import Mapping

from medrobust.tasks.base import ArraySpec, Level


class Classification:
    """One logit for each image and class, or label."""

    kind = "classification"
    level: Level = "image"
    arrays: Mapping[str, ArraySpec] = {"logits": ArraySpec("float32", ("image", "class"))}


TASK = Classification()
