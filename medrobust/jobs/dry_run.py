"""What a job would run, and how long it may take; nothing is kept of a short measurement."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich.console import Console

from medrobust.base.split_facts import SplitFacts
from medrobust.base.wording import counted
from medrobust.evaluation.adaptation import adapted, plan_adaptation
from medrobust.evaluation.estimate import estimate
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import beside
from medrobust.evaluation.image_cells import image_plans
from medrobust.evaluation.plan import DatasetPlan, PlannedCell, check, plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.readings.lookup import asked

from .worst_pair import check_pairs


def print_dry_job(experiment: Experiment, resources: Resources) -> None:
    """Print what a job would tune, or the cells that it would run.

    Raises:
        MedRobustError: As planning raises it.
    """
    store = Store(experiment.where.store)
    if experiment.model.stage is None:
        _print_cells(experiment, resources, store)
        return
    check(experiment)
    if _print_tuning(experiment, resources, store):
        _print_cells(adapted(experiment, resources, store), resources, store)


def _print_tuning(experiment: Experiment, resources: Resources, store: Store) -> bool:
    """Say whether the adapter is made already; if not, print what would be trained."""
    wanted = plan_adaptation(experiment, resources, store)
    if experiment.where.resume and wanted.folder.exists():
        return True
    shots = sum(len(one.shots) for one in wanted.drawn)
    sets = ", ".join(one.shots.name for one in wanted.drawn)
    line = (
        f"tune  {experiment.model.source.name} + {wanted.name}: {counted(shots, 'image')} of {sets}"
    )
    Console().print(line, highlight=False)
    Console().print("Its cells are known once it is tuned.", highlight=False)
    return False


def _print_cells(experiment: Experiment, resources: Resources, store: Store) -> None:
    """Print the cells that would run and those that would be skipped, and what they may take."""
    tables = plan(experiment, resources)
    plans = [*tables, *beside(experiment, resources).plans]
    missing = [(dataset, _print_cells_of(dataset, experiment, store)) for dataset in plans]
    run, planned = sum(len(cells) for _, cells in missing), sum(len(p.cells) for p in plans)
    console = Console()
    console.print(f"{counted(run, 'cell')} to run, {planned - run} to skip.", highlight=False)
    for one in image_plans(experiment, tables, resources):
        _print_cells_of(one, experiment, store)
    if run:
        estimated = str(estimate(experiment, resources, missing))
        console.print(estimated, highlight=False, soft_wrap=True)
    readings = experiment.config.get("readings") or {}
    if "robustness_radius" in readings:
        line = "Cells between severities are known once those are computed: 3 to 9 a corruption."
        console.print(line, highlight=False, soft_wrap=True)
    if "worst_pair" in readings:
        settings = asked(readings)["worst_pair"]
        check_pairs(settings, tables)
        count = counted(settings.budget, "pair")
        line = f"Then up to {count} of corruptions are tried for each row."
        console.print(line, highlight=False, soft_wrap=True)


def _print_cells_of(
    dataset: DatasetPlan, experiment: Experiment, store: Store
) -> Sequence[PlannedCell]:
    """Print a line a cell of one data set; return those that would run."""
    console = Console()
    console.print(contents(dataset.record), markup=False, highlight=False, soft_wrap=True)
    to_run = []
    rows = Counter(cell.key.spec for cell in dataset.cells)
    for cell in dataset.cells:
        skip = experiment.where.resume and store.has(cell.key)
        to_run += [] if skip else [cell]
        name = cell.key.head.get("name") if rows[cell.key.spec] > 1 else None
        line = f"{'skip' if skip else 'run ':>4}  {cell.key.spec}"
        console.print(f"{line} · {name}" if name else line, highlight=False)
    return to_run


def contents(data: SplitFacts) -> str:
    """Count a split: "ward/test: 120 images, 60 patients, normal 74, pneumonia 46"."""
    parts = [counted(len(data), "image")]
    if data.groups is not None:
        parts.append(counted(len(np.unique(data.groups)), "patient"))
    return f"{data.name}/{data.split}: {', '.join(filter(None, (*parts, data.counted)))}"
