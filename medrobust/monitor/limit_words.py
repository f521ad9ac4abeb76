"""What a limit costs on clean studies, in words: for `fit` and for the page."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np

from medrobust.base.wording import counted
from medrobust.metrics.drift.detectors import LARGEST, detector_of
from medrobust.metrics.drift.run_length import TELLING

from .studies import day_text
from .windows import REFERENCES

WIDEST = 10.0
"""Factor between the run lengths of eight in ten references above which a reference is short."""

PATIENTS = 30
"""Of a reference; fewer are few."""


def limit_words(record: Mapping[str, Any]) -> str:
    """Say how often clean streams alarm, and how far references of this length differ in that.

    Where they differ by more than a factor of ten, also how long a reference would have to be, if
    the spread of log run lengths falls with the root of its length. That is a rough guide: of
    references of 42, 84 and 168 days (20 studies a day, budget 365) it says 190, 230 and 140.

    Args:
        record: Of a monitor of the default recipe.
    """
    limit, known = record["standard"]["limit"], record["reference"]
    a_day, days = record["standard"]["studies"], known["last"] - known["first"] + 1
    length, low, high = (limit[name] for name in ("run_length", "low", "high"))
    cost = f"one false alarm in {length:.0f} days, about {length * a_day:,.0f} studies, on clean "
    cost += "streams drawn from the reference"
    alike, sure = high <= low * (1 + 1e-9), bool(record["settings"]["confidence"])
    if limit["alarms"] < TELLING * REFERENCES and (alike or not sure):
        return (
            f"{cost}; {limit['alarms']} false alarms on these are too few to tell how far "
            f"references of {days} days differ in that, which is more the longer the budget: take "
            f"a smaller one to be told."
        )
    if alike:  # alarms of single references differ as chance alone has them
        unchanged = ", and --confidence changes nothing" if sure else ""
        return f"{cost}; how far references of this length differ in that is not known{unchanged}."
    factor = high / low
    if factor <= WIDEST:
        return (
            f"{cost}; eight in ten references of this length would have one in {low:.0f} to "
            f"{high:.0f} days."
        )
    needed = float(f"{days * (log(factor) / log(WIDEST)) ** 2:.2g}")
    advice = "" if sure else "; or pass --confidence 0.9"
    return (
        f"{cost}, on average. {days} days are few for that: with single references of that length "
        f"it is one in {low:,.0f} to {high:,.0f} days (eight in ten of them). About {needed:,.0f} "
        f"days, {needed * a_day:,.0f} studies, would narrow that to a factor of {WIDEST:.0f}"
        f"{advice}."
    )


def followed_words(record: Mapping[str, Any]) -> str:
    """Say what alone can raise an alarm; "" where every stream can.

    Args:
        record: Of a monitor.
    """
    stream = followed_stream(record)
    if stream is None:
        return ""
    return f"{record['settings']['detector']} follows {stream} alone: no other stream alarms."


def few_patients_words(record: Mapping[str, Any]) -> str:
    """Warn of a reference of few patients, whose own looks count as those of the site.

    Args:
        record: Of a monitor.
    """
    patients = record["reference"]["patients"]
    if patients >= PATIENTS:
        return ""
    return (
        f"{counted(patients, 'patient')} in the reference are few: what these have of their own "
        f"counts as the site's, and others may raise alarms. Give {PATIENTS} or more."
    )


def silent_words(record: Mapping[str, Any], notes: Sequence[Mapping[str, Any]] = ()) -> str:
    """Say for how long a detector that has to gather first is silent; "" of any other one.

    Args:
        record: Of a monitor.
        notes: Of `status.json`, of which resets begin a silence.
    """
    name = record["settings"]["detector"]
    days = silent_days(record)
    if not days:
        return ""
    return (
        f"{name} is silent until {silent_until(record, notes)}: it raises no "
        f"alarm in its first {days} days, and in as many after every reset."
    )


def silent_until(record: Mapping[str, Any], notes: Sequence[Mapping[str, Any]]) -> str:
    """Return the first day on which there can be an alarm, since the fit or the last reset."""
    last = day_text(int(record["reference"]["last"]))
    begun = max([last, *(note["day"] for note in notes if note["reset"])])
    return str(np.datetime64(begun) + np.timedelta64(silent_days(record) + 1, "D"))


def followed_stream(record: Mapping[str, Any]) -> str | None:
    """Return the only stream that can raise an alarm; None where every one can."""
    if "limit" not in record.get("standard", {}):  # a published recipe has no detector
        return None
    stream = detector_of(record["settings"]["detector"]).follows
    return None if stream == LARGEST else stream


def silent_days(record: Mapping[str, Any]) -> int:
    """Return on how many first days a monitor cannot raise an alarm."""
    if "limit" not in record.get("standard", {}):  # a published recipe has no detector
        return 0
    return max(getattr(detector_of(record["settings"]["detector"]), "fewest", 1) - 1, 0)
