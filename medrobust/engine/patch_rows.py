"""What patch readers keep of the images of a pass, while the patch features themselves go."""

from collections.abc import Mapping

import torch
from torch import Tensor

from medrobust.base.wording import counted
from medrobust.exceptions import MedRobustError
from medrobust.models.encoding import PatchWatch
from medrobust.models.patches import PatchFeatures

from .passes import PatchReader, Rows


class PatchRows:
    """Hands each micro-batch to all readers of a pass and keeps what they make of it.

    Args:
        readers: By name.
    """

    def __init__(self, readers: Mapping[str, PatchReader]) -> None:
        self._readers = readers
        self._kept: dict[str, list[Rows]] = {name: [] for name in readers}

    @property
    def watch(self) -> PatchWatch | None:
        """What a `MicroBatcher` is to read for them; None without readers."""
        blocks = sorted({block for one in self._readers.values() for block in one.blocks})
        return PatchWatch(blocks, self._take) if self._readers else None

    def _take(self, features: Tensor, patches: PatchFeatures) -> None:
        for name, reader in self._readers.items():
            rows = reader.reduce(features, patches.of(reader.blocks))
            odd = {key: len(value) for key, value in rows.items() if len(value) != len(features)}
            if odd:
                raise MedRobustError(
                    f"{type(reader).__name__}.reduce must keep one row for each of "
                    f"{counted(len(features), 'image')}; it kept {odd}."
                )
            self._kept[name].append(rows)

    def joined(self) -> dict[str, Rows]:
        """Return what was kept of all images so far, on the CPU, in their order."""
        return {name: _joined(parts) for name, parts in self._kept.items() if parts}


def _joined(parts: list[Rows]) -> Rows:
    return {key: torch.cat([part[key].cpu() for part in parts]) for key in parts[0]}
