"""A report as a Weights & Biases run. The files of the project stay the source of truth."""

import io
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

from .figures import DEMONSTRATION, heat_cells, matrix_png
from .matrix import Matrix
from .tables import RESULT_COLUMNS, SUMMARY_COLUMNS

if TYPE_CHECKING:
    from .loggers import WandbLogger
    from .report import Report

NUMBERS = ("value", "low", "high")

PATH_KEYS = ("cache_dir", "csv", "dir", "directory", "file", "key_file", "local_dir", "root")
"""Configuration keys that name a place on this machine, also where the path is relative."""


def send(
    settings: "WandbLogger",
    report: "Report",
    *,
    run: Mapping[str, Any],
    group: str | None,
    name: str,
    folder: Path,
) -> None:
    """Open a run, log the report, finish it: exit code 0, or 1 if anything was raised.

    Only what this function logs leaves the machine: console, code, git state, machine facts and
    system statistics are switched off, and paths in the configuration are left out.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    config = without_paths(dict(run.get("config") or {}))
    demonstration = any(matrix.demonstration for matrix in report.matrices)
    opened = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=group,
        name=name,
        mode=settings.mode or account_mode(),
        dir=str(folder),
        config=config,
        notes=DEMONSTRATION if demonstration else None,
        settings=wandb.Settings(
            console="off",
            silent=True,
            save_code=False,
            disable_git=True,
            disable_job_creation=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
        ),
    )
    exit_code = 1
    try:
        opened.log(_content(report, images=settings.images))
        opened.summary.update(_headline(report))
        exit_code = 0
    finally:
        opened.finish(exit_code=exit_code)


def account_mode() -> Literal["online", "offline"] | None:
    """Return None where WANDB_MODE decides, else "online" with an account and "offline" without."""
    if os.environ.get("WANDB_MODE"):
        return None
    return "online" if os.environ.get("WANDB_API_KEY") or _in_netrc() else "offline"


def _in_netrc() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    given = os.environ.get("NETRC")
    places = [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for place in places:
        try:
            if netrc.netrc(str(place)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def without_paths(value: Any, key: str = "") -> Any:
    """Copy plain values with every path replaced: a path may name a person.

    Example:
        >>> without_paths({"dataset": {"csv": "ward/labels.csv", "name": "scans"}})
        {'dataset': {'csv': '<path>', 'name': 'scans'}}
    """
    if isinstance(value, Mapping):
        return {str(name): without_paths(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, key) for item in value]
    if isinstance(value, str) and (
        key in PATH_KEYS or value.startswith("~") or Path(value).is_absolute()
    ):
        return "<path>"
    return value


def _content(report: "Report", *, images: bool) -> dict[str, Any]:
    import wandb

    content: dict[str, Any] = {
        "results": _table(report.results, RESULT_COLUMNS),
        "summary": _table(report.summary, SUMMARY_COLUMNS),
    }
    for matrix in report.matrices:
        key = f"{matrix.table.dataset}/{matrix.table.suite}"
        columns = ["model", "clean", *matrix.table.corruptions, "mean", "mCE"]
        content[f"matrix/{key}"] = wandb.Table(columns=columns, data=_matrix_rows(matrix))
        content[f"heat_map/{key}"] = wandb.Image(_picture(matrix_png([matrix])))
        if images:
            content[f"examples/{key}"] = _examples(matrix)
    return content


def _table(rows: tuple[dict[str, str], ...], columns: tuple[str, ...]) -> Any:
    import wandb

    data = [[_typed(name, row[name]) for name in columns] for row in rows]
    return wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)


def _typed(name: str, text: str) -> Any:
    if name in NUMBERS:
        return float(text) if text else None
    return text


def _matrix_rows(matrix: Matrix) -> list[list[Any]]:
    """Return label, then percent as shown in the heat map, None where a cell is missing."""
    rows = []
    for index, cells in enumerate(heat_cells(matrix)):
        mce = matrix.mce(matrix.shown, index).value
        shares = [value for _, value in cells[:-1]] + [mce]
        percents = [None if share is None else round(100 * share, 4) for share in shares]
        rows.append([matrix.rows[index].label, *percents])
    return rows


def _examples(matrix: Matrix) -> list[Any]:
    import wandb

    return [
        wandb.Image(_picture(cell.examples[0].read_bytes()), caption=f"{corruption} s{severity}")
        for (row, corruption, severity), cell in matrix.cells.items()
        if row == 0 and cell.examples
    ]


def _picture(png: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(png))


def _headline(report: "Report") -> dict[str, float]:
    """Return mean and mCE of every row, as fractions, and the number of missing cells."""
    numbers: dict[str, float] = {"missing_cells": len(report.missing)}
    for matrix in report.matrices:
        for index, row in enumerate(matrix.rows):
            key = f"{matrix.table.dataset}/{matrix.table.suite}/{row.label}"
            found = {
                "mean": matrix.mean(matrix.shown, index),
                "mCE": matrix.mce(matrix.shown, index),
            }
            numbers |= {
                f"{key}/{name}": mean.value
                for name, mean in found.items()
                if mean.value is not None
            }
    return numbers
