"""Models that answer the same whatever they see: their task says so of the stored arrays."""

from collections.abc import Sequence

from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.tasks.lookup import task_of

from .measure import Measured

NAMED = 3
"""Cells that a sentence names."""


def collapse_notes(cells: Sequence[StoredCell], measured: Measured | None = None) -> list[str]:
    """Say which models give all images of a split the same answer.

    Returns:
        One sentence a model, data set and kind of collapse.
    """
    measured = measured or Measured()
    found: dict[tuple[str, str, str], list[str]] = {}
    seen: dict[tuple[str, str], int] = {}
    for cell in (one for one in cells if one.data.unit == "image"):
        spec = cell.spec
        model = spec.model if spec.adapter == "none" else f"{spec.model} + {spec.adapter}"
        row = (model, f"{spec.dataset}/{spec.split}")
        seen[row] = seen.get(row, 0) + 1
        kind = task_of(cell.task).collapsed(measured.cell(cell))
        if kind is not None:
            where = "clean" if spec.severity == 0 else f"{spec.corruption} s{spec.severity}"
            found.setdefault((*row, kind), []).append(where)
    return [
        f"{model} on {data}: {kind} for every image in {len(places)} of "
        f"{counted(seen[model, data], 'cell')} ({', '.join(places[:NAMED])}"
        f"{', ...' if len(places) > NAMED else ''}); check weights, preprocessing and class texts"
        for (model, data, kind), places in found.items()
    ]
