"""Join the stores of several machines or folders.

    python scripts/merge_stores.py store-a store-b --into outputs/store

The order does not matter, and merging again changes nothing. Parts that are damaged, or that hold
other numbers in two stores, are named, and then nothing is written and the exit status is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medrobust.cli.entry import leave
from medrobust.evaluation.merge import merge


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, merge, print what was done."""
    parser = argparse.ArgumentParser(description="Join the stores of several machines.")
    parser.add_argument("stores", type=Path, nargs="+", help="folders of stores (store.dir)")
    parser.add_argument("--into", type=Path, required=True, help="folder of the joint store")
    given = parser.parse_args(arguments)
    done = merge(given.stores, given.into)
    for conflict in done.conflicts:
        sys.stderr.write(f"conflict: {conflict}\n")
    if done.conflicts:
        return 1
    print(f"{given.into}: {done.copied} parts copied, {done.kept} were there.")
    return 0


if __name__ == "__main__":
    leave(main)
