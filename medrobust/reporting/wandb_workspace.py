"""The layout of a W&B workspace for the reports of a project: heat maps, curves, tables, mCE."""

import csv
import json
from pathlib import Path
from typing import Any

from medrobust.exceptions import ConfigurationError, MissingDependencyError

METRICS = ("balanced_error", "error", "auc")
"""As `medrobust.reporting.wandb` logs them, the usual one first."""


def read_summary(folder: Path) -> list[dict[str, str]]:
    """Return the rows of summary.csv that are of one data set.

    Raises:
        ConfigurationError: If there is no such file.
    """
    try:
        with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if row["split"]]
    except OSError as error:
        raise ConfigurationError(
            f"{folder / 'summary.csv'} cannot be read ({error.strerror}). Give the folder of a run "
            f"or sweep, or that of `medrobust report`."
        ) from error


def workspace(rows: list[dict[str, str]], *, project: str, entity: str, name: str) -> Any:
    """Build the layout: one section a data set and suite, then the long tables.

    Args:
        rows: Of summary.csv.
        project: Of the runs.
        entity: User or team, may be empty where nothing is saved.
        name: Of the workspace.

    Raises:
        MissingDependencyError: If wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as layout
    except ImportError as error:
        raise MissingDependencyError(
            "this needs wandb-workspaces: pip install wandb-workspaces"
        ) from error
    sections = []
    for dataset, suite in dict.fromkeys((row["dataset"], row["suite"]) for row in rows):
        ours = [row for row in rows if (row["dataset"], row["suite"]) == (dataset, suite)]
        labels = list(dict.fromkeys(row["label"] for row in ours))
        there = {row["of"] for row in ours}
        shown = [of for of in METRICS if of in there]
        sanity = any(row["metric"] == "sanity_blank_images" for row in ours)
        found: list[Any] = [
            panels.BarPlot(
                title=f"{what}, 95 % interval in the table",
                metrics=[f"{dataset}/{suite}/{label}/{what}" for label in labels],
            )
            for what in ("mCE", "mean")
        ]
        for of in shown:
            key = f"{dataset}/{suite}/{of}"
            found += [
                panels.MediaBrowser(title=f"heat map, {of}", media_keys=[f"heat_map/{key}"]),
                _curves(panels, key),
                panels.WeavePanelSummaryTable(table_name=f"matrix/{key}"),
            ]
            if sanity:
                found.append(panels.WeavePanelSummaryTable(table_name=f"sanity/{key}"))
        sections.append(layout.Section(name=f"{dataset} · {suite}", panels=found, is_open=True))
    tables = [
        panels.WeavePanelSummaryTable(table_name=table)
        for table in ("summary", "comparisons", "results")
    ]
    sections.append(layout.Section(name="long tables", panels=tables))
    return layout.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        runset_settings=layout.RunsetSettings(groupby=[layout.Metric("Group")]),
    )


def _curves(panels: Any, key: str) -> Any:
    """Return the line plot over severity, drawn from the table that the run has logged."""
    return panels.CustomChart(
        query={"summaryTable": {"tableKey": f"curve/{key}_table"}},
        chart_name="wandb/lineseries/v0",
        chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
        chart_strings={"title": f"over severity, {key}", "xname": "severity"},
    )


def layout_text(made: Any) -> str:
    """Return a layout as the JSON that W&B keeps of a workspace."""
    text = made._to_model().model_dump_json(by_alias=True, exclude_none=True)
    return json.dumps(json.loads(text), indent=1) + "\n"
