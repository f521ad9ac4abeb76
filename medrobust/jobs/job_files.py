"""The small JSON files in the folders of jobs; nothing heavy is imported to read or write them."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medrobust.base.safe_files import json_object
from medrobust.base.whole_files import write_whole
from medrobust.exceptions import ConfigurationError, StoreError

log = logging.getLogger(__name__)


def leave_failure(folder: Path, number: int, reason: str) -> None:
    """Say that a job of a sweep has failed, and keep the reason in its folder.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    log.error("job %d failed: %s", number, reason)
    write_json(folder / "failed.json", {"format": 1, "reason": reason})


def failures(sweep: Path) -> dict[str, str]:
    """Return the folder of each job of a sweep that has failed, and why, in the order of the jobs.

    Raises:
        StoreError: If what a job has left is damaged.
    """
    left = left_by_jobs(sweep, "failed.json")
    return {folder: str(content["reason"]) for folder, content in left.items()}


def left_by_jobs(sweep: Path, name: str) -> dict[str, dict[str, Any]]:
    """Read one file of every job of a sweep that has it: folder of the job -> content, in order.

    Args:
        sweep: Its folder.
        name: Of the files, such as "plan.json".

    Raises:
        StoreError: If one is damaged.
    """
    files = sorted(sweep.glob(f"*/{name}"), key=lambda path: _job_number(path.parent))
    return {path.parent.name: read_json(path) for path in files}


def _job_number(folder: Path) -> tuple[int, str]:
    number = folder.name.split(",")[0]
    return (int(number) if number.isdigit() else sys.maxsize, folder.name)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a small JSON file, whole or not at all.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    try:
        write_whole(path, f"{json.dumps(value, indent=1)}\n".encode(), lasting=False)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}). Finished cells are in the store; point "
            f"hydra.run.dir or hydra.sweep.dir to a folder that can be written, and run again."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        StoreError: If it is not there or damaged.
    """
    try:
        return json_object(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); run the job again.") from error
