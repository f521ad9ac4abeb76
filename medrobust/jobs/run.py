"""One job from experiment to report, and the joint report of a sweep."""

import json
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medrobust.adapters import NoAdapter
from medrobust.base.once import one_job
from medrobust.base.safe_files import json_object
from medrobust.base.whole_files import write_whole
from medrobust.base.wording import counted
from medrobust.evaluation.adaptation import adapted, plan_adaptation
from medrobust.evaluation.audit_step import audited
from medrobust.evaluation.environment import commit, describe_device, versions
from medrobust.evaluation.estimate import estimate
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import Beside, beside
from medrobust.evaluation.first_batch import check_images
from medrobust.evaluation.licensing import check_licenses
from medrobust.evaluation.plan import DatasetPlan, PlannedCell, check, plan
from medrobust.evaluation.processes import evaluation_ranks, known_to_all
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done
from medrobust.evaluation.staleness import warn_of_changes
from medrobust.evaluation.store import CellSpec, DataRecord, Store, StoredCell
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError
from medrobust.reporting import (
    ExpectedTable,
    References,
    Report,
    by_variant,
    draw_files,
    make_report,
    published_files,
    reference_cells,
    reference_of,
    reference_title,
    untuned_cells,
    write_files,
)

if TYPE_CHECKING:
    from medrobust.reporting import RunLogger

log = logging.getLogger(__name__)

RESOURCES = Resources()
"""Kept between the jobs of one process."""


@dataclass(frozen=True, slots=True)
class Job:
    """Where and how one job was started.

    Attributes:
        folder: Output folder of the job.
        logger: Gets the report when the job is done.
        overrides: What was typed, without the program's name.
        choices: Config group -> option.
        preset: What an experiment file sets beside its choices, as it would be typed.
        packs: Folders given by `--config-dir`.
        number: Of the job in its sweep, None outside a sweep.
        group: Name of the sweep, None outside a sweep; a sweep as a whole has a group and no
            number.
        dry: Print what would run, and run nothing.
    """

    folder: Path
    logger: "RunLogger"
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    preset: tuple[str, ...] = ()
    packs: tuple[Path, ...] = ()
    number: int | None = None
    group: str | None = None
    dry: bool = False


@dataclass(slots=True)
class Tally:
    """What a job has done so far."""

    done: list[Done] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    device: str = field(default_factory=describe_device)

    @property
    def computed(self) -> int:
        """Cells that were computed; the others were found."""
        return sum(cell.computed for cell in self.done)

    def record(
        self, reference: str | None, command: str, config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the content of run.json: what may differ between two equal runs."""
        return {
            "format": 1,
            "command": command,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.started, 2),
            "cells": len(self.done),
            "computed": self.computed,
            "reference": reference,
            "versions": versions(),
            "device": self.device,
            "commit": commit(),
            "config": dict(config),
        }


def command_line(
    overrides: Sequence[str], *, swept: bool = False, packs: Sequence[Path] = ()
) -> str:
    """Write a command that can be pasted into a shell."""
    words = [*(f"--config-dir={pack}" for pack in packs), *overrides]
    return " ".join(["python run.py", *(["-m"] if swept else []), *map(shlex.quote, words)])


def reference_command(
    reference: str,
    overrides: Sequence[str],
    choices: Sequence[Mapping[str, str]],
    *,
    swept: bool,
    packs: Sequence[Path] = (),
) -> str:
    """Say what to type to run the reference model on the same cells.

    Args:
        reference: Name of the reference model.
        overrides: What an experiment file sets, and what was typed, for this job or sweep.
        choices: Config group -> option, of each job.
        swept: Whether it was a sweep.
        packs: Folders given by `--config-dir`, which may hold the reference.
    """
    of_the_model = (
        "model",
        "experiment",
        "prompts",
        "reference",
        "reference_prompts",
        "adapter",
        "task",
        "logger",
    )
    kept = [
        text
        for text in overrides
        if re.split(r"[=.@]", text.lstrip("+~"))[0] not in of_the_model
        and not text.startswith(("dataset=", "hydra.run.", "hydra.sweep."))
    ]
    last = {text.split("=")[0]: text for text in kept}  # what is typed goes before a file
    named, kept = set(last), list(last.values())
    implied = [
        f"{group}="
        + ",".join(dict.fromkeys(chosen[group] for chosen in choices if group in chosen))
        for group in ("dataset", "corruption", "severity")
        if group not in named and any(group in chosen for chosen in choices)
    ]
    several = swept or any("," in text for text in implied)
    return command_line([f"model={reference}", *implied, *kept], swept=several, packs=packs)


@one_job()
def run_job(experiment: Experiment, job: Job) -> None:
    """Run every cell of a job; then report, or in a sweep say one line.

    Raises:
        MedRobustError: As planning, a cell or the report raises it; finished cells are kept.
    """
    tally = Tally()
    store = Store(experiment.store)
    check_licenses(experiment, RESOURCES)
    if experiment.tuning is not None:
        check(experiment)
        if job.dry and not print_dry_adaptation(experiment, store):
            return
        place = {"folder": job.folder, "group": job.group, "name": _run_name(job)}
        curves = partial(job.logger.training, **place)
        experiment = adapted(experiment, RESOURCES, store, curves)
    if job.dry:
        plans, further = plan(experiment, RESOURCES), beside(experiment, RESOURCES)
        print_dry_run([*plans, *further.plans], store, experiment)
        return
    with evaluation_ranks(experiment) as (own, ranks):
        own = known_to_all(own, RESOURCES, store, ranks)
        plans, further = plan(own, RESOURCES), beside(own, RESOURCES)
        runner = CellRunner(own, RESOURCES, store, ranks)
        if ranks.rank != 0:
            runner.run([*plans, *further.plans])
            return
        write_json(job.folder / "plan.json", plan_record(own, plans, job.choices, further))
        warnings = check_images(own, RESOURCES, plans)
        warn_of_changes(plans, store)
        plans, further = audited(own, plans, further)
        run_cells(runner, [*plans, *further.plans], tally)
    experiment = own
    tally.device = runner.device
    command = command_line(job.overrides, packs=job.packs)
    run = tally.record(experiment.reference, command, experiment.config)
    run["without_validation"] = further.without_validation
    run["warnings"] = warnings
    run["protocol"] = list(getattr(own.adapter, "protocol", ()))
    run["failed_cells"] = {str(spec): reason for spec, reason in runner.failed.items()}
    write_json(job.folder / "run.json", run)
    cells = read_cells(store, plans)
    if not cells:
        runner.complain()
    wanted = {cell.key.spec for dataset in plans for cell in dataset.cells}
    report = report_cells(
        store,
        cells,
        expected_tables(plans, experiment.severities),
        validation=read_cells(store, further.validation),
        sanity=read_cells(store, further.sanity),
        reference=experiment.reference,
        reference_prompts=experiment.reference_prompts,
        commands={
            experiment.reference: reference_command(
                experiment.reference,
                (*job.preset, *job.overrides),
                [job.choices],
                swept=False,
                packs=job.packs,
            )
        },
        run=run,
        folder=job.folder,
        missing=[spec for spec in runner.failed if spec in wanted],
        notes=[
            *warnings,
            *run["protocol"],
            *(f"{spec} failed: {reason}" for spec, reason in runner.failed.items()),
        ],
    )
    if job.group:
        log.info(_one_line(experiment, job, tally))
    else:
        publish(report)
    log_report(job, report, run, _run_name(job))
    runner.complain()


def log_report(job: Job, report: Report, run: Mapping[str, Any], name: str) -> None:
    """Send a report to the logger; the report's own files are written already.

    Raises:
        MedRobustError: If the logger fails, whatever it raises.
    """
    try:
        job.logger.log(report, run=run, group=job.group, name=name)
    except MedRobustError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MedRobustError(
            f"the report is in {os.path.relpath(report.folder)}, and the logger failed: {reason}"
        ) from error


def leave_failure(folder: Path, number: int, reason: str) -> None:
    """Say that a job of a sweep has failed, and keep the reason in its folder.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    log.error("job %d failed: %s", number, reason)
    write_json(folder / "failed.json", {"format": 1, "reason": reason})


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


def run_cells(runner: CellRunner, plans: Sequence[DatasetPlan], tally: Tally) -> None:
    """Run the cells under a progress bar."""
    total = sum(len(dataset.cells) for dataset in plans)
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
        task = bar.add_task(runner.experiment.model.name, total=total)

        def told(done: Done) -> None:
            tally.done.append(done)
            bar.update(task, advance=1, description=str(done.cell.key.spec))

        runner.run(plans, told)


def read_cells(store: Store, plans: Sequence[DatasetPlan]) -> list[StoredCell]:
    """Read the cells of plans, in their order; those that failed are left out."""
    keys = (cell.key for dataset in plans for cell in dataset.cells)
    known = ((key.spec, key.fingerprint) for key in keys)
    return [store.read(*names) for names in known if store.holds(*names)]


def report_cells(
    store: Store,
    cells: Sequence[StoredCell],
    expected: Sequence[ExpectedTable],
    *,
    reference: References,
    commands: Mapping[str, str],
    run: Mapping[str, Any],
    folder: Path,
    reference_prompts: str | None = None,
    validation: Sequence[StoredCell] = (),
    sanity: Sequence[StoredCell] = (),
    missing: Sequence[CellSpec] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Lay out the tables of cells beside the reference's.

    Args:
        store: Where the cells lie.
        cells: Finished ones, in plan order.
        expected: Tables, in plan order.
        reference: One reference model, or one for each data set.
        commands: Reference model -> what makes its cells.
        run: Content of run.json.
        folder: Of the report.
        reference_prompts: Prompt set of the reference; None: the one of each cell, or the only one.
        validation: Clean validation cells, for operating points and temperature.
        sanity: Cells of images that show nothing.
        missing: Planned cells that are not finished.
        notes: Lines for the reader.

    Raises:
        StoreError: If a cell of the reference is damaged.
    """
    found: list[StoredCell] = []
    said = list(notes)
    corrupted = {table.dataset for table in expected if table.corruptions}
    for name, command in commands.items():
        own = [
            c
            for c in cells
            if c.spec.dataset in corrupted and reference_of(reference, c.spec.dataset) == name
        ]
        of_it, note = reference_cells(store, own, name, command=command, prompts=reference_prompts)
        found += of_it
        said += [note] if note else []
    published, lacking = untuned_cells(store, cells)
    return make_report(
        cells,
        expected=expected,
        missing=missing,
        reference=_titled(reference, reference_prompts),
        reference_cells=found,
        notes=[*said, *lacking],
        folder=folder,
        run=dict(run),
        validation=by_variant(validation),
        sanity=sanity,
        features=store.read_features,
        untuned=published,
    )


def _titled(reference: References, prompts: str | None) -> References:
    if isinstance(reference, Mapping):
        return {
            dataset: name and reference_title(name, prompts) for dataset, name in reference.items()
        }
    return reference and reference_title(reference, prompts)


def expected_tables(plans: Iterable[DatasetPlan], severities: Sequence[int]) -> list[ExpectedTable]:
    """Say which tables a plan makes: one a data set and suite, clean alone without a suite."""
    tables = []
    for dataset in plans:
        suites = list(dict.fromkeys(str(column.suite) for column in dataset.columns))
        for suite in suites or ["none"]:
            names = tuple(c.name for c in dataset.columns if str(c.suite) == suite)
            levels = tuple(severities) if names else ()
            record = dataset.record
            tables.append(ExpectedTable(record.name, record.split, suite, names, levels))
    return tables


def plan_record(
    experiment: Experiment,
    plans: Sequence[DatasetPlan],
    choices: Mapping[str, str],
    further: Beside,
) -> dict[str, Any]:
    """Return the content of plan.json: what a joint report needs to know of this job."""
    return {
        "format": 1,
        "store": str(experiment.store),
        "reference": experiment.reference,
        "reference_prompts": experiment.reference_prompts,
        "choices": dict(choices),
        "expected": [asdict(table) for table in expected_tables(plans, experiment.severities)],
        "cells": _named_cells(plans),
        "validation": _named_cells(further.validation),
        "sanity": _named_cells(further.sanity),
    }


def _named_cells(plans: Sequence[DatasetPlan]) -> list[dict[str, Any]]:
    return [
        {"cell": asdict(cell.key.spec), "fingerprint": cell.key.fingerprint}
        for dataset in plans
        for cell in dataset.cells
    ]


def report_sweep(sweep: Job) -> list[str]:
    """Make one matrix and one report of all jobs of a sweep, from the store.

    Args:
        sweep: The sweep as a job: its folder has those of its jobs, which left plan.json and
            run.json; its overrides are what was typed.

    Returns:
        Why jobs have failed, one sentence each. Cells that they had planned are counted as
        missing; jobs that failed before that are named in the report.

    Raises:
        StoreError: If a cell that a job has finished is damaged, or lies in another store.
    """
    plans = [read_json(path) for path in _of_jobs(sweep.folder, "plan.json")]
    runs = [read_json(path) for path in _of_jobs(sweep.folder, "run.json")]
    failed = {
        path.parent.name: str(read_json(path)["reason"])
        for path in _of_jobs(sweep.folder, "failed.json")
    }
    if not plans or not runs:
        return list(failed.values())
    stores = {job_plan["store"] for job_plan in plans}
    if len(stores) > 1:
        raise StoreError(
            f"the jobs of this sweep wrote to {len(stores)} stores, and a report is made from one. "
            f"Make one with scripts/report.py for each."
        )
    store = Store(Path(stores.pop()))
    wanted = _of_plans(plans, "cells")
    done, validation, sanity = (
        {key: store.read(*key) for key in _of_plans(plans, part) if store.holds(*key)}
        for part in ("cells", "validation", "sanity")
    )
    references = {
        table["dataset"]: str(job_plan["reference"])
        for job_plan in plans
        for table in job_plan["expected"]
    }
    choices = {
        name: [job_plan["choices"] for job_plan in plans if job_plan["reference"] == name]
        for name in references.values()
    }
    run = _sweep_record(sweep, runs, list(failed.values()))
    write_json(sweep.folder / "run.json", run)
    report = report_cells(
        store,
        list(done.values()),
        join_tables(job_plan["expected"] for job_plan in plans),
        reference=references,
        commands={
            name: reference_command(
                name, (*sweep.preset, *sweep.overrides), chosen, swept=True, packs=sweep.packs
            )
            for name, chosen in choices.items()
        },
        run=run,
        folder=sweep.folder,
        reference_prompts=plans[0]["reference_prompts"],
        validation=list(validation.values()),
        sanity=list(sanity.values()),
        missing=[spec for spec, print_ in wanted if (spec, print_) not in done],
        notes=[
            *(
                sentence
                for job_run in runs
                for part in ("warnings", "protocol")
                for sentence in job_run.get(part, ())
            ),
            *(f"job {name} failed: {reason}" for name, reason in failed.items()),
        ],
    )
    publish(report)
    log_report(sweep, report, run, f"{sweep.group}-summary")
    return list(failed.values())


def _of_plans(plans: Iterable[Mapping[str, Any]], part: str) -> dict[tuple[CellSpec, str], None]:
    """Join the cells that jobs have planned, in order, each once."""
    entries = (entry for job_plan in plans for entry in job_plan[part])
    return {(CellSpec(**entry["cell"]), entry["fingerprint"]): None for entry in entries}


def _of_jobs(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"*/{name}"), key=lambda path: _job_number(path.parent))


def join_tables(plans: Iterable[Iterable[Mapping[str, Any]]]) -> list[ExpectedTable]:
    """Join what the jobs of a sweep expect: columns and severities in order of first sight."""
    joint: dict[tuple[str, str, str], tuple[dict[str, None], dict[int, None]]] = {}
    for tables in plans:
        for table in tables:
            key = (table["dataset"], table["split"], table["suite"])
            names, levels = joint.setdefault(key, ({}, {}))
            names.update(dict.fromkeys(table["corruptions"]))
            levels.update(dict.fromkeys(table["severities"]))
    with_columns = {key[:2] for key, (names, _) in joint.items() if names}
    return [
        ExpectedTable(*key, tuple(names), tuple(sorted(levels)))
        for key, (names, levels) in joint.items()
        if names or key[:2] not in with_columns
    ]


def _sweep_record(
    sweep: Job, runs: Sequence[Mapping[str, Any]], failed: Sequence[str]
) -> dict[str, Any]:
    return {
        **runs[0],
        "command": command_line(sweep.overrides, swept=True, packs=sweep.packs),
        "seconds": round(sum(run["seconds"] for run in runs), 2),
        "cells": sum(run["cells"] for run in runs),
        "computed": sum(run["computed"] for run in runs),
        "reference": ", ".join(dict.fromkeys(str(run["reference"]) for run in runs)),
        "jobs": [run["command"] for run in runs],
        "failed": list(failed),
        "without_validation": {
            name: why for run in runs for name, why in run["without_validation"].items()
        },
        "config": joint_configuration([run["config"] for run in runs]),
    }


def joint_configuration(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the configurations of jobs: what differs between them becomes the list of its values.

    Example:
        >>> joint_configuration([{"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}])
        {'a': 1, 'b': {'c': [2, 3]}}
    """
    joint: dict[str, Any] = {}
    for key in dict.fromkeys(key for config in configs for key in config):
        values = [config.get(key) for config in configs]
        if all(isinstance(value, Mapping) for value in values):
            joint[key] = joint_configuration([value for value in values if value is not None])
            continue
        distinct = [v for i, v in enumerate(values) if v not in values[:i]]
        joint[key] = distinct[0] if len(distinct) == 1 else distinct
    return joint


def _job_number(folder: Path) -> tuple[int, str]:
    number = folder.name.split(",")[0]
    return (int(number) if number.isdigit() else sys.maxsize, folder.name)


def _run_name(job: Job) -> str:
    return f"{job.group}-{job.folder.name}" if job.group else job.folder.name


def _one_line(experiment: Experiment, job: Job, tally: Tally) -> str:
    datasets = ", ".join(dict.fromkeys(done.cell.key.spec.dataset for done in tally.done))
    found = len(tally.done) - tally.computed
    return (
        f"job {job.number}: {experiment.model.name} on {datasets}: "
        f"{counted(tally.computed, 'cell')} computed, {found} taken from the store, "
        f"{time.time() - tally.started:.1f} s"
    )


def print_dry_adaptation(experiment: Experiment, store: Store) -> bool:
    """Say whether the adapter is made already; if not, print what would be trained."""
    if isinstance(experiment.adapter, NoAdapter) and experiment.adapter.baseline:
        return True
    wanted = plan_adaptation(experiment, RESOURCES, store)
    if wanted.folder.exists():
        return True
    shots = sum(len(one.shots) for one in wanted.drawn)
    sets = ", ".join(one.shots.name for one in wanted.drawn)
    line = f"tune  {experiment.model.name} + {wanted.name}: {counted(shots, 'image')} of {sets}"
    Console().print(line, highlight=False)
    Console().print("Its cells are known once it is tuned.", highlight=False)
    return False


def print_dry_run(plans: Sequence[DatasetPlan], store: Store, experiment: Experiment) -> None:
    """Print the cells that would run and those that would be skipped, and what they may take."""
    console = Console()
    missing: list[tuple[DatasetPlan, list[PlannedCell]]] = []
    for dataset in plans:
        console.print(contents(dataset.record), markup=False, highlight=False, soft_wrap=True)
        to_run = []
        for cell in dataset.cells:
            skip = experiment.resume and store.has(cell.key)
            to_run += [] if skip else [cell]
            prompts = cell.key.head.get("name") if experiment.further_prompts else None
            line = f"{'skip' if skip else 'run ':>4}  {cell.key.spec}"
            console.print(f"{line} · {prompts}" if prompts else line, highlight=False)
        missing.append((dataset, to_run))
    run, planned = sum(len(cells) for _, cells in missing), sum(len(p.cells) for p in plans)
    console.print(f"{counted(run, 'cell')} to run, {planned - run} to skip.", highlight=False)
    if run:
        estimated = str(estimate(experiment, RESOURCES, missing))
        console.print(estimated, highlight=False, soft_wrap=True)


def contents(data: DataRecord) -> str:
    """Count a split: "ward/test: 120 images, 60 patients, normal 74, pneumonia 46"."""
    parts = [counted(len(data.labels), "image")]
    if data.groups is not None:
        parts.append(counted(len(np.unique(data.groups)), "patient"))
    return f"{data.name}/{data.split}: {', '.join((*parts, data.counted))}"


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
