"""The default recipe in a monitor folder: sums of days are kept, and no study's vector.

Why this is the default: every stream has its own standardised distance, the largest of them is what
alarms, so that a fault of one stream is not thinned out by all others; the limit is what clean
streams of the site itself pass as rarely as the budget says, overlapping windows included.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.steps import OnStep, nothing
from medrobust.metrics.drift.detectors import detector_of

from .folder import Arrays
from .streams import Digester, fit_digester, read_digester
from .studies import Studies, day_text
from .windows import (
    Settings,
    daily_sums,
    fit_standard,
    read_standard,
    window_statistics,
    window_sums,
)

ARRAYS = ("mean", "components", "waves")


def fit(
    reference: Studies, settings: Settings, on_step: OnStep = nothing
) -> tuple[dict[str, Any], Arrays]:
    """Learn streams, clean windows and the limit; return the record and the arrays to keep.

    Args:
        reference: Clean studies.
        settings: Window, budget, detector.
        on_step: Told of each reference that is drawn.

    Raises:
        InvalidDataError: If the reference is too short.
    """
    digester, rows = fit_digester(reference)
    patients = reference.patient_codes
    standard = fit_standard(digester, rows, reference.days, patients, settings, on_step)
    record = {
        "digester": digester.record(),
        "standard": standard.record(),
        "limit": standard.limit.value,
        "streams": [stream.name for stream in digester.streams],
    }
    return record, {**digester.arrays, "sums": rows.sum(axis=0, dtype=np.float64)}


def kept(studies: Studies, record: Mapping[str, Any], reference: Arrays) -> Arrays:
    """Return what is kept of new studies: hashed names, their days, and sums of each day."""
    ordered = studies.in_content_order()  # sums round alike, whatever hides the names
    rows = digester_of(record, reference).digest(ordered)
    days = np.unique(studies.days)
    first = int(days[0])
    sums, counts = daily_sums(rows, ordered.days, first, int(days[-1]) - first + 1)
    return {
        "ids": studies.ids,
        "id_days": studies.days,
        "days": days,
        "sums": sums[days - first],
        "counts": counts[days - first],
    }


def windows(
    record: Mapping[str, Any],
    reference: Arrays,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    _known: Any,
    resets: Sequence[str] = (),
    _on_step: OnStep = nothing,
) -> list[dict[str, Any]]:
    """Return every window since the reference, one a day.

    Args:
        record: Of the monitor.
        reference: Its arrays.
        batches: What updates have brought.
        resets: Days after which the detector begins anew.
    """
    if not batches:
        return []
    settings, digester = Settings(**record["settings"]), digester_of(record, reference)
    standard = read_standard(record["standard"])
    first = int(record["reference"]["last"]) + 1
    total = max(int(batch["days"].max()) for batch in batches) - first + 1
    sums, counts = np.zeros((total, batches[0]["sums"].shape[1])), np.zeros(total)
    for batch in batches:
        sums[batch["days"] - first] += batch["sums"]
        counts[batch["days"] - first] += batch["counts"]
    known = (reference["sums"], float(record["reference"]["studies"]))
    z = standard.z(window_statistics(digester, sums, counts, known, settings))
    detector = detector_of(settings.detector)
    unified = standard.unified(z, digester.column(settings.detector))
    days = [day_text(first + step) for step in range(total)]
    ends = sorted({0, total, *(days.index(day) + 1 for day in resets if day in days)})
    paths = np.concatenate([detector.path(unified[a:b]) for a, b in pairwise(ends)])
    sizes = np.round(window_sums(counts, settings.window)).astype(int)
    guessed = digester.accuracy(window_sums(sums, settings.window), np.maximum(sizes, 1.0))
    return [
        {
            "day": day_text(first + step),
            "studies": int(sizes[step]),
            "z": _named(record["streams"], z[step]),
            "statistic": None if np.isnan(z[step]).any() else float(paths[step]),
            "alarm": bool(paths[step] > standard.limit.value and not np.isnan(z[step]).any()),
            "accuracy": None
            if np.isnan(z[step]).any() or not guessed
            else {name: round(float(values[step]), 6) for name, values in guessed.items()},
        }
        for step in range(total)
    ]


def _named(names: Sequence[str], z: NDArray[np.float64]) -> dict[str, float | None]:
    values = [None if np.isnan(value) else round(float(value), 6) for value in z]
    return dict(zip(names, values, strict=True))


def digester_of(record: Mapping[str, Any], reference: Arrays) -> Digester:
    """Return what turns studies of a monitor into rows."""
    arrays = {name: reference[name] for name in ARRAYS if name in reference}
    return read_digester(record["digester"], arrays)
