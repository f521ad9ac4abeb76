"""What a task is tuned by, in the place of a head."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


class TuningHead:
    """Holds an objective; no cell is made with it.

    Args:
        module: A `medrobust.tuning.objective.Objective`.
    """

    def __init__(self, module: "nn.Module") -> None:
        self.module = module

    def outputs(self, features: Any) -> Mapping[str, NDArray[Any]]:
        """Refuse: cells are made by other heads.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("this head is for tuning")
