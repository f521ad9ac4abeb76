"""The joint report of all jobs of a sweep, from what they have left and from the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.evaluation.store import CellSpec, Store
from medrobust.exceptions import StoreError
from medrobust.readings.aggregation import Aggregation
from medrobust.readings.lookup import asked
from medrobust.reporting import ExpectedTable, ReportRequest, build_report, by_variant

from .commands import command_line, reference_command
from .job import Job
from .job_files import failures, left_by_jobs, write_json
from .publish import log_report, publish


@dataclass(frozen=True, slots=True)
class Left:
    """What the jobs of a sweep have left in their folders, in the order of the jobs.

    Attributes:
        plans: Contents of plan.json, of every job that came so far.
        runs: Contents of run.json, of every job that has finished.
        failed: Folder of a job -> why it has failed.
    """

    plans: Sequence[Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]]
    failed: Mapping[str, str]


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
    left = _left_in(sweep.folder)
    if left.plans and left.runs:
        store = _one_store(left.plans)
        run = _sweep_record(sweep, left)
        write_json(sweep.folder / "run.json", run)
        report = build_report(_request(sweep, left, run, store))
        publish(report)
        log_report(sweep, report, run)
    return list(left.failed.values())


def _left_in(folder: Path) -> Left:
    plans, runs = (list(left_by_jobs(folder, name).values()) for name in ("plan.json", "run.json"))
    return Left(plans, runs, failures(folder))


def _one_store(plans: Sequence[Mapping[str, Any]]) -> Store:
    stores = {job_plan["store"] for job_plan in plans}
    if len(stores) > 1:
        raise StoreError(
            f"the jobs of this sweep wrote to {len(stores)} stores, and a report is made from one. "
            f"Make one with `medrobust report STORE` for each."
        )
    return Store(Path(stores.pop()))


def _request(sweep: Job, left: Left, run: Mapping[str, Any], store: Store) -> ReportRequest:
    """Say what the joint report shows."""
    wanted = _of_plans(left.plans, "cells")
    done, validation, sanity = (
        {key: store.read(*key) for key in _of_plans(left.plans, part) if store.holds(*key)}
        for part in ("cells", "validation", "sanity")
    )
    references = {
        table["dataset"]: str(job_plan["reference"])
        for job_plan in left.plans
        for table in job_plan["expected"]
    }
    return ReportRequest(
        store=store,
        cells=list(done.values()),
        expected=join_tables(job_plan["expected"] for job_plan in left.plans),
        folder=sweep.folder,
        run=run,
        reference=references,
        reference_prompts=left.plans[0]["reference_prompts"],
        commands=_commands(sweep, left.plans, references),
        validation=by_variant(list(validation.values())),
        sanity=list(sanity.values()),
        readings=asked(left.runs[0]["config"].get("readings") or {}),
        missing=[spec for spec, print_ in wanted if (spec, print_) not in done],
        aggregations=_aggregations(left.plans),
        notes=[
            *(
                sentence
                for job_run in left.runs
                for part in ("warnings", "protocol")
                for sentence in job_run.get(part, ())
            ),
            *(f"job {name} failed: {reason}" for name, reason in left.failed.items()),
        ],
    )


def _aggregations(plans: Sequence[Mapping[str, Any]]) -> list[Aggregation]:
    """Return what any of the jobs joins images to, each once: a sweep may be over it."""
    asked = [job_plan["aggregate"] for job_plan in plans if job_plan["aggregate"]]
    return list(dict.fromkeys(Aggregation(**one) for one in asked))


def _commands(
    sweep: Job, plans: Sequence[Mapping[str, Any]], references: Mapping[str, str]
) -> dict[str, str]:
    """Return reference model -> what to type to make its cells, of all jobs that ask for it."""
    typed = (*sweep.preset, *sweep.overrides)
    choices = {
        name: [job_plan["choices"] for job_plan in plans if job_plan["reference"] == name]
        for name in references.values()
    }
    return {
        name: reference_command(name, typed, chosen, swept=True, packs=sweep.packs)
        for name, chosen in choices.items()
    }


def _of_plans(plans: Iterable[Mapping[str, Any]], part: str) -> dict[tuple[CellSpec, str], None]:
    """Join the cells that jobs have planned, in order, each once."""
    entries = (entry for job_plan in plans for entry in job_plan[part])
    return {(CellSpec(**entry["cell"]), entry["fingerprint"]): None for entry in entries}


def join_tables(plans: Iterable[Iterable[Mapping[str, Any]]]) -> list[ExpectedTable]:
    """Join what the jobs of a sweep expect: columns and severities in order of first sight."""
    joint: dict[tuple[str, str, str, str], tuple[dict[str, None], dict[int, None]]] = {}
    for tables in plans:
        for table in tables:
            key = (table["dataset"], table["split"], table["task"], table["suite"])
            names, levels = joint.setdefault(key, ({}, {}))
            names.update(dict.fromkeys(table["corruptions"]))
            levels.update(dict.fromkeys(table["severities"]))
    with_columns = {key[:3] for key, (names, _) in joint.items() if names}
    return [
        ExpectedTable(*key[:2], key[3], tuple(names), tuple(sorted(levels)), task=key[2])
        for key, (names, levels) in joint.items()
        if names or key[:3] not in with_columns
    ]


def _sweep_record(sweep: Job, left: Left) -> dict[str, Any]:
    runs = left.runs
    return {
        **runs[0],
        "command": command_line(sweep.overrides, swept=True, packs=sweep.packs),
        "seconds": round(sum(run["seconds"] for run in runs), 2),
        "cells": sum(run["cells"] for run in runs),
        "computed": sum(run["computed"] for run in runs),
        "reference": ", ".join(dict.fromkeys(str(run["reference"]) for run in runs)),
        "jobs": [run["command"] for run in runs],
        "failed": list(left.failed.values()),
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
