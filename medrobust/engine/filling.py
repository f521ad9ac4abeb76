"""One tensor over the images of a pass, filled as they come."""

from torch import Tensor

from medrobust.exceptions import MedRobustError


class Filling:
    """Takes rows of images part by part, in their order, into memory that is asked for once.

    Pieces of memory that stay, one a micro-batch, would keep the large ones between them from being
    used again: what a pass needs would grow with its images.

    Args:
        count: Images of the pass.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._rows: Tensor | None = None
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def add(self, part: Tensor) -> None:
        """Take the next rows, (m, ...), all parts on one device.

        Raises:
            MedRobustError: If they are of another shape or type than those before, or too many.
        """
        if self._rows is None:
            self._rows = part.new_empty(self._count, *part.shape[1:])
        end = self._filled + len(part)
        rows = self._rows[self._filled : end]
        if rows.shape != part.shape or rows.dtype != part.dtype:
            raise MedRobustError(
                f"rows {tuple(part.shape)} of {part.dtype} follow {self._filled} of "
                f"{self._count} rows {tuple(self._rows.shape[1:])} of {self._rows.dtype}: a pass "
                f"needs one shape and type."
            )
        rows.copy_(part)
        self._filled = end

    def rows(self) -> Tensor:
        """Return all rows so far, (n, ...).

        Raises:
            MedRobustError: If there are none.
        """
        if self._rows is None:
            raise MedRobustError("no rows of this pass were kept: this is an error of ours.")
        return self._rows[: self._filled]
