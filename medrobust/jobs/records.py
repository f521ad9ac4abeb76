"""What a job leaves beside its report: plan.json, run.json, and why it failed."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from medrobust.evaluation.environment import commit, describe_device, versions
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import Beside
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.run import Done
from medrobust.reporting import ExpectedTable

from .job import Job

log = logging.getLogger(__name__)


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


def plan_record(
    experiment: Experiment,
    plans: Sequence[DatasetPlan],
    job: Job,
    further: Beside,
) -> dict[str, Any]:
    """Return the content of plan.json: what a joint report needs to know of this job."""
    return {
        "format": 1,
        "store": str(experiment.where.store),
        "reference": experiment.where.reference,
        "reference_prompts": experiment.where.reference_prompts,
        "choices": dict(job.choices),
        "aggregate": None if job.aggregation is None else asdict(job.aggregation),
        "expected": [asdict(table) for table in expected_tables(plans, experiment.data.severities)],
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


def expected_tables(plans: Iterable[DatasetPlan], severities: Sequence[int]) -> list[ExpectedTable]:
    """Say which tables a plan makes: one a data set, suite and task, clean alone without suite."""
    tables = []
    for dataset in plans:
        record = dataset.record
        tasks = dict.fromkeys(cell.key.task for cell in dataset.cells)
        suites = list(dict.fromkeys(str(column.suite) for column in dataset.columns))
        for suite in suites or ["none"]:
            names = tuple(c.name for c in dataset.columns if str(c.suite) == suite)
            levels = tuple(severities) if names else ()
            table = ExpectedTable(record.name, record.split, suite, names, levels)
            tables += [replace(table, task=task) for task in tasks]
    return tables
