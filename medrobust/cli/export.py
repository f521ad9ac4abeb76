"""`medrobust export FOLDER dataset=...`: any data set as PNG files and a table."""

from collections.abc import Sequence
from pathlib import Path

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError

from .parsing import add_overrides, as_typed, check_out_folder, listed, subcommand_parser

ABOUT = """\
Write any data set as PNG files and a table that `dataset=folder` reads.

FOLDER gets images/SPLIT/ID.png and labels.csv (path, label or label columns, split, and patient
and metadata columns where there are some). Images are those that corruption acts on: uint8, at the
set's size. Own data: names and patients are their keyed hashes; what is in the pixels stays there.
"""

EXAMPLES = (
    "FOLDER dataset=bloodmnist dataset.root=DATA",
    "FOLDER dataset=phantoms --splits test",
)


def main(arguments: Sequence[str]) -> int:
    """Export and print the command that reads the folder again."""
    parser = subcommand_parser("export", ABOUT, *EXAMPLES)
    parser.add_argument("folder", type=Path, help="made; must not exist or be empty")
    parser.add_argument("--splits", default="", help="comma-separated; default: all there are")
    add_overrides(parser, "dataset=...", nargs="+")
    given = parser.parse_intermixed_args(list(arguments))
    check_out_folder(given.folder, "the folder")
    from medrobust.datasets.export import command, export
    from medrobust.evaluation.building import built

    from .hydra_app import composed

    source = built(composed(as_typed(given)), "dataset")
    if hasattr(source, "members"):
        raise ConfigurationError(f"{source.name!r} is a collection: export its members one by one.")
    sets = export(source, given.folder, listed([given.splits]))
    names = ", ".join(image_set.split for image_set in sets)
    print(f"{counted(sum(map(len, sets)), 'image')} of {names}. To read them:")
    print(command(sets[-1], given.folder))
    return 0
