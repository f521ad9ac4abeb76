"""A report as a Weights & Biases run. The files of the project stay the source of truth."""

import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.redaction import without_paths
from medrobust.metrics import Estimate

from .by_metric import printed_estimates
from .compare import COMPARISON_COLUMNS
from .figures import drawn_rows, printed_shares, shade
from .matrix import Matrix
from .reasons import REASON_COLUMNS
from .tables import SUMMARY_COLUMNS, csv_bytes
from .wandb_environment import account_mode
from .wandb_pictures import pictures
from .wandb_readings import of_section

if TYPE_CHECKING:
    from .loggers import WandbLogger
    from .report import Report

log = logging.getLogger(__name__)

NUMBERS = ("value", "low", "high", "difference", "p", "p_familywise", "p_holm", "p_bh")


def send(
    settings: "WandbLogger",
    report: "Report",
    *,
    run: Mapping[str, Any],
    group: str | None,
    name: str,
    folder: Path,
) -> None:
    """Open a run, log the report, finish it: exit code 0, or 1 if anything failed.

    A run alone and the summary of a sweep own the matrices; a job of a sweep logs its rows. Tuned
    adapters are artifacts that the run has used, its tables one that it has made. The id
    follows from project, group, name and command, so that the same job goes on where it stopped.
    Only rank zero sends. Only what this function logs leaves the machine: console, code, git state,
    machine facts and system statistics are switched off, and paths in the configuration are left
    out. A run that is kept offline says how to send it. No picture is sent unless
    `settings.images` asks for it, none of own data in any case that the store does not hold it.
    """
    if _rank() != 0:
        return
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    config = without_paths(dict(run.get("config") or {}))
    kind = job_type(group, name)
    opened = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=group,
        job_type=kind,
        name=name,
        id=run_id(settings.project, group, name, str(run.get("command", ""))),
        resume="allow",
        mode=settings.mode or account_mode(),
        dir=str(folder),
        config=config,
        notes="\n".join(report.notices) or None,
        settings=quiet_settings(),
    )
    exit_code = 1
    try:
        content = {"results": _table(report.results, report.result_columns)}
        if kind != "job":
            content |= _tables(report)
            content |= pictures(report) if settings.images else {}
        opened.log(content)
        opened.summary.update(_headline(report))
        for artifact in _adapters(report, weights=settings.weights):
            _use(opened, artifact)
        opened.log_artifact(_artifact(report, opened.id))
        exit_code = 1 if run.get("failed") else 0
    finally:
        opened.finish(exit_code=exit_code)
    if opened.offline and kind != "job":
        log.info("W&B: kept offline; to send it: %s", _sync_command(folder))


def _rank() -> int:
    """Return the rank of this process in what torchrun or Slurm has started; 0 if neither has.

    A rank that is left in the shell without its launcher says nothing.
    """
    name = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID"
    value = os.environ.get(name, "0")
    return int(value) if value.isdecimal() else 0


def _sync_command(folder: Path) -> str:
    """Write what sends the runs below a folder: of a report, of a tuning, of the jobs of a sweep.

    `wandb sync` alone looks into ./wandb, where none of them is.
    """
    kept = ("wandb/offline-run-*", "*/wandb/offline-run-*")
    place = shlex.quote(os.path.relpath(folder))
    return " ".join(["wandb sync", *(f"{place}/{one}" for one in kept if any(folder.glob(one)))])


def quiet_settings() -> Any:
    """Return W&B's settings that keep console, code, git state and machine facts at home."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        save_code=False,
        disable_git=True,
        disable_job_creation=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
    )


def job_type(group: str | None, name: str) -> Literal["run", "job", "summary"]:
    """Say what a run is: alone, one job of a sweep, or the summary of the sweep."""
    if group is None:
        return "run"
    return "summary" if name == f"{group}-summary" else "job"


def run_id(project: str, group: str | None, name: str, command: str) -> str:
    """Return the id of a run: 16 hexadecimal digits, the same for the same job."""
    return fingerprint(["medrobust run", project, group, name, command])[:16]


def _adapters(report: "Report", *, weights: bool) -> list[Any]:
    """Describe each tuned adapter of the report as an artifact, with its weights if asked.

    The record of the tuning stays in the store: it names the images that were seen.
    """
    import wandb

    found = {
        str(made["fingerprint"]): (made, cell)
        for matrix in report.matrices
        for cell in matrix.cells.values()
        if (made := cell.record.get("adaptation")) and made.get("fingerprint")
    }
    artifacts = []
    for print_, (made, cell) in sorted(found.items()):
        told = {name: made.get(name) for name in ("label", "draw", "fingerprint")}
        told |= {"model": cell.spec.model, "adapter": cell.spec.adapter}
        artifact = wandb.Artifact(f"adapter-{print_[:12]}", type="adapter", metadata=told)
        with artifact.new_file("adapter.json", mode="w") as file:
            file.write(json.dumps(told, indent=1, sort_keys=True) + "\n")
        folder = cell.folder.parents[4] / "adapters" / print_
        for name in ("adapter_config.json", "adapter_model.safetensors") if weights else ():
            if (folder / name).is_file():
                artifact.add_file(str(folder / name), name=name)
        artifacts.append(artifact)
    return artifacts


def _use(run: Any, artifact: Any) -> None:
    """Record that a run has used an artifact that may be new to the server.

    Offline, `use_artifact` refuses: it would ask the server for an id. The record that it writes
    for a new artifact needs none, and `wandb sync` makes artifact and lineage of it.
    """
    if run.offline:
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)


def _artifact(report: "Report", run: str) -> Any:
    """Put the three tables into an artifact that names the cells it was made from."""
    import wandb

    cells = list(dict.fromkeys(row["cell"] for row in report.results))
    adapters = sorted({row["adapter"] for row in report.results} - {"none"})
    artifact = wandb.Artifact(
        f"results-{run}",
        type="results",
        metadata={"cells": len(cells), "fingerprint": fingerprint(cells), "adapters": adapters},
    )
    for name, rows, columns in (
        ("results.csv", report.results, report.result_columns),
        ("summary.csv", report.summary, SUMMARY_COLUMNS),
        ("comparisons.csv", report.comparisons, COMPARISON_COLUMNS),
        ("reasons.csv", report.all_reasons, REASON_COLUMNS),
    ):
        with artifact.new_file(name, mode="wb") as file:
            file.write(csv_bytes(rows, columns))
    return artifact


def _tables(report: "Report") -> dict[str, Any]:
    """Return the long tables, and of each data set and metric matrix, heat map and curves."""
    content: dict[str, Any] = {
        "summary": _table(report.summary, SUMMARY_COLUMNS),
        "comparisons": _table(report.comparisons, COMPARISON_COLUMNS),
        "reasons": _table(report.all_reasons, REASON_COLUMNS),
    }
    for section in report.with_files:
        content |= of_section(section)
    for matrix in report.matrices:
        for metric in matrix.losses:
            key = f"{matrix.table.dataset}/{matrix.table.suite}/{metric}"
            content[f"matrix/{key}"] = _matrix_table(matrix, metric)
            content[f"heat_map/{key}"] = _heat_map(matrix, metric)
            if matrix.table.corruptions:
                content[f"curve/{key}"] = _curve(matrix, metric)
            if matrix.asked_sanity:
                content[f"sanity/{key}"] = _sanity_table(matrix, metric)
    return content


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> Any:
    import wandb

    data = [[_typed(name, row[name]) for name in columns] for row in rows]
    return wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)


def _typed(name: str, text: str) -> Any:
    if name in NUMBERS:
        return float(text) if text else None
    return text


def _columns(matrix: Matrix) -> list[str]:
    return ["clean", *matrix.table.corruptions, "mean", "mCE"]


def _shown(value: float | None, *, share: bool) -> float | None:
    """Return a share in percent, another number as it is."""
    return None if value is None else round(100 * value if share else value, 4)


def _matrix_table(matrix: Matrix, metric: str) -> Any:
    """Return models by corruptions, shares in percent, each with the bounds of its interval."""
    shares = printed_shares(matrix, metric)
    return _bounded_table(matrix, _columns(matrix), printed_estimates(matrix, metric), shares)


def _sanity_table(matrix: Matrix, metric: str) -> Any:
    """Return what each model scores without looking, beside its clean images."""
    found = [
        [matrix.estimate(metric, row, name) for name in ("clean", *matrix.controls)]
        for row in range(len(matrix.rows))
    ]
    names = ["clean images", *matrix.controls.values()]
    return _bounded_table(matrix, names, found, [matrix.task.metrics[metric].share] * len(names))


def _bounded_table(
    matrix: Matrix,
    names: Sequence[str],
    estimates: Sequence[Sequence[Estimate]],
    shares: Sequence[bool],
) -> Any:
    import wandb

    columns = ["model", *names, *(f"{name} {end}" for name in names for end in ("low", "high"))]
    data = []
    for line, found in zip(matrix.rows, estimates, strict=True):
        pairs = list(zip(found, shares, strict=True))
        values = [_shown(one.value, share=share) for one, share in pairs]
        bounds = [_shown(end, share=share) for one, share in pairs for end in (one.low, one.high)]
        data.append([line.label, *values, *bounds])
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def _heat_map(matrix: Matrix, metric: str) -> Any:
    """Return a plotly heat map (data, not a picture) without the mCE, which has its own scale."""
    import plotly.graph_objects as plotly
    import wandb

    said = matrix.task.metrics[metric]
    printed = [line[:-1] for line in printed_estimates(matrix, metric)]
    values = [[_shown(one.value, share=said.share) for one in line] for line in printed]
    digits = 1 if said.share else 3
    text = [["–" if value is None else f"{value:.{digits}f}" for value in line] for line in values]
    darker = [(step / 10, shade(step / 10)[0]) for step in range(11)]
    if said.higher_is_better:
        darker = [(1 - share, color) for share, color in darker[::-1]]
    figure = plotly.Figure(
        plotly.Heatmap(
            z=values,
            x=_columns(matrix)[:-1],
            y=[row.label for row in matrix.rows],
            text=text,
            texttemplate="%{text}",
            colorscale=darker,
        )
    )
    figure.update_layout(title=f"{said.title}{said.percent_sign}", yaxis={"autorange": "reversed"})
    return wandb.Plotly(figure)


def _curve(matrix: Matrix, metric: str) -> Any:
    """Return a line plot over severity: the mean over corruptions of each model."""
    import wandb

    severities = [0, *matrix.table.severities]
    said = matrix.task.metrics[metric]
    rows = drawn_rows(matrix)
    lines = [[matrix.clean[metric][row], *matrix.values[metric][row].mean(axis=0)] for row in rows]
    kept = [(row, line) for row, line in zip(rows, lines, strict=True) if not np.isnan(line).any()]
    return wandb.plot.line_series(
        xs=severities,
        ys=[[_shown(float(value), share=said.share) for value in line] for _, line in kept],
        keys=[matrix.rows[row].label for row, _ in kept],
        title=f"{matrix.table.dataset}: {said.title}{said.percent_sign}, mean over corruptions",
        xname="severity",
    )


def _headline(report: "Report") -> dict[str, float]:
    """Return mean and mCE of every row with bounds, as fractions, and the missing cells."""
    numbers: dict[str, float] = {"missing_cells": len(report.missing)}
    for matrix in report.matrices:
        for row, line in zip(matrix.rows, printed_estimates(matrix), strict=True):
            key = f"{matrix.table.dataset}/{matrix.table.suite}/{row.label}"
            mean, mce = line[-2:]
            for name, found in (("mean", mean), ("mCE", mce)):
                parts = {"": found.value, "_low": found.low, "_high": found.high}
                numbers |= {
                    f"{key}/{name}{part}": value
                    for part, value in parts.items()
                    if value is not None
                }
    return numbers
