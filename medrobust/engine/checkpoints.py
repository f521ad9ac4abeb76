"""Files that an unfinished training goes on from: whole or absent, and never run as a program."""

import io
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from medrobust.base.safe_files import UNREADABLE
from medrobust.base.whole_files import write_whole

log = logging.getLogger(__name__)

DAMAGE: tuple[type[Exception], ...] = (
    *UNREADABLE, pickle.UnpicklingError, OSError, RuntimeError, AttributeError, AssertionError,
)  # fmt: skip
"""What a file makes PyTorch raise that holds something else than tensors and plain values."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole and forced to the disk, and reads no pickle with code in it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint in place of an earlier one."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), buffer.getvalue())

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint to the CPU; tensors and plain values only, whatever is asked for."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded


def can_go_on_from(checkpoint: Path) -> bool:
    """Say whether there is a checkpoint to go on from; one that must not be used is named."""
    if not checkpoint.exists():
        return False
    try:
        loaded = WholeCheckpoints().load_checkpoint(checkpoint)
    except DAMAGE as error:
        reason = type(error).__name__
    else:
        if isinstance(loaded, dict) and "state_dict" in loaded:
            return True
        reason = "no state in it"
    log.warning(
        "%s is damaged, or holds more than tensors and plain values (%s): it is not used, and the "
        "training begins anew.",
        checkpoint,
        reason,
    )
    return False
