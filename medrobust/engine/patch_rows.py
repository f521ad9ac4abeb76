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

    A reader that fails is asked no more, and the others go on.

    Args:
        readers: By name.

    Attributes:
        failed: Name of a reader -> what it raised.
    """

    def __init__(self, readers: Mapping[str, PatchReader]) -> None:
        self._readers = readers
        self.failed: dict[str, Exception] = {}
        self._kept: dict[str, list[Rows]] = {name: [] for name in readers}

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
                self._kept[name].append(_reduced(reader, features, patches))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self.failed[name] = error

    def joined(self) -> dict[str, Rows]:
        """Return what was kept of all images so far, on the CPU, in their order."""
        done = {name: parts for name, parts in self._kept.items() if name not in self.failed}
        return {name: _joined(parts) for name, parts in done.items() if parts}


def _reduced(reader: PatchReader, features: Tensor, patches: PatchFeatures) -> Rows:
    rows = reader.reduce(features, patches.of(reader.blocks))
    odd = {key: len(value) for key, value in rows.items() if len(value) != len(features)}
    if odd:
        raise MedRobustError(
            f"{type(reader).__name__}.reduce must keep one row for each of "
            f"{counted(len(features), 'image')}; it kept {odd}."
        )
    return rows


def _joined(parts: list[Rows]) -> Rows:
    return {key: torch.cat([part[key].cpu() for part in parts]) for key in parts[0]}
