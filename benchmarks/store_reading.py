"""Processor time of reading a large store of small cells, unsealed and sealed, beside a release.

    python -m benchmarks store_reading [CELLS] [--against CHECKOUT] [--repeats N]

The cells are those of tests/data/store_0_1, once for each of as many made-up models as it takes: a
store of release 0.1, which is read as it is, then sealed as `medrobust verify --seal` does and read
again. CHECKOUT is the root of another version of this repository, which reads the unsealed store.
Each reading is a process of its own, in turn; what is counted is the processor time of
`Store.cells()` without imports. Asked: at most 10 % more than release 0.1.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "tests" / "data" / "store_0_1" / "store"
READ = """
import sys, time
from pathlib import Path
from medrobust.evaluation.store import Store
next(Store(Path(sys.argv[1])).cells())
started = time.process_time()
count = sum(1 for _ in Store(Path(sys.argv[1])).cells())
print(count, time.process_time() - started)
"""
"""What the first cell imports is not counted."""


def write_store(root: Path, cells: int) -> int:
    """Write copies of the cells of a store of release 0.1 until there are enough; how many."""
    shutil.copytree(TEMPLATE / "data", root / "data")
    folders = sorted((TEMPLATE / "cells").glob("*/*/*/s*-*"))
    count = model = 0
    while count < cells:
        for folder in folders[: cells - count]:
            record = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
            record["cell"]["model"] = name = f"{record['cell']['model']}_{model:04d}"
            record["config"]["model"]["name"] = name
            place = root / "cells" / name / Path(*folder.parts[-3:])
            shutil.copytree(folder, place)
            text = json.dumps(record, indent=1, sort_keys=True) + "\n"
            (place / "cell.json").write_text(text, encoding="utf-8")
            count += 1
        model += 1
    return count


def seconds(checkout: Path, store: Path, cells: int) -> float:
    """Read a store by the code of a checkout, in a process of its own."""
    command = [sys.executable, "-c", READ, str(store)]
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, cwd=checkout, env=env, capture_output=True, text=True, check=True
    )
    count, spent = done.stdout.split()
    assert int(count) == cells, f"{checkout} reads {count} of {cells} cells"
    return float(spent)


def main(arguments: Sequence[str]) -> int:
    """Print the medians of all, and their ratios to the other version."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks store_reading")
    parser.add_argument("cells", nargs="?", type=int, default=10_000)
    parser.add_argument("--against", type=Path, help="root of another version of the repository")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        unsealed, sealed = Path(folder, "unsealed"), Path(folder, "sealed")
        count = write_store(unsealed, given.cells)
        shutil.copytree(unsealed, sealed)
        from medrobust.evaluation.sealing import seal_store

        seal_store(sealed)
        ways = {"unsealed": (ROOT, unsealed), "sealed": (ROOT, sealed)}
        if given.against is not None:
            ways["the other version"] = (given.against, unsealed)
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, way in ways.items():
                spent[name].append(seconds(*way, count))
    base = median(spent["the other version"]) if given.against is not None else None
    for name, all_ in spent.items():
        middle = median(all_)
        ratio = "" if base is None else f", ratio {middle / base:.2f}"
        line = f"{name}: {middle:.2f} s ({min(all_):.2f} to {max(all_):.2f}) for {count} cells"
        print(f"{line}, {1e6 * middle / count:.0f} us a cell{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
