"""Planned cells -> stored cells."""

from .encoding import Done
from .finished import read_cells
from .pictures import rows_to_show
from .runner import CellRunner
from .writer import InOrder

__all__ = ["CellRunner", "Done", "InOrder", "read_cells", "rows_to_show"]
