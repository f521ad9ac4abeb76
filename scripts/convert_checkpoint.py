"""Turn a published pickle that holds more than tensors into safetensors, without running its code.

    python scripts/convert_checkpoint.py checkpoint.pt             # writes checkpoint.safetensors
    python scripts/convert_checkpoint.py r50_mcc.tar --entry model
    python scripts/convert_checkpoint.py model.pth adapter --peft vit    # RobustMedCLIP, for peft

The file is opened by PyTorch's restricted reader. Names on a short list (settings, paths, numbers
of numpy) are met with a stand-in that keeps nothing and runs nothing; any other name is refused.
"""

import argparse
import pickle
import re
import sys
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors.torch import load, save_file
from torch import Tensor

from medrobust.adapters.lora import WEIGHTS
from medrobust.adapters.robustmedclip import peft_files
from medrobust.exceptions import MedRobustError
from medrobust.models.file_kinds import not_weights
from medrobust.models.loading import check_kinds
from medrobust.models.robustmedclip import Vision

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


def stand_ins() -> list[tuple[Any, str]]:
    """Return a stand-in class of its own for each harmless name."""
    return [(type("StandIn", (StandIn,), {}), name) for name in HARMLESS]


def tensors(path: Path, entry: str | None) -> dict[str, Tensor]:
    """Read the table of tensors of a checkpoint.

    Args:
        path: A pickle of PyTorch.
        entry: Where the table is; None: `state_dict`, `model`, or the content itself.

    Raises:
        ValueError: If the file holds a name that is not harmless, or no table of tensors.
    """
    why = not_weights(path)
    if why is not None:
        raise ValueError(why)
    try:
        with torch.serialization.safe_globals(stand_ins()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(
            f"{path.name} holds {named[1] if named else 'a type'}, which is not on the list of "
            f"harmless types, and stays closed. Where it was made, save the tensors alone by "
            f"torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # the reader of PyTorch raises nearly every class there is
        raise ValueError(
            f"{path.name} is damaged or no checkpoint of PyTorch. Fetch it again."
        ) from error
    for name in (entry,) if entry else ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if isinstance(content, Tensor):
        content = {"": content}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} has no table of tensors; name its place with --entry.")
    found = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    check_kinds(found, (), path.name)
    if not found:
        raise ValueError(f"{path.name} has no tensors there; name their place with --entry.")
    left_out = len(content) - len(found)
    if left_out:
        print(f"{left_out} entries that are no tensors were left out")
    return found


def convert(path: Path, out: Path, entry: str | None) -> int:
    """Write the tensors of `path` to `out` and return how many there are."""
    found = tensors(path, entry)
    save_file({key: value.clone().contiguous() for key, value in found.items()}, out)
    return len(found)


def convert_to_peft(path: Path, folder: Path, entry: str | None, vision: Vision) -> int:
    """Write the adapters of a `model.pth` of RobustMedCLIP as a folder of peft; return how many."""
    files = peft_files(tensors(path, entry), vision, file=path.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return len(load(files[WEIGHTS]))


def main(arguments: list[str]) -> int:
    """Convert one file; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="default: beside it, as .safetensors")
    parser.add_argument(
        "--peft", choices=get_args(Vision), help="adapters of RobustMedCLIP to a folder of peft"
    )
    parser.add_argument("--entry", help="where the table of tensors is")
    given = parser.parse_args(arguments)
    out = given.out or given.file.with_suffix("" if given.peft else ".safetensors")
    try:
        if given.peft:
            count = convert_to_peft(given.file, out, given.entry, given.peft)
        else:
            count = convert(given.file, out, given.entry)
    except (OSError, ValueError, MedRobustError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(f"{count} tensors -> {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
