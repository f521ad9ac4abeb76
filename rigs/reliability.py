"""What the framework stands: hostile files, processes side by side, kills.

`python -m rigs --fuzz 1000` gives every reader so many damaged inputs;
`--kills 200 --out DIR` kills a matrix, a tuning and a conversion so many times in all, and goes on
where an earlier call with that folder stopped; `--together 50` lets eight processes fill one store,
`--together-runs 3` by whole jobs.
"""

import argparse
import gc
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Run what was asked; status 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="rigs")
    parser.add_argument("--fuzz", type=int, default=0, help="damaged inputs for each reader")
    parser.add_argument("--kills", type=int, default=0, help="kills, over three kinds of work")
    parser.add_argument("--together", type=int, default=0, help="stores that 8 processes fill")
    parser.add_argument("--together-runs", type=int, default=0, help="the same by whole jobs")
    parser.add_argument("--only", default="", help="readers whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for failing inputs and figures")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.out or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        status = 0
        if given.fuzz:
            status |= fuzz_all(given.fuzz, given.only, given.seed, folder)
        if given.kills:
            status |= kill_works(given.kills, given.only, given.seed, folder)
        for count, runs in ((given.together, False), (given.together_runs, True)):
            if count:
                status |= fill_stores(count, folder / f"stores-{int(runs)}", runs=runs)
    return status


def fuzz_all(count: int, only: str, start: int, folder: Path) -> int:
    """Print a line a reader, and what failed."""
    import torch

    from rigs.fuzzing import fuzz
    from rigs.hostile import readers

    torch.set_num_threads(1)
    print("| reader | inputs | read | refused | failed | slowest, CPU s |", flush=True)
    print("|--|--|--|--|--|--|", flush=True)
    figures, failed = {}, 0
    known = readers()
    gc.freeze()  # each fork would walk, and so copy, all that is imported here
    for name, reader in known.items():
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


def kill_works(count: int, only: str, start: int, folder: Path) -> int:
    """Print a line a kind of work: how many kills it stood."""
    import torch

    from rigs.kills import kill_all, works

    torch.set_num_threads(1)
    chosen = [work for work in works() if only in work.name]
    print("| work | killed, same tables | done before the kill, same | wrong |\n|--|--|--|--|")
    failed = False
    for place, work in enumerate(chosen):
        share = (count + len(chosen) - 1 - place) // len(chosen)
        same, early, wrong = kill_all(work, share, seed=start, folder=folder)
        print(f"| {work.name} | {same} | {early} | {len(wrong)} |", *wrong, sep="\n", flush=True)
        failed |= bool(wrong)
    return int(failed)


def fill_stores(count: int, folder: Path, *, runs: bool) -> int:
    """Print how many stores eight processes filled without a fault."""
    import torch

    from rigs.kills import PROCESSES, together

    torch.set_num_threads(1)
    wrong = together(count, folder, runs=runs)
    what = "whole jobs" if runs else "the store's functions"
    print(f"{PROCESSES} processes, {what}, {count} stores: {len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))
