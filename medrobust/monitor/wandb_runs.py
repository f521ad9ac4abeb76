"""Updates and benches as Weights & Biases runs: numbers alone, no study, no picture.

Kept offline without an account, as the runs of reports are. The files of a monitor stay the source
of truth: nothing is read back.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medrobust.reporting.wandb import quiet_settings, run_id
from medrobust.reporting.wandb_environment import account_mode

from .bench import Noticed
from .bench_page import COLUMNS, csv_row

TEXTS = ("change", "statistic", "detector")
"""Columns of bench.csv that hold words."""


def send_update(
    project: str, place: Path, status: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]
) -> None:
    """Log one update: its last window, and every window as a table.

    Args:
        project: Name of the project.
        place: Folder of the monitor; an offline run lies in its `wandb`.
        status: As `status.json`.
        windows: As `windows.json`.
    """
    names = list(windows[-1]["z"]) if windows else []
    rows = [
        [one["day"], one["studies"], one["statistic"], one["alarm"], *(one["z"][n] for n in names)]
        for one in windows
    ]
    numbers = {key: status[key] for key in ("statistic", "limit", "studies")}
    numbers |= {f"accuracy/{name}": value for name, value in (status["accuracy"] or {}).items()}
    if windows:
        numbers |= {f"z/{name}": value for name, value in windows[-1]["z"].items()}
    known = {name: float(value) for name, value in numbers.items() if value is not None}
    day = status["day"] or "no window"
    _send(
        project,
        place,
        (place.resolve().name, f"update {day}", f"{day}/{status['studies']}"),
        {**known, "alarm": int(status["alarm"])},
        {"windows": (["day", "studies", "statistic", "alarm", *names], rows)},
    )


def send_bench(project: str, folder: Path, found: Sequence[Noticed], about: str) -> None:
    """Log a bench: its rows as a table, the share of changes that were noticed as a number."""
    rows = [[_typed(name, csv_row(one)[name]) for name in COLUMNS] for one in found]
    seen = sum(one.delay is not None for one in found) / max(len(found), 1)
    _send(
        project,
        folder,
        ("monitor bench", about, about),
        {"noticed": seen},
        {"bench": (list(COLUMNS), rows)},
    )


def _typed(column: str, text: str) -> str | float | None:
    """Return a cell of bench.csv as a table of numbers has it; None where it is empty."""
    return text if column in TEXTS else float(text) if text else None


def _send(
    project: str,
    folder: Path,
    called: tuple[str, str, str],
    numbers: Mapping[str, float],
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]],
) -> None:
    """Open a run, log, finish it."""
    import wandb

    group, name, key = called
    opened = wandb.init(
        project=project,
        group=group,
        job_type="monitor",
        name=name,
        id=run_id(project, group, name, key),
        resume="allow",
        mode=account_mode(),
        dir=str(folder),
        settings=quiet_settings(),
    )
    try:
        opened.log(
            {
                **numbers,
                **{
                    title: wandb.Table(columns=list(columns), data=[list(row) for row in rows])
                    for title, (columns, rows) in tables.items()
                },
            }
        )
        opened.summary.update(dict(numbers))
    finally:
        opened.finish()
