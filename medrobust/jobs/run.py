"""One job from experiment to report: prepare, execute, record, report."""

import logging
import time
from dataclasses import dataclass
from itertools import chain
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medrobust.base.once import one_job
from medrobust.base.wording import agreeing, counted
from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.audit_step import audited
from medrobust.evaluation.equalised import records, sentences
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import Beside, beside
from medrobust.evaluation.first_batch import check_images
from medrobust.evaluation.image_cells import image_plans, run_image_cells
from medrobust.evaluation.licensing import check_licenses
from medrobust.evaluation.plan import DatasetPlan, check, plan
from medrobust.evaluation.processes import evaluation_ranks, known_to_all
from medrobust.evaluation.ranks import Ranks
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done, read_cells
from medrobust.evaluation.staleness import warn_of_changes
from medrobust.evaluation.store import Store
from medrobust.readings.lookup import asked
from medrobust.reporting import FilesOnly, ReportRequest, build_report, by_variant

from .commands import command_line, reference_command
from .dry_run import print_dry_job
from .job import Job
from .job_files import write_json
from .publish import log_report, publish
from .records import Tally, expected_tables, plan_record
from .searches import check_searches, run_searches
from .worst_pair import check_pairs

log = logging.getLogger(__name__)

RESOURCES = Resources()
"""Kept between the jobs of one process: models and heads; data sets are opened by each job."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job whose cells are named, and that is ready to run them.

    Attributes:
        experiment: With the adapter that is evaluated.
        plans: The cells of its tables, by data set.
        further: What it runs besides.
        runner: Computes what the store lacks of models' cells.
        of_images: Cells of images and no model, by data set.
        warnings: What the reader of its tables must know of how they were made.
    """

    experiment: Experiment
    plans: tuple[DatasetPlan, ...]
    further: Beside
    runner: CellRunner
    of_images: tuple[DatasetPlan, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        """Where its cells lie."""
        return self.runner.store

    @property
    def all_plans(self) -> list[DatasetPlan]:
        """Everything that models answer, in its order."""
        return [*self.plans, *self.further.plans]

    @property
    def tables(self) -> list[DatasetPlan]:
        """Everything that is a table of the report."""
        return [*self.plans, *self.of_images]


@one_job()
def run_job(experiment: Experiment, job: Job) -> None:
    """Run every cell of a job; then report, or in a sweep say one line.

    Raises:
        MedRobustError: As planning, a cell or the report raises it; finished cells are kept.
    """
    RESOURCES.close_data()
    check_licenses(experiment, RESOURCES)
    _check_units(experiment, job)
    _say_unread_prompts(experiment, job)
    if job.dry:
        print_dry_job(experiment, RESOURCES)
        return
    tally = Tally()
    with evaluation_ranks(_tuned(experiment, job)) as (own, ranks):
        prepared = prepare(own, job, ranks)
        execute(prepared, tally)
    if ranks.rank == 0:
        run = record(prepared, job, tally)
        report(prepared, job, run, tally)


def _readings(experiment: Experiment) -> dict[str, Any]:
    """Return what stored cells are asked further."""
    return asked(experiment.config.get("readings") or {})


def _check_units(experiment: Experiment, job: Job) -> None:
    """Refuse images that cannot be joined or read as asked, before anything is tuned or computed.

    Raises:
        ConfigurationError: As `Aggregation.check` or the settings of a reading raise it.
    """
    checked = [one for one in _readings(experiment).values() if hasattr(one, "check")]
    if checked:
        facts = list(map(RESOURCES.image_set, experiment.data.datasets))
        for settings in checked:
            settings.check(facts)
    if job.aggregation is not None:
        sets = map(RESOURCES.image_set, experiment.data.datasets)
        job.aggregation.check([(one, experiment.model.task.kind) for one in sets])


def _say_unread_prompts(experiment: Experiment, job: Job) -> None:
    """Say that prompt sets were typed for a task that reads none."""
    asked = experiment.model
    typed = any(word.startswith("prompts=") for word in job.overrides)
    if asked.task.reads_prompts or not (typed or asked.further_prompts):
        return
    names = [prompts.name for prompts in asked.prompt_sets]
    told = f"prompts={','.join(names)} {agreeing(len(names), 'is')} not used"
    log.warning("task=%s reads no prompts: %s", asked.task.kind, told)


def _tuned(experiment: Experiment, job: Job) -> Experiment:
    """Make the adapter that is evaluated, or find it in the store."""
    if experiment.model.stage is None:
        return experiment
    check(experiment)

    def curves(*, of: str) -> Any:
        return job.logger.training(folder=job.folder, group=job.group, name=job.name, of=of)

    return adapted(experiment, RESOURCES, Store(experiment.where.store), curves)


def prepare(experiment: Experiment, job: Job, ranks: Ranks) -> Prepared:
    """Name the cells; then, in the first process, look at the images before anything is computed.

    Raises:
        MedRobustError: As planning raises it, or if the model cannot take the images.
    """
    check_searches(_readings(experiment), ranks.world, experiment.model.adapter.methods)
    store = Store(experiment.where.store)
    known = known_to_all(experiment, RESOURCES, store, ranks)
    plans, further = plan(known, RESOURCES), beside(known, RESOURCES)
    if "worst_pair" in (readings := _readings(known)):
        check_pairs(readings["worst_pair"], plans)
    runner = CellRunner(known, RESOURCES, store, ranks)
    if ranks.rank != 0:
        return Prepared(known, tuple(plans), further, runner)
    tables = [*plans, *image_plans(known, plans, RESOURCES)]
    write_json(job.folder / "plan.json", plan_record(known, tables, job, further))
    warnings = check_images(known.model, RESOURCES, plans)
    warn_of_changes(plans, store)
    looked_at, further_looked_at = audited(known.data, plans, further)
    of_images = tuple(image_plans(known, looked_at, RESOURCES))
    return Prepared(known, tuple(looked_at), further_looked_at, runner, of_images, tuple(warnings))


def execute(prepared: Prepared, tally: Tally) -> None:
    """Compute the cells that the store lacks.

    Raises:
        MedRobustError: As a cell raises it that stops the others.
    """
    if prepared.runner.ranks.rank != 0:
        prepared.runner.run(prepared.all_plans)
        return
    run_cells(prepared, tally)
    tally.device = prepared.runner.device


def record(prepared: Prepared, job: Job, tally: Tally) -> dict[str, Any]:
    """Write run.json; return its content.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    experiment = prepared.experiment
    command = command_line(job.overrides, packs=job.packs)
    failed = {cell.name: cell.reason for cell in prepared.runner.failed}
    task = experiment.model.task
    remarks = (task.remarks(plan.image_set) for plan in prepared.plans)
    run = {
        **tally.record(experiment.where.reference, command, experiment.config),
        "without_validation": prepared.further.without_validation,
        "warnings": list(prepared.warnings),
        "protocol": [*experiment.model.adapter.tuned_how, *chain.from_iterable(remarks)],
        "failed_cells": failed,
    }
    if equalised := [each for p in prepared.plans for each in records(p.columns, p.record.name)]:
        run["equalised"] = equalised
    write_json(job.folder / "run.json", run)
    return run


def report(prepared: Prepared, job: Job, run: dict[str, Any], tally: Tally) -> None:
    """Make the tables of a job and publish them; a job of a sweep says one line instead.

    The joint report of the sweep holds the tables: those of its job are made for a logger alone.

    Raises:
        MedRobustError: If cells have failed, once the others are reported; likewise as the report
            or the logger raises it.
    """
    asked_for = request(prepared, job, run)
    if job.group:
        log.info(_one_line(prepared.experiment, job, tally))
    if not (job.group and isinstance(job.logger, FilesOnly)):  # who would see it?
        made = build_report(asked_for)
        if not job.group:
            publish(made)
        log_report(job, made, run)
    prepared.runner.complain()


def request(prepared: Prepared, job: Job, run: dict[str, Any]) -> ReportRequest:
    """Say what the report of a job shows.

    Raises:
        MedRobustError: If no cell is finished.
        StoreError: If a finished cell is damaged.
    """
    experiment, store, runner = prepared.experiment, prepared.store, prepared.runner
    cells = read_cells(store, prepared.tables)
    if not cells:
        runner.complain()
    wanted = {cell.key.spec for dataset in prepared.plans for cell in dataset.cells}
    typed = (*job.preset, *job.overrides)
    name = experiment.where.reference
    to_make = reference_command(name, typed, [job.choices], swept=False, packs=job.packs)
    return ReportRequest(
        store=store,
        cells=cells,
        expected=expected_tables(prepared.tables, experiment.data.severities),
        folder=job.folder,
        run=run,
        reference=name,
        reference_prompts=experiment.where.reference_prompts,
        commands={name: to_make},
        validation=by_variant(read_cells(store, prepared.further.validation)),
        sanity=read_cells(store, prepared.further.sanity),
        readings=_readings(experiment),
        missing=[cell.spec for cell in runner.failed if cell.spec in wanted],
        aggregations=[] if job.aggregation is None else [job.aggregation],
        notes=[
            *run["warnings"],
            *run["protocol"],
            *sentences(prepared.plans),
            *(f"{name} failed: {reason}" for name, reason in run["failed_cells"].items()),
        ],
    )


def run_cells(prepared: Prepared, tally: Tally) -> None:
    """Run the cells under a progress bar, those of images last."""
    runner = prepared.runner
    total = sum(len(one.cells) for one in (*prepared.all_plans, *prepared.of_images))
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells, left:"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(runner.experiment.model.source.name, total=total)

        def on_cell(done: Done) -> None:
            tally.done.append(done)
            bar.update(task, advance=1, description=str(done.cell.key.spec))

        runner.run(prepared.all_plans, on_cell)
        run_searches(prepared, _readings(prepared.experiment), on_cell)
        run_image_cells(prepared.experiment, prepared.of_images, prepared.store, on_cell)


def _one_line(experiment: Experiment, job: Job, tally: Tally) -> str:
    datasets = ", ".join(dict.fromkeys(done.cell.key.spec.dataset for done in tally.done))
    found = len(tally.done) - tally.computed
    return (
        f"job {job.number}: {experiment.model.source.name} on {datasets}: "
        f"{counted(tally.computed, 'cell')} computed, {found} taken from the store, "
        f"{time.time() - tally.started:.1f} s"
    )
