"""The page of a monitor: control chart, contributions of streams, one file without requests."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medrobust.base.whole_files import write_whole
from medrobust.base.wording import counted
from medrobust.exceptions import InvalidDataError, StoreError
from medrobust.reporting.markup import details, plain_table

from .folder import MonitorFolder
from .limit_words import few_patients_words, followed_words, limit_words, silent_words
from .pictures import shown
from .streams import NO_CONFIDENCE, above_one
from .studies import day_text
from .worth import Errors, bench_words, delays_of, errors_of

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
WIDTH, HEIGHT, LEFT = 760, 220, 46
CHARTS = 12
"""Streams that are charted, those that were farthest from clean first."""

Windows = Sequence[Mapping[str, Any]]


def write_page(
    place: Path, out: Path, *, bench: Path | None = None, label_free: Path | None = None
) -> Path:
    """Write the page of a monitor; return where it is.

    Args:
        place: Folder of the monitor.
        out: The page.
        bench: bench.csv of a bench of the same model: how soon changes would be noticed.
        label_free: label_free.csv of its cells: how far estimates of accuracy erred there.

    Raises:
        InvalidDataError: If a table is not what it should be, or says nothing of this monitor.
        StoreError: If there is no monitor, or the disk does not take the page.
    """
    folder = MonitorFolder(place)
    record = folder.record()
    if bench and record["recipe"] != "default":
        raise InvalidDataError(
            f"a bench is of the default recipe, and {place} runs {record['recipe']}: leave --bench "
            f"out."
        )
    if label_free and not record.get("digester", {}).get("confidence"):
        raise InvalidDataError(
            f"{place} estimates no accuracy, having no labels of its reference: leave --label-free "
            f"out."
        )
    windows: Windows = folder.read("windows.json") or []
    status: Mapping[str, Any] = folder.read("status.json") or {}
    body = page(
        record,
        windows,
        status,
        errors=errors_of(label_free) if label_free else {},
        delays=delays_of(bench, record["settings"]["detector"]) if bench else [],
        benched=bench_words(bench, record) if bench else "",
        pictures=shown(place),
    )
    try:
        write_whole(out, body.encode(), lasting=False)
    except OSError as error:
        raise StoreError(f"{out} cannot be written ({error}).") from error
    return out


def page(
    record: Mapping[str, Any],
    windows: Windows,
    status: Mapping[str, Any],
    *,
    errors: Mapping[str, Errors] = MappingProxyType({}),
    delays: Sequence[Sequence[str]] = (),
    benched: str = "",
    pictures: Sequence[tuple[str, str, float, str]] = (),
) -> str:
    """Write the page."""
    body = [
        f"<h1>Monitor · {escape(_verdict(status))}</h1>",
        f"<p>{escape(_about(record, status))}</p>",
        _unified(record, windows),
        _alarms(status),
        _notes(status),
        _accuracy(record, windows, errors),
        _streams(record, windows),
        _pictures(pictures),
        _delays(delays, benched),
        f'<p class="soft small">{escape(MEANING)}</p>',
    ]
    return document("Monitor", "".join(body))


def document(title: str, body: str) -> str:
    """Write a page around its body: the style of reports, and no request leaves it."""
    style = resources.files("medrobust.reporting").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


MEANING = (
    "An alarm says that recent studies differ from the reference by more than clean studies of "
    "this site do as often as the budget allows. It does not say that the model errs more: look "
    "at the streams that contribute, and at studies, before anything is changed. No alarm does not "
    "say that nothing has changed."
)


def _verdict(status: Mapping[str, Any]) -> str:
    if not status or status["day"] is None:
        return "no window has enough studies yet"
    if status["alarm"] and status.get("acknowledged"):
        return f"alarm since {status['since']}, acknowledged"
    if status["alarm"]:
        return f"ALARM since {status['since']}"
    if status.get("silent_until"):
        return f"silent until {status['silent_until']}"
    return f"no alarm on {status['day']}"


def _about(record: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    known = record["reference"]
    text = (
        f"Reference: {known['studies']} studies of {known['patients']} patients, "
        f"{day_text(known['first'])} to {day_text(known['last'])}. Recipe: {record['recipe']}; "
        f"{counted(len(record['streams']), 'stream')}. "
    )
    if "limit" in record["standard"]:
        text += f"Limit {record['limit']:.3g}: {limit_words(record)} "
        text += f"{followed_words(record)} ".lstrip()
        text += f"{few_patients_words(record)} ".lstrip()
        notes = status.get("notes", ()) if status else ()
        text += f"{silent_words(record, notes)} ".lstrip()
    if status:
        text += f"Studies since: {status['studies']}. "
        if status["missing_days"]:
            text += f"Days without studies: {len(status['missing_days'])}."
    return text


def _unified(record: Mapping[str, Any], windows: Windows) -> str:
    values = [one["statistic"] for one in windows]
    limit = record["limit"]
    if record["recipe"] == "chexstray" and limit is not None:
        limit = -limit
    alarms = [bool(one["alarm"]) for one in windows]
    days = [str(one["day"]) for one in windows]
    return "<h2>Control chart</h2>" + chart(days, values, limit, alarms, "statistic")


def _alarms(status: Mapping[str, Any]) -> str:
    if not status or not status["alarms"]:
        return ""
    rows = [
        (
            one["day"],
            f"{one['statistic']:.3g}",
            ", ".join(f"{name} {z:.1f}" for name, z in one["streams"][:3]),
        )
        for one in reversed(status["alarms"])
    ]
    table = plain_table(("day", "statistic", "farthest from clean, in spreads"), rows, tight=True)
    return details(f"{counted(len(rows), 'day')} above the limit", table, shown=len(rows) <= 14)


def _notes(status: Mapping[str, Any]) -> str:
    notes = status.get("notes") if status else None
    if not notes:
        return ""
    rows = [
        (one["day"], one["since"] or "–", one["text"] + (" (begins anew)" if one["reset"] else ""))
        for one in reversed(notes)
    ]
    return "<h2>Notes</h2>" + plain_table(("day", "alarm since", "note"), rows, tight=True)


def _pictures(pictures: Sequence[tuple[str, str, float, str]]) -> str:
    parts = []
    for side in dict.fromkeys(one[1] for one in pictures):
        figures = "".join(
            f'<figure style="display:inline-block;margin:4px">'
            f'<img src="{escape(data)}" alt="{side} study" width="120">'
            f"<figcaption>{away:.1f}, {escape(day)}</figcaption></figure>"
            for data, own, away, day in pictures
            if own == side
        )
        parts.append(f"<h3>{side}</h3>{figures}")
    note = "<p>Studies of the last update by their distance from the reference, in spreads.</p>"
    return f"<h2>Nearest and farthest</h2>{note}{''.join(parts)}" if parts else ""


def _delays(delays: Sequence[Sequence[str]], benched: str) -> str:
    head = (
        "change", "severity", "of studies", "noticed after", "studies", "error then",
        "wrong until then, beyond clean",
    )  # fmt: skip
    if not delays:
        return ""
    return f"<h2>How soon would I notice?</h2><p>{escape(benched)}</p>" + plain_table(
        head, delays, tight=True
    )


def _worth(errors: Mapping[str, Errors], name: str) -> str:
    """Say how far an estimate erred on corruptions."""
    if name not in errors:
        return ""
    one = errors[name]
    text = (
        f"On {counted(one.cells, 'corrupted cell')} it erred by {100 * one.mean:.1f} points on "
        f"average, by {100 * one.worst:.1f} at most ({one.where})"
    )
    if "no change" in errors:
        text += f'; "no change" errs by {100 * errors["no change"].mean:.1f}'
    return f"<p>{escape(text)}.</p>"


def _accuracy(record: Mapping[str, Any], windows: Windows, errors: Mapping[str, Errors]) -> str:
    known = record.get("digester", {}).get("confidence")
    if not known:
        return ""
    if above_one(dict(record["digester"].get("edges", ()))):
        return f"<h2>Accuracy without labels</h2><p>{NO_CONFIDENCE.capitalize()}</p>"
    days = [str(one["day"]) for one in windows]
    parts = [
        f"<h3>{title}</h3>"
        + _worth(errors, name)
        + chart(days, [(one["accuracy"] or {}).get(name) for one in windows], None, [], title)
        for name, title in (("atc", "ATC, thresholded confidence"), ("doc", "DoC, difference"))
    ]
    note = (
        f"Reference: {100 * known['accuracy']:.1f} % right. Estimates from confidence alone; "
        f"neither is right under every change: medrobust report with readings=label_free says "
        f"what they were worth under corruptions."
    )
    return f"<h2>Accuracy without labels</h2><p>{escape(note)}</p>{''.join(parts)}"


def _streams(record: Mapping[str, Any], windows: Windows) -> str:
    def farthest(name: str) -> float:
        return max((one["z"][name] or 0.0 for one in windows), default=0.0)

    names = sorted(record["streams"], key=lambda name: (-farthest(name), name))
    days = [str(one["day"]) for one in windows]
    shown = "".join(
        f"<h3>{escape(name)}</h3>"
        + chart(days, [one["z"][name] for one in windows], None, [], "spreads from clean")
        for name in names[:CHARTS]
    )
    left = len(names) - CHARTS
    more = f"<p>{counted(left, 'stream')} that lay nearer are in windows.json.</p>"
    return "<h2>Streams</h2>" + shown + (more if left > 0 else "")


def _level(y: float, value: float, color: str, dashes: str) -> str:
    """Draw a line across a chart, with its value."""
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" '
        f'stroke-dasharray="{dashes}"/>'
        f'<text x="4" y="{y + 4:.1f}" font-size="11" fill="currentColor">{value:.3g}</text>'
    )


def chart(
    days: Sequence[str],
    values: Sequence[float | None],
    limit: float | None,
    alarms: Sequence[bool],
    label: str,
) -> str:
    """Draw a series as SVG: a line, its limit, and a dot for each alarm.

    Args:
        days: Of each value.
        values: None where there is none.
        limit: A dashed line, or None.
        alarms: Whether each value alarms; empty for none.
        label: What the axis shows.
    """
    known = [value for value in values if value is not None]
    if not known:
        return "<p>No window has enough studies yet.</p>"
    low, high = min(0.0, *known, limit or 0.0), max(0.0, *known, limit or 0.0)
    scale = (HEIGHT - 40) / ((high - low) or 1.0)
    step = (WIDTH - LEFT - 10) / max(len(values) - 1, 1)

    def place(index: int, value: float) -> tuple[float, float]:
        return LEFT + index * step, HEIGHT - 24 - (value - low) * scale

    pieces = []
    previous = None
    for index, value in enumerate(values):
        if value is None:
            previous = None
            continue
        x, y = place(index, value)
        pieces.append(f"{'L' if previous is not None else 'M'}{x:.1f} {y:.1f}")
        previous = value
    dots = "".join(
        '<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="#b3261e"/>'.format(*place(i, values[i] or 0.0))
        for i, alarm in enumerate(alarms)
        if alarm
    )
    marks = [(0.0, "#888", "1 3"), (max(known), "#ccc", "1 5")]
    marks += [(limit, "#b3261e", "6 4")] if limit is not None else []
    lines = "".join(_level(place(0, at)[1], at, color, dashes) for at, color, dashes in marks)
    title = f"{label}, {days[0]} to {days[-1]}; largest {max(known):.3g}"
    return (
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'{lines}<path d="{" ".join(pieces)}" fill="none" stroke="currentColor" '
        f'stroke-width="1.5"/>{dots}'
        f'<text x="{LEFT}" y="{HEIGHT - 6}" font-size="11" fill="currentColor">{days[0]}</text>'
        f'<text x="{WIDTH - 74}" y="{HEIGHT - 6}" font-size="11" fill="currentColor">{days[-1]}'
        f"</text></svg></div>"
    )
