"""What killed runs have left in a store: removed by the next run once their process is gone."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from medrobust.base.temporary_names import sweep, untouched_for
from medrobust.base.wording import counted

from .locks import FOLDER, Claims

log = logging.getLogger(__name__)

TRAINING = "-training"
"""How the folder of an unfinished training ends, from which the same command goes on."""

TRAINING_AGE = 30 * 24 * 3600.0
"""Seconds untouched after which an unfinished training is given up: thirty days."""


def sweep_store(root: Path, claims: Claims) -> int:
    """Remove what killed runs have left, say so in the log, and return how many things it was.

    Nothing of a process that lives on this host is touched, nothing of other hosts that was touched
    within a week. What cannot be removed stays.

    Args:
        root: Folder of the store.
        claims: Of this run: a claim that nobody holds is given back.
    """
    count = sum(map(sweep, _places(root)))
    for path in (root / "adapters").glob(f".*{TRAINING}"):
        if untouched_for(path) > TRAINING_AGE:
            shutil.rmtree(path, ignore_errors=True)
            count += 1
    for lock in (root / FOLDER).glob("*.lock"):
        if claims.take(lock.stem):
            claims.drop(lock.stem)
    if count:
        log.info("removed %s of runs that were killed", counted(count, "left-over folder"))
    return count


def _places(root: Path) -> Iterator[Path]:
    """Yield the folders of a store that something is written to."""
    yield from (root / room for room in ("data", "features", "adapters"))
    yield from root.glob("cells/*/*/*")
    yield from root.glob("data/*")
