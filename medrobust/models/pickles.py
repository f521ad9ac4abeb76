"""Published pickles that hold more than tensors: read without running their code.

The file is opened by PyTorch's restricted reader. Names on a short list (settings, paths, numbers
of numpy) are met with a stand-in that keeps nothing and runs nothing; any other name is refused.
"""

import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medrobust.exceptions import WeightsMismatchError

from .file_kinds import not_weights
from .loading import check_kinds

log = logging.getLogger(__name__)

HARMLESS = (
    "argparse.Namespace",
    "collections.defaultdict",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.StringNode",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib.PurePosixPath",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "typing.Any",
    "_codecs.encode",
    "builtins.dict",
    "builtins.list",
    "builtins.set",
    "builtins.int",
    "builtins.float",
    "builtins.str",
    "builtins.bool",
)
"""What trainers leave in checkpoints beside tensors."""


class StandIn(dict[str, Any]):
    """Takes the place of a harmless object: accepts every argument and state, keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        """Make an empty one."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""

    def __hash__(self) -> int:  # type: ignore[override]  # may be met as a key or in a set
        return id(self)


def stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return a stand-in class of its own for each harmless name."""
    return [(type("StandIn", (StandIn,), {}), name) for name in HARMLESS]


def tensors(path: Path, entry: str | None) -> dict[str, Tensor]:
    """Read the table of tensors of a checkpoint.

    Args:
        path: A pickle of PyTorch.
        entry: Where the table is; None: `state_dict`, `model`, or the content itself.

    Raises:
        WeightsMismatchError: If the file holds a name that is not harmless, or no table of tensors.
    """
    why = not_weights(path)
    if why is not None:
        raise WeightsMismatchError(why)
    try:
        with torch.serialization.safe_globals(stand_ins()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise WeightsMismatchError(
            f"{path.name} holds {named[1] if named else 'a type'}, which is not on the list of "
            f"harmless types, and stays closed. Where it was made, save the tensors alone by "
            f"torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # the reader of PyTorch raises nearly every class there is
        raise WeightsMismatchError(
            f"{path.name} is damaged or no checkpoint of PyTorch. Fetch it again."
        ) from error
    for name in (entry,) if entry else ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if isinstance(content, Tensor):
        content = {"": content}
    if not isinstance(content, dict):
        raise WeightsMismatchError(
            f"{path.name} has no table of tensors; name its place with --entry."
        )
    found = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    check_kinds(found, (), path.name)
    if not found:
        raise WeightsMismatchError(
            f"{path.name} has no tensors {f'under {entry!r}' if entry else 'there'}; a file "
            f"that keeps them elsewhere is converted with its place as --entry."
        )
    left_out = len(content) - len(found)
    if left_out:
        log.warning("%d entries that are no tensors were left out", left_out)
    return found
