"""Published checkpoints as the files that this package reads: safetensors, or a folder of peft."""

from pathlib import Path

from medrobust.models.pickles import tensors
from medrobust.models.robustmedclip import Vision

from .lora import WEIGHTS
from .robustmedclip import peft_files


def convert(file: Path, out: Path, entry: str | None = None) -> int:
    """Write the tensors of a pickle as safetensors, and return how many there are.

    Args:
        file: A pickle of PyTorch.
        out: The file of safetensors to write.
        entry: Where the table of tensors is, as for `tensors`.

    Raises:
        WeightsMismatchError: As `tensors` raises it.
    """
    from safetensors.torch import save_file

    found = tensors(file, entry)
    save_file({key: value.clone().contiguous() for key, value in found.items()}, out)
    return len(found)


def convert_to_peft(file: Path, folder: Path, entry: str | None, vision: Vision) -> int:
    """Write the adapters of a `model.pth` of RobustMedCLIP as a folder of peft; return how many.

    Args:
        file: As published.
        folder: To write to.
        entry: Where the table of tensors is, as for `tensors`.
        vision: Which of its image towers.

    Raises:
        WeightsMismatchError: As `tensors` and `peft_files` raise it.
    """
    from safetensors.torch import load

    files = peft_files(tensors(file, entry), vision, file=file.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return len(load(files[WEIGHTS]))
