"""Where the numbers of a page come from: data sets, models, versions and configurations."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from medrobust.base.licenses import described
from medrobust.base.redaction import without_paths

from .contamination import naming, verdict
from .markup import details, plain_table

if TYPE_CHECKING:
    from .report import Report


ONE_THREAD = re.compile(r"\b1 threads\b")
"""As run.json has it, whatever the number."""


def provenance_html(report: "Report") -> str:
    """Write the section of data sets, models, versions, load reports and configurations."""
    of_images = [m.data for m in report.matrices if m.data.unit == "image"]
    data = {one.fingerprint: one for one in of_images}.values()
    sets = [
        (
            f"{d.name}/{d.split}",
            d.origin,
            described(d.license),
            str(len(d)),
            d.counted,
        )
        for d in data
    ]
    parts = [
        '\n<section aria-labelledby="provenance"><h2 id="provenance">Where this comes from</h2>',
        "<h3>Data sets</h3>",
        plain_table(("data set", "origin", "license", "images", "images a class"), sets),
        "<h3>Models</h3>",
        plain_table(
            ("model", "weights from", "license", "trained on", "keys dropped"), _models(report)
        ),
        '<p class="soft small">Trained on: as the publisher says. What collections scraped from '
        "articles or the web hold (pmc_15m, wit_400m, …) cannot be looked up: a row without ‡ may "
        "still have seen these pictures.</p>",
    ]
    lists = _seen(report)
    if lists:
        parts.append("<h3>Seen in training?</h3>")
        parts.append(plain_table(("model", "data set", "its pictures", "training data"), lists))
        parts.append(f'<p class="soft small">{SEEN}</p>')
    versions = report.run.get("versions") or {}
    facts = [(k, str(report.run[k])) for k in ("device", "commit") if report.run.get(k)]
    facts = [(name, ONE_THREAD.sub("1 thread", value)) for name, value in facts]
    if versions or facts:
        pairs = [*facts, *((str(k), str(v)) for k, v in versions.items())]
        parts.append(details("Versions", plain_table(("part", "version"), pairs)))
    for label, load in _load_reports(report).items():
        text = escape(json.dumps(load, indent=1, sort_keys=True, default=str))
        parts.append(details(f"Load report: {label}", f"<pre>{text}</pre>"))
    for name, config in _configurations(report):
        text = escape(json.dumps(config, indent=1, sort_keys=True, default=str))
        parts.append(details(f"Configuration: {name}", f"<pre>{text}</pre>"))
    return "\n".join([*parts, "</section>"])


SEEN = (
    "Known: the publisher's list names this set or its source. Suspected: it is said to be among "
    "the training data, and no list was read that says so. Not listed: all training data have "
    "lists, and none names it. Unknown: some have no list."
)


def _seen(report: "Report") -> list[tuple[str, ...]]:
    """Say of each model and data set what the lists of its training data tell."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for matrix in report.matrices:
        for place, cell in matrix.cells.items():
            trained = [*((cell.record.get("load_report") or {}).get("trained_on") or ())]
            label, dataset = matrix.rows[place.row].label, cell.data.name
            if trained:
                told = verdict(dataset, trained)
                named = ", ".join(naming(dataset, trained)) or "–"
                found.setdefault((label, dataset), (label, dataset, told, named))
    return list(found.values())


def _models(report: "Report") -> list[tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for matrix in report.matrices:
        for place, cell in matrix.cells.items():
            load = cell.record.get("load_report") or {}
            label = matrix.rows[place.row].label
            source = str(load.get("source") or "unknown")
            dropped = str(len(load.get("dropped") or {}))
            trained = ", ".join(load.get("trained_on") or ()) or "not stated"
            license_ = described(str(load.get("license") or ""))
            found.setdefault(label, (label, source, license_, trained, dropped))
    return list(found.values())


def _load_reports(report: "Report") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for matrix in report.matrices:
        for place, cell in matrix.cells.items():
            if cell.record.get("load_report"):
                found.setdefault(matrix.rows[place.row].label, cell.record["load_report"])
    return found


def _configurations(report: "Report") -> Iterable[tuple[str, Any]]:
    """Yield each different configuration of the cells once, under the model it was first met.

    Where a model has several, as in a sweep, their titles say what differs between them.
    """
    seen: set[str] = set()
    found: dict[str, list[Any]] = {}
    for matrix in report.matrices:
        for place, cell in matrix.cells.items():
            config = without_paths(cell.record.get("config"))
            text = json.dumps(config, sort_keys=True, default=str)
            if config and text not in seen:
                seen.add(text)
                found.setdefault(matrix.rows[place.row].label, []).append(config)
    for label, configs in found.items():
        values = [dict(_leaves(config)) for config in configs]
        told: list[str] = []
        for key in dict.fromkeys(key for one in values for key in one):
            if _distinct(values, [*told, key]) > _distinct(values, told):
                told.append(key)
        for config, one in zip(configs, values, strict=True):
            yield " · ".join((label, *(f"{key}={one[key]}" for key in told if key in one))), config


def _distinct(values: Sequence[Mapping[str, str]], keys: Sequence[str]) -> int:
    return len({tuple(one.get(key) for key in keys) for one in values})


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted key and value of each plain value, lists whole."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value, default=str)
