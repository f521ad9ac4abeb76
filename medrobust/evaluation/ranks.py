"""Several processes that share the images of a cell: who takes which, and how they join."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, distributed

from medrobust.base.reasons import reason_of
from medrobust.engine.passes import Encoded
from medrobust.exceptions import ConfigurationError
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
        own = (encoded.features.cpu(), dict(encoded.shown), encoded.rows)
        distributed.gather_object(own, parts, dst=0, group=self.group)
        if parts is None:
            return None
        rows = [self.rows(count, micro_batch, rank) for rank in range(self.world)]
        shown: dict[int, UInt8Array] = {}
        for own_rows, (_, pictures, _) in zip(rows, parts, strict=True):
            shown |= _by_row(own_rows, pictures)
        features = _whole(rows, [features for features, _, _ in parts], count)
        kept = [of_readers for _, _, of_readers in parts]
        whole = {
            name: {
                key: _whole(rows, [one[name][key] if one else None for one in kept], count)
                for key in of_reader
            }
            for name, of_reader in encoded.rows.items()
        }
        return Encoded(features, shown, whole)


def _whole(rows: Sequence[Int64Array], parts: Sequence[Tensor | None], count: int) -> Tensor:
    """Put the parts of all processes, each by its own rows, into the order of the split."""
    some = next(part for part in parts if part is not None and len(part))
    whole = some.new_empty(count, *some.shape[1:])
    for own_rows, part in zip(rows, parts, strict=True):
        if part is not None and len(own_rows):
            whole[torch.from_numpy(own_rows)] = part
    return whole


def _by_row(rows: Int64Array, pictures: Mapping[int, UInt8Array]) -> dict[int, UInt8Array]:
    return {int(rows[position]): picture for position, picture in pictures.items()}


ALONE = Ranks()
"""One process."""


class OneProcess(LightningEnvironment):
    """A process that computes by itself, whatever a launcher has exported around it.

    Lightning would take the tasks of a Slurm allocation, or a rank that was left in the shell, for
    processes that it has to meet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)
        self.set_world_size(1)

    @property
    def creates_processes_externally(self) -> bool:
        """Nobody has started others."""
        return False

    @staticmethod
    def detect() -> bool:
        """Never taken unasked."""
        return False

    def local_rank(self) -> int:
        """The only one on its machine."""
        return 0

    def node_rank(self) -> int:
        """The only machine."""
        return 0


def wants_several(trainer: Any) -> bool:
    """Whether a builder of a Trainer is one for several processes, on one machine or more."""
    given: dict[str, Any] = getattr(trainer, "keywords", {})
    several = given.get("devices", 1) not in (1, "1") or given.get("num_nodes", 1) != 1
    return several or str(given.get("strategy", "auto")).startswith("ddp")


def launcher_of(trainer: Any) -> Any:
    """Return Lightning's view of the launcher whose processes share a job, or None.

    Args:
        trainer: Builder of the job's Trainer; one for a single device shares with nobody.

    Raises:
        ConfigurationError: If the launcher has started processes in a way that Lightning refuses.
    """
    if not wants_several(trainer):
        return None
    try:
        return started_by_others()
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"the processes that Slurm or torchrun has started cannot be joined: "
            f"{reason_of(error)}."
        ) from error


def started_by_others() -> Any:
    """Return Lightning's view of the launcher that has started this process, or None."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    known = (TorchElasticEnvironment, SLURMEnvironment)
    found = next((environment() for environment in known if environment.detect()), None)
    return found if found is not None and found.world_size() > 1 else None
