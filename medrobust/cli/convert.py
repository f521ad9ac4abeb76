"""`medrobust convert FILE`: a published pickle becomes safetensors, and its code is not run."""

from collections.abc import Sequence
from pathlib import Path

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError

from .parsing import subcommand_parser

ABOUT = """\
Turn a published pickle that holds more than tensors into safetensors, without running its code.

The file is opened by PyTorch's restricted reader. Names on a short list (settings, paths, numbers
of numpy) are met with a stand-in that keeps nothing and runs nothing; any other name is refused."""

EXAMPLES = (
    "checkpoint.pt                           # writes checkpoint.safetensors",
    "r50_mcc.tar --entry model",
    "model.pth adapter --peft vit            # RobustMedCLIP, for peft",
)


def main(arguments: Sequence[str]) -> int:
    """Convert one file, and say how many tensors it has."""
    parser = subcommand_parser("convert", ABOUT, *EXAMPLES)
    parser.add_argument("file", type=Path, help="a pickle of PyTorch")
    parser.add_argument("out", type=Path, nargs="?", help="default: beside it, as .safetensors")
    parser.add_argument(
        "--peft", choices=("vit", "resnet"), help="adapters of RobustMedCLIP to a folder of peft"
    )
    parser.add_argument("--entry", help="where the table of tensors is")
    given = parser.parse_args(arguments)
    if not given.file.is_file():
        raise ConfigurationError(f"file {given.file} not found. Name a pickle of PyTorch.")
    from medrobust.adapters.conversion import convert, convert_to_peft

    out = given.out or given.file.with_suffix("" if given.peft else ".safetensors")
    try:
        if given.peft:
            count = convert_to_peft(given.file, out, given.entry, given.peft)
        else:
            count = convert(given.file, out, given.entry)
    except OSError as error:
        raise ConfigurationError(f"{given.file} cannot be converted ({error}).") from error
    print(f"{counted(count, 'tensor')} -> {out}")
    return 0
