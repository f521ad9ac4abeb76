"""Where a finished report goes: files, terminal, logger."""

import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from medrobust.exceptions import MedRobustError
from medrobust.reporting import Report, draw_files, published_files, write_files

from .job import Job


def publish(report: Report) -> None:
    """Write page, picture and tables; then print the matrix and where they are."""
    report.write()
    more = draw_files(report.matrices, report.untuned) | published_files(report.matrices)
    write_files(report.folder, more)
    console = Console()
    report.print(console)
    for name, content in more.items():
        if name.endswith(".md"):
            console.print(content.decode(), markup=False, highlight=False, soft_wrap=True)
    for name in (
        "report.html",
        "matrix.png",
        "matrix.csv",
        "results.csv",
        "summary.csv",
        "comparisons.csv",
        "subgroups.csv",
        *more,
    ):
        if (report.folder / name).exists():
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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MedRobustError(
            f"the report is in {os.path.relpath(report.folder)}, and the logger failed: {reason}"
        ) from error
