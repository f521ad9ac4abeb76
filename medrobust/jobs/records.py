"""What a job leaves beside its report: plan.json, run.json, and why it failed."""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medrobust.base.safe_files import json_object
from medrobust.base.whole_files import write_whole
from medrobust.evaluation.environment import commit, describe_device, versions
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.extra_cells import Beside
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.run import Done
from medrobust.exceptions import ConfigurationError, StoreError
from medrobust.reporting import ExpectedTable

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


def leave_failure(folder: Path, number: int, reason: str) -> None:
    """Say that a job of a sweep has failed, and keep the reason in its folder.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    log.error("job %d failed: %s", number, reason)
    write_json(folder / "failed.json", {"format": 1, "reason": reason})


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
