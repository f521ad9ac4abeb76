"""Run benchmarks: those that take minutes, or the one that is named."""

import sys
from importlib import import_module
from pkgutil import iter_modules

import benchmarks
from benchmarks import environments

QUICK = ("main_job", "straightforward", "memory")
"""Run when none is named; each writes its page to docs/performance."""


def find() -> list[str]:
    """List the benchmarks: the modules with a `main`."""
    names = sorted(module.name for module in iter_modules(benchmarks.__path__))
    return [name for name in names if hasattr(import_module(f"benchmarks.{name}"), "main")]


def run(arguments: list[str]) -> int:
    """Run the benchmark that `arguments` begin with, or the quick ones."""
    if not arguments:
        return max(import_module(f"benchmarks.{name}").main(["--write"]) for name in QUICK)
    known = find()
    if arguments[0] not in known:
        print(f"There is no benchmark {arguments[0]!r}; there are: {', '.join(known)}.")
        return 2
    status: int = import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
    return status


if __name__ == "__main__":
    environments.one_thread_libraries()
    sys.exit(run(sys.argv[1:]))
