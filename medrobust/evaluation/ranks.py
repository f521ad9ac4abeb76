"""Several processes that share the images of a cell: who takes which, and how they join."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed

from medrobust.engine.passes import Encoded
from medrobust.types import Int64Array, UInt8Array

PATIENCE = timedelta(days=1)
"""How long a process waits for the others, whose part of a cell may take hours."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """One of several processes; by default the only one.

    Whole micro-batches are dealt out in turn, so that each image has the same neighbours in its
    micro-batch as in one process, and features are bit-identical for any number of processes.

    Attributes:
        rank: Of this process; 0 decides, writes and reports.
        world: Number of processes.
        group: Of torch.distributed, over the CPU; None for one process.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    def rows(self, count: int, micro_batch: int, rank: int | None = None) -> Int64Array:
        """Return the rows of a split of `count` images that a process encodes, this one by default.

        Example:
            >>> [Ranks(0, 2).rows(7, 2, rank).tolist() for rank in range(2)]
            [[0, 1, 4, 5], [2, 3, 6]]
        """
        own = self.rank if rank is None else rank
        rows = np.arange(count, dtype=np.int64)
        mine: Int64Array = rows[rows // micro_batch % self.world == own]
        return mine

    def agree(self, encodings: Sequence[str]) -> list[str]:
        """Return the encodings that rank 0 gives, in every process."""
        told: list[Any] = [list(encodings)]
        if self.world > 1:
            distributed.broadcast_object_list(told, src=0, group=self.group)
        return list(told[0])

    def join(self, encoded: Encoded, count: int, micro_batch: int) -> Encoded | None:
        """Bring the parts of all processes together, in the order of the split.

        Args:
            encoded: Features and pictures of this process, by position in its own rows.
            count: Images of the split.
            micro_batch: Images a forward pass.

        Returns:
            The whole in rank 0, None in others.
        """
        if self.world == 1:
            return encoded
        parts: list[Any] | None = [None] * self.world if self.rank == 0 else None
        own = (encoded.features.cpu(), dict(encoded.shown))
        distributed.gather_object(own, parts, dst=0, group=self.group)
        if parts is None:
            return None
        rows = [self.rows(count, micro_batch, rank) for rank in range(self.world)]
        some = next(features for features, _ in parts if len(features))
        whole = some.new_empty(count, *some.shape[1:])
        shown: dict[int, UInt8Array] = {}
        for own_rows, (features, pictures) in zip(rows, parts, strict=True):
            if len(own_rows):
                whole[torch.from_numpy(own_rows)] = features
            shown |= _by_row(own_rows, pictures)
        return Encoded(whole, shown)


def _by_row(rows: Int64Array, pictures: Mapping[int, UInt8Array]) -> dict[int, UInt8Array]:
    return {int(rows[position]): picture for position, picture in pictures.items()}


ALONE = Ranks()
"""One process."""


def started_by_others() -> Any:
    """Return Lightning's view of the launcher that has started this process, or None."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    known = (TorchElasticEnvironment, SLURMEnvironment)
    found = next((environment() for environment in known if environment.detect()), None)
    return found if found is not None and found.world_size() > 1 else None
