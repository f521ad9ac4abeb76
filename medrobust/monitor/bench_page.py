"""What the bench has found, as a table for machines and a page for people."""

import json
from collections.abc import Sequence
from html import escape
from math import exp
from pathlib import Path

import numpy as np

from medrobust.base.whole_files import write_whole
from medrobust.metrics.drift.detectors import LARGEST
from medrobust.reporting.markup import plain_table
from medrobust.reporting.tables import csv_bytes, number

from .bench import Bench, Noticed, summary
from .page import document

COLUMNS = (
    "change", "severity", "prevalence", "statistic", "detector", "power", "delay_days",
    "delay_low", "delay_high", "delay_studies", "false_alarms", "accuracy", "accuracy_changed",
    "accuracy_lost", "wrong_before_alarm",
)  # fmt: skip

OF = ("window", "budget", "per_day", "reference")
"""Of a bench, what bench.json keeps beside the model and data set."""


def write_bench(folder: Path, found: Sequence[Noticed], bench: Bench, about: str) -> Path:
    """Write bench.csv, bench.json (what it is of) and bench.html; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "bench.csv", csv_bytes(list(map(csv_row, found)), COLUMNS), lasting=False)
    of = {"about": about, **{name: getattr(bench, name) for name in OF}}
    write_whole(folder / "bench.json", f"{json.dumps(of, indent=1)}\n".encode(), lasting=False)
    page = folder / "bench.html"
    write_whole(page, bench_html(found, bench, about).encode(), lasting=False)
    return page


def csv_row(one: Noticed) -> dict[str, str]:
    """Return the row of bench.csv."""
    return {
        "change": one.change,
        "severity": str(one.severity),
        "prevalence": number(one.prevalence),
        "statistic": one.statistic,
        "detector": one.detector,
        "power": number(one.power),
        "delay_days": number(one.delay),
        "delay_low": number(one.low),
        "delay_high": number(one.high),
        "delay_studies": number(one.studies),
        "false_alarms": str(one.false_alarms),
        "accuracy": number(one.accuracy),
        "accuracy_changed": number(one.changed),
        "accuracy_lost": number(one.accuracy - one.changed),
        "wrong_before_alarm": number(one.wrong),
    }


def bench_html(found: Sequence[Noticed], bench: Bench, about: str) -> str:
    """Write the page."""
    detectors = list(dict.fromkeys(one.detector for one in found))
    chosen = "ewma" if "ewma" in detectors else detectors[0]
    chance = 1 - exp(-bench.days / bench.budget)
    explained = (
        f"{about} Streams of {bench.per_day} studies a day are drawn from clean images; from one "
        f"day on a share of them is corrupted. Reference: {bench.reference} studies; windows of "
        f"{bench.window} days; limits with one false alarm in {bench.budget:g} days "
        f"({bench.budget * bench.per_day:,.0f} studies), the same for every statistic and "
        f"detector. Days to the alarm, median of {bench.streams} streams, and studies in brackets; "
        f'"not seen" where fewer than half noticed in {bench.days} days, with the share that did '
        f"({100 * chance:.0f} % by chance). Patients and days that are unlike are not simulated."
    )
    parts = [f"<h1>How soon would I notice?</h1><p>{escape(explained)}</p>"]
    known = summary(found, chosen)
    for prevalence in dict.fromkeys(one.prevalence for one in found):
        parts.append(f"<h2>{100 * prevalence:g} % of studies</h2>")
        own = {key[:2]: one for key, one in known.items() if key[2] == prevalence}
        parts.append("<h3>Days to the alarm (studies)</h3>" + _matrix(own, _delay))
        parts.append(
            "<h3>Error of the stream; points lost; wrong until the alarm, beyond clean</h3>"
        )
        parts.append(_matrix(own, _lost))
    parts.append("<h2>Statistics and detectors</h2>")
    parts.append(_compared(found, detectors))
    return document("How soon would I notice?", "".join(parts))


def _matrix(known: dict[tuple[str, int], Noticed], write: "object") -> str:
    assert callable(write)
    levels = sorted({severity for _, severity in known if severity})
    names = dict.fromkeys(name for name, severity in known if severity)
    head = ["change", *(f"severity {level}" for level in levels)]
    rows = [
        [name, *(write(known[name, level]) if (name, level) in known else "" for level in levels)]
        for name in names
    ]
    rows += [
        [f"{name} (no corruption)", write(one), *[""] * (len(levels) - 1)]
        for (name, severity), one in known.items()
        if not severity
    ]
    return plain_table(head, rows, tight=True)


def _delay(one: Noticed) -> str:
    if one.delay is None or one.studies is None:
        return f"not seen ({100 * one.power:.0f} %)"
    return f"{one.delay:.0f} d ({one.studies:.0f})"


def _lost(one: Noticed) -> str:
    wrong = "–" if one.wrong is None else f"{max(one.wrong, 0.0):.0f}"
    lost = 100 * (one.accuracy - one.changed)
    return f"{100 * (1 - one.changed):.1f} % ({lost:+.1f}); {wrong}"


def _compared(found: Sequence[Noticed], detectors: Sequence[str]) -> str:
    """Tabulate the share of changes that each statistic and detector noticed, and how soon."""
    statistics = list(dict.fromkeys(one.statistic for one in found))
    rows = []
    for name in [LARGEST, *(s for s in statistics if s != LARGEST)]:
        cells = []
        for detector in detectors:
            own = [one for one in found if (one.statistic, one.detector) == (name, detector)]
            seen = [one.delay for one in own if one.delay is not None]
            shown = f"; {np.median(seen):.0f} d" if seen else ""
            cells.append(f"{100 * len(seen) / len(own):.0f} %{shown}" if own else "–")
        rows.append([name, *cells])
    note = "Share of all changes that half of the streams noticed; median delay of these."
    table = plain_table(("statistic", *detectors), rows, tight=True)
    return f'<p class="soft small">{note}</p>{table}'
