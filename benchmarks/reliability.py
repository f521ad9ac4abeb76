"""What the framework stands: hostile files, processes side by side, kills.

`python -m benchmarks reliability --fuzz 1000` gives every reader so many damaged inputs.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Run what was asked; status 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks reliability")
    parser.add_argument("--fuzz", type=int, default=0, help="damaged inputs for each reader")
    parser.add_argument("--only", default="", help="readers whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for failing inputs and figures")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.out or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        status = 0
        if given.fuzz:
            status = fuzz_all(given.fuzz, given.only, given.seed, folder)
    return status


def fuzz_all(count: int, only: str, start: int, folder: Path) -> int:
    """Print a line a reader, and what failed."""
    import torch

    from benchmarks.fuzzing import fuzz
    from benchmarks.hostile import readers

    torch.set_num_threads(1)
    print("| reader | inputs | read | refused | failed | slowest, CPU s |", flush=True)
    print("|--|--|--|--|--|--|", flush=True)
    figures, failed = {}, 0
    for name, reader in readers().items():
        if only not in name:
            continue
        scratch = folder / "".join(c if c.isalnum() else "-" for c in name)
        scratch.mkdir(exist_ok=True)
        found = fuzz(reader, count, start=start, scratch=scratch)
        figures[name] = asdict(found)
        failed += found.failed
        print(
            f"| {name} | {found.inputs} | {found.read} | {found.refused} | {found.failed} "
            f"| {found.slowest:.2f} |",
            flush=True,
        )
        for line in found.failures:
            print(f"  {line}", flush=True)
    (folder / "fuzz.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return int(failed > 0)
