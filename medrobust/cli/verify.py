"""`medrobust verify STORE`: a random sample of cells, computed again on this machine."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError, StoreError

from .parsing import subcommand_parser

if TYPE_CHECKING:
    from medrobust.jobs.verification import Verdict

ABOUT = "Read all cells of a store; compute a random sample of them again, and compare."

CELLS, SEED = 5, 0
"""How many cells are drawn, and by which seed, where neither is said."""

EXAMPLES = (
    "outputs/store",
    "outputs/store --cells 20 dataset.root=FOLDER",
    "outputs/store --seal",
)

STATUS = """\
Exit status: 0 if every cell of the sample was computed and agrees; 1 if one differs or could not be
computed, or if any cell of the store is damaged; 2 for arguments that do not exist."""


def main(arguments: Sequence[str]) -> int:
    """Verify a store: 0 if every cell of the sample was computed and agrees, else 1."""
    parser = subcommand_parser("verify", ABOUT, *EXAMPLES, ends=STATUS)
    parser.add_argument("store", type=Path, help="folder of the store (store.dir)")
    parser.add_argument(
        "--cells", type=int, metavar="N", help=f"how many to compute again (default {CELLS})"
    )
    parser.add_argument("--seed", type=int, help=f"of the sample (default {SEED})")
    parser.add_argument(
        "--seal",
        action="store_true",
        help="check a store of release 0.1, and seal its records; no cell is computed",
    )
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="paths of this machine, which cells do not record, as dataset.root=FOLDER",
    )
    given = parser.parse_intermixed_args(list(arguments))
    changes = read_changes(given.changes)
    if not (given.store / "cells").is_dir():
        raise StoreError(f"{given.store} holds no cells. Pass the folder that store.dir names.")
    chosen = [f"--{name}" for name in ("cells", "seed") if getattr(given, name) is not None]
    if given.seal and (idle := [*chosen, *given.changes]):
        raise ConfigurationError(
            f"--seal computes no cell, so that {idle[0]} has nothing to choose. Leave one of the "
            f"two out."
        )
    if given.seal:
        return seal(given.store)
    from medrobust.datasets.cache_checks import all_checked
    from medrobust.evaluation.resources import Resources
    from medrobust.evaluation.store import Store
    from medrobust.jobs.verification import fitting_changes, sample, verify

    console = Console()
    store = Store(given.store)
    resources = Resources()  # most of a sample share model and data
    verdicts = []
    count = CELLS if given.cells is None else given.cells
    cells = sample(store, count, SEED if given.seed is None else given.seed)
    with all_checked():
        for cell, fitting in zip(cells, fitting_changes(cells, changes), strict=True):
            verdict = verify(cell, store, changes=fitting, resources=resources)
            verdicts.append(verdict)
            line = f"{verdict.kind:<12}  {cell.spec}  {verdict.sentence}".rstrip()
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return summed_up(verdicts, arguments, console)


def seal(root: Path) -> int:
    """Seal what has no seal, and say how much it was: by name, where other records had one."""
    from medrobust.evaluation.sealing import seal_store
    from medrobust.evaluation.store import Store

    console, mixed = Console(), Store(root).sealed
    done = seal_store(root)
    for folder in done if mixed else ():
        console.print(f"no seal beside sealed ones: {folder}", markup=False, soft_wrap=True)
    counts = counted(len(done), "record")
    console.print(f"{counts} sealed: a changed byte of any is refused from now on.")
    return 0


def summed_up(verdicts: "Sequence[Verdict]", arguments: Sequence[str], console: Console) -> int:
    """Print how many agree, and the command with the paths that were missing; the exit status."""
    good = sum(verdict.kind in ("identical", "agrees") for verdict in verdicts)
    counts = {"agree": good, "differ": sum(v.kind == "differs" for v in verdicts)}
    counts["not computed"] = len(verdicts) - sum(counts.values())
    said = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    console.print(f"{counted(len(verdicts), 'cell')}: {said}.", highlight=False)
    if needed := dict.fromkeys(key for verdict in verdicts for key in verdict.needed):
        command = shlex.join(["medrobust", "verify", *arguments, *(f"{k}=PATH" for k in needed)])
        console.print(f"With the paths: {command}", markup=False, highlight=False, soft_wrap=True)
    return 0 if good == len(verdicts) else 1


def read_changes(texts: Sequence[str]) -> dict[str, str]:
    """Read KEY=VALUE.

    Raises:
        ConfigurationError: If one has no equals sign.
    """
    wrong = [text for text in texts if not re.match(r"^[\w.]+=", text)]
    if wrong:
        raise ConfigurationError(f"{wrong[0]!r} is no KEY=VALUE, such as dataset.root=FOLDER.")
    return dict(text.split("=", 1) for text in texts)
