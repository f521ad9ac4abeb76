"""Planned cells -> stored cells."""

from .encoder import quiet_lightning
from .encoding import Done
from .finished import read_cells
from .pictures import EXAMPLES
from .runner import CellRunner
from .writer import InOrder

__all__ = ["EXAMPLES", "CellRunner", "Done", "InOrder", "quiet_lightning", "read_cells"]
