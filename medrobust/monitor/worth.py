"""What a monitor's numbers are worth, as corruptions have shown it: tables of bench and readings.

`bench.csv` says how soon a change is noticed, `label_free.csv` (`readings=label_free`) by how much
accuracy estimated without labels errs on corrupted cells.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.drift.detectors import detector_of

ESTIMATES = {"atc": "atc_mc", "doc": "doc", "no change": "no_change"}
"""Estimate of a monitor -> method of label_free.csv."""


@dataclass(frozen=True, slots=True)
class Errors:
    """How far estimates of accuracy lay from the truth.

    Attributes:
        mean: Mean absolute error.
        worst: Largest.
        where: The cell of the largest.
        cells: How many.
    """

    mean: float
    worst: float
    where: str
    cells: int


def errors_of(file: Path) -> Mapping[str, Errors]:
    """Read label_free.csv: "atc", "doc", "no change" -> errors over its corrupted cells.

    Raises:
        InvalidDataError: If it is no such table.
    """
    rows = _rows(file, ("metric", "method", "estimate", "truth", "corruption", "severity"))
    found = {}
    for name, method in ESTIMATES.items():
        known = [
            (abs(float(r["estimate"]) - float(r["truth"])), f"{r['corruption']} {r['severity']}")
            for r in rows
            if (r["metric"], r["method"]) == ("accuracy", method)
            and r["severity"] != "0"
            and r["estimate"]
            and r["truth"]
        ]
        if known:
            worst = max(known)
            found[name] = Errors(sum(e for e, _ in known) / len(known), *worst, len(known))
    return found


def delays_of(file: Path, detector: str) -> list[tuple[str, ...]]:
    """Read bench.csv: change, severity, share of studies, days, studies, error, wrong answers.

    Args:
        file: Written by `medrobust monitor bench`.
        detector: Of the monitor; all rows are of the statistic that it follows.

    Raises:
        InvalidDataError: If it is no such table, or does not have the detector.
    """
    rows = _rows(file, ("change", "statistic", "detector", "delay_days", "accuracy_changed"))
    follows = detector_of(detector).follows
    own = [r for r in rows if r["statistic"] == follows and r["detector"] == detector]
    if not own:
        raise InvalidDataError(
            f"{file} has no row of {detector}, which this monitor runs: medrobust monitor bench "
            f"--detector {detector}."
        )
    return [
        (
            row["change"],
            row["severity"] if row["severity"] != "0" else "–",
            f"{100 * float(row['prevalence']):g} %",
            f"{float(row['delay_days']):.0f} d" if row["delay_days"] else "not seen",
            f"{float(row['delay_studies']):.0f}" if row["delay_studies"] else "–",
            f"{100 * (1 - float(row['accuracy_changed'])):.1f} %",
            f"{max(float(row['wrong_before_alarm']), 0):.0f}" if row["wrong_before_alarm"] else "–",
        )
        for row in own
    ]


def bench_words(file: Path, record: Mapping[str, Any]) -> str:
    """Say what a bench is of, from bench.json beside it, and what this monitor is of.

    Args:
        file: bench.csv.
        record: Of the monitor.

    Raises:
        InvalidDataError: If bench.json is no such file.
    """
    settings, beside = record["settings"], file.with_suffix(".json")
    own = (
        f"This monitor: windows of {settings['window']} days, one false alarm in "
        f"{settings['budget']:g} days, {record['standard']['studies']:.0f} studies a day."
    )
    if not beside.exists():
        return (
            f"Of which model, window, budget and studies a day this bench is, is not known. {own}"
        )
    try:
        known = json.loads(beside.read_text(encoding="utf-8"))
        return (
            f"Bench of {known['about']} Windows of {known['window']} days, one false alarm in "
            f"{known['budget']:g} days, {known['per_day']} studies a day, a reference of "
            f"{known['reference']:,} studies. {own}"
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(
            f"{beside} is not what medrobust monitor bench wrote beside {file.name}: run it again."
        ) from error


def _rows(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(f"{file} cannot be read ({error}).") from error
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise InvalidDataError(f"{file} has no column {missing[0]!r}: it is another table.")
    return rows
