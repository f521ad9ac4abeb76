"""Cells that hold measures of images, and by what they are found beside cells of answers."""

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import StoredCell
from medrobust.tasks.lookup import task_of

MEASURES = "measures"
"""Array of such a cell, one column a measure, and the key of its head that names them."""


def of_images(cell: StoredCell) -> bool:
    """Say whether a cell measures images alone: no model has judged them."""
    return not task_of(cell.task).of_models and "images" in cell.record["encoding"]


def images_of(cell: StoredCell) -> str:
    """Fingerprint what decides the images that a cell saw."""
    encoding = cell.record["encoding"]
    return fingerprint([encoding.get(p) for p in ("data", "corruption", "seed", "stream")])
