"""`medrobust merge A B --into C`: the stores of several machines become one."""

import sys
from collections.abc import Sequence
from pathlib import Path

from .parsing import check_out_folder, subcommand_parser

ABOUT = """\
Join the stores of several machines or folders.

The order does not matter, and merging again changes nothing. Parts that are damaged, or that hold
other numbers in two stores, are named, and then nothing is written and the exit status is 1."""


def main(arguments: Sequence[str]) -> int:
    """Merge, and print what was done; 1 if stores contradict one another."""
    parser = subcommand_parser("merge", ABOUT, "store-a store-b --into outputs/store")
    parser.add_argument("stores", type=Path, nargs="+", help="folders of stores (store.dir)")
    parser.add_argument("--into", type=Path, required=True, help="folder of the joint store")
    given = parser.parse_args(arguments)
    check_out_folder(given.into, "--into")
    from medrobust.evaluation.merge import merge

    done = merge(given.stores, given.into)
    for conflict in done.conflicts:
        sys.stderr.write(f"conflict: {conflict}\n")
    if done.conflicts:
        return 1
    print(f"{given.into}: {done.copied} parts copied, {done.kept} were there.")
    return 0
