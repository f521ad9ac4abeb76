"""What patch readers keep of the images of a pass, while the patch features themselves go."""

from collections.abc import Mapping

import torch
from torch import Tensor

from medrobust.base.wording import counted
from medrobust.exceptions import MedRobustError
from medrobust.models.encoding import PatchWatch
from medrobust.models.patches import PatchFeatures

from .filling import Filling
from .passes import PatchReader, Rows


class PatchRows:
    """Hands each micro-batch to all readers of a pass and keeps what they make of it.

    A reader that fails is asked no more, and the others go on.

    Args:
        readers: By name.
        count: Images of the pass.

    Attributes:
        failed: Name of a reader -> what it raised.
    """

    def __init__(self, readers: Mapping[str, PatchReader], count: int) -> None:
        self._readers, self._count = readers, count
        self.failed: dict[str, Exception] = {}
        self._kept: dict[str, dict[str, Filling]] = {name: {} for name in readers}

    @property
    def watch(self) -> PatchWatch | None:
        """What a `MicroBatcher` is to read for them; None without readers."""
        blocks = sorted({block for one in self._readers.values() for block in one.blocks})
        return PatchWatch(blocks, self._take) if self._readers else None

    def _take(self, features: Tensor, patches: PatchFeatures) -> None:
        for name, reader in self._readers.items():
            if name in self.failed:
                continue
            try:
                self._keep(self._kept[name], _reduced(reader, features, patches))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self.failed[name] = error

    def _keep(self, kept: dict[str, Filling], rows: Rows) -> None:
        if not kept:
            kept.update((key, Filling(self._count)) for key in rows)
        for key, filling in kept.items():
            filling.add(rows[key])

    def joined(self) -> dict[str, Rows]:
        """Return what was kept of all images so far, on the CPU, in their order."""
        return {
            name: {key: filling.rows().cpu() for key, filling in kept.items()}
            for name, kept in self._kept.items()
            if kept and name not in self.failed
        }


def _reduced(reader: PatchReader, features: Tensor, patches: PatchFeatures) -> Rows:
    rows = reader.reduce(features, patches.of(reader.blocks))
    odd = {key: len(value) for key, value in rows.items() if len(value) != len(features)}
    if odd:
        raise MedRobustError(
            f"{type(reader).__name__}.reduce must keep one row for each of "
            f"{counted(len(features), 'image')}; it kept {odd}."
        )
    return rows
