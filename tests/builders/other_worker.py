"""Another process on a store: `python other_worker.py FOLDER ...`, stopped in its third cell.

Says "in" when it is there, and goes on when it is written a line; says last how many cells it has
computed and how many it was told of.
"""

import sys
from pathlib import Path
from typing import Any

from cells import COLUMNS, Wrapped, experiment

from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done
from medrobust.evaluation.store import Store


def stop(images: Any) -> None:
    """Wait where a cell is begun and not finished."""
    sys.stdout.write("in\n")
    sys.stdout.flush()
    sys.stdin.readline()


def main(folder: Path) -> None:
    """Run the plan that the test runs too, up to the cell that stops it."""
    columns = [
        Wrapped(stop, one.name) if number == 1 else one for number, one in enumerate(COLUMNS)
    ]
    given, resources = experiment(folder, *columns), Resources()
    done: list[Done] = []
    CellRunner(given, resources, Store(given.where.store)).run(plan(given, resources), done.append)
    sys.stdout.write(f"{sum(one.computed for one in done)} {len(done)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
