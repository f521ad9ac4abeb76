"""Where a finished report goes: files, terminal, logger."""

import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from medrobust.base.reasons import exported_by, reason_of
from medrobust.exceptions import MedRobustError
from medrobust.reporting import Report

from .job import Job


def publish(report: Report) -> None:
    """Write page, picture and tables; then print the matrix and where they are."""
    names = report.write()
    console = Console()
    report.print(console)
    for name in names:
        path = os.path.relpath(report.folder / name)
        console.print(path, markup=False, highlight=False, soft_wrap=True)


def log_report(job: Job, report: Report, run: Mapping[str, Any]) -> None:
    """Send a report to the logger; the report's own files are written already.

    Raises:
        MedRobustError: If the logger fails, whatever it raises.
    """
    try:
        job.logger.log(report, run=run, group=job.group, name=job.name)
    except MedRobustError:
        raise
    except Exception as error:
        reason = reason_of(error)
        raise MedRobustError(
            f"the report is in {os.path.relpath(report.folder)}, and the logger failed: {reason}."
            f"{exported_by(reason)}"
        ) from error
