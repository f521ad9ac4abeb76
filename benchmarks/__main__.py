"""Run every benchmark of this folder, or those that are named: `python -m benchmarks main_job`."""

import importlib
import pkgutil
import sys
from pathlib import Path


def main() -> None:
    """Print the tables of the benchmarks, one after another; each module has a `main()`."""
    found = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    known = [name for name in found if not name.startswith("_")]
    chosen = sys.argv[1:] or known
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(unknown)}. There are: {', '.join(known)}")
    for name in chosen:
        print(f"## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
        print(flush=True)


if __name__ == "__main__":
    main()
