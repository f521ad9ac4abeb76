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


def encoding_of(cell: StoredCell) -> str:
    """Fingerprint what decides the features of an image of a set, whatever is asked of them.

    A set that is read with its texts has another fingerprint than with its labels; images are then
    the same by their ids.
    """
    encoding = {key: part for key, part in cell.record["encoding"].items() if key != "data"}
    return fingerprint([cell.spec.dataset, cell.spec.split, encoding])
