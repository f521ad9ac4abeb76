"""The published recipes in a monitor folder: all streams of all studies are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.steps import OnStep, nothing
from medrobust.exceptions import InvalidDataError

from .folder import Arrays
from .published import Published, content, groups_of, standard, statistics, unified, window_of
from .studies import DAY, Studies, day_text, joined


def fit(
    reference: Studies, recipe: Published, limit: float | None, on_step: OnStep = nothing
) -> tuple[dict[str, Any], Arrays]:
    """Standardise by windows of the reference period; return the record and the arrays to keep.

    Args:
        reference: Clean studies.
        recipe: Which.
        limit: None: as published.
        on_step: Told of each window.

    Raises:
        InvalidDataError: If the reference has fewer than two windows.
    """
    if not (reference.numbers or reference.categories or reference.vectors):
        raise InvalidDataError(
            "the reference has no stream: give features, scores or columns of metadata."
        )
    recipe = replace(recipe, limit=recipe.limit if limit is None else limit)
    first, last = int(reference.days.min()), int(reference.days.max())
    start = first + (recipe.window if recipe.name == "mmc_plus" else 0)
    series: dict[str, list[float]] = {}
    every = [window_of(reference, day, recipe) for day in range(start, last + 1)]
    every = [rows for rows in every if len(rows) >= recipe.fewest]
    if len(every) < 2:
        raise InvalidDataError(
            f"the reference has fewer than two windows of {recipe.window + 1} days with "
            f"{recipe.fewest} studies: {recipe.name} needs a longer one, or more studies a day."
        )
    for done, rows in enumerate(every, start=1):
        for name, value in statistics(reference, reference.rows(rows), recipe).items():
            series.setdefault(name, []).append(value)
        on_step(done, len(every))
    known = standard({name: np.array(values) for name, values in series.items()}, recipe)
    record = {
        "published": asdict(recipe),
        "standard": {name: list(pair) for name, pair in known.items()},
        "limit": recipe.limit,
        "streams": list(known),
    }
    return record, _arrays(reference)


def kept(studies: Studies, record: Mapping[str, Any], reference: Arrays) -> Arrays:
    """Return what is kept of new studies: all but their names."""
    return {**_arrays(studies), "ids": studies.ids}


def windows(
    record: Mapping[str, Any],
    reference: Arrays,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    known: Any,
    resets: Sequence[str] = (),
    on_step: OnStep = nothing,
) -> list[dict[str, Any]]:
    """Return every window since the reference; one that has not changed is not computed again.

    A window that was edited, or that another monitor made, does not have its seal: it is made anew.

    Args:
        record: Of the monitor.
        reference: Its arrays.
        batches: What updates have brought.
        known: The windows of the last update, or None.
        resets: None: nothing is remembered from window to window.
        on_step: Told of each window.
    """
    if not batches:
        return []
    recipe = Published(**record["published"])
    given = known if isinstance(known, list) else []
    old = {one["content"]: one for one in given if _is_whole(one, record)}
    base = _studies(record, reference)
    every = joined([base, *(_studies(record, batch) for batch in batches)]).in_content_order()
    first, last = int(record["reference"]["last"]) + 1, int(every.days.max())
    found = []
    for day in range(first, last + 1):
        found.append(_window(record, recipe, base, every, day, old))
        on_step(len(found), last + 1 - first)
    return found


def _window(
    record: Mapping[str, Any],
    recipe: Published,
    base: Studies,
    every: Studies,
    day: int,
    old: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    rows = window_of(every, day, recipe)
    found: dict[str, Any] = {
        "day": day_text(day),
        "studies": len(rows),
        "content": None,
        "z": dict.fromkeys(record["streams"]),
        "statistic": None,
        "alarm": False,
    }
    if len(rows) < recipe.fewest:
        return found
    found["content"] = content(every, rows)
    if found["content"] in old:
        return {**old[found["content"]], "day": found["day"]}
    values = statistics(base, every.rows(rows), recipe)
    known = {name: (pair[0], pair[1]) for name, pair in record["standard"].items()}
    number, z = unified(values, known, recipe, groups_of(base, recipe))
    found["z"] = {
        name: round(value, 6) if np.isfinite(value) else None for name, value in z.items()
    }
    if np.isfinite(number):
        found["statistic"] = number
        sign = -1 if recipe.name == "chexstray" else 1
        found["alarm"] = bool(recipe.limit is not None and sign * number > recipe.limit)
    return {**found, "seal": _seal(found, record)}


def _seal(window: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return the digest of a window of a monitor; its day, which its studies tell, is left out."""
    told = {name: value for name, value in window.items() if name not in ("day", "seal")}
    made_from = {name: record[name] for name in ("published", "standard", "arrays")}
    return fingerprint([told, made_from])


def _is_whole(window: Any, record: Mapping[str, Any]) -> bool:
    """Say whether a window that was read is one that this monitor wrote."""
    if not isinstance(window, dict) or not window.get("content"):
        return False
    try:
        return bool(window.get("seal") == _seal(window, record))
    except ValueError:  # a number that is not finite: none was written
        return False


def _arrays(studies: Studies) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {
        "times": studies.times,
        "days": studies.days,
        "patients": studies.patients,
        **studies.vectors,
    }
    for number, name in enumerate(sorted(studies.numbers)):
        found[f"number{number}"] = studies.numbers[name]
    for number, name in enumerate(sorted(studies.categories)):
        found[f"category{number}"] = studies.categories[name]
    return found


def _studies(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Studies:
    assert (arrays["days"] == arrays["times"] // DAY).all()
    return Studies(
        ids=arrays["ids"],
        times=arrays["times"],
        patients=arrays["patients"],
        numbers={name: arrays[f"number{n}"] for n, name in enumerate(record["numbers"])},
        categories={name: arrays[f"category{n}"] for n, name in enumerate(record["categories"])},
        vectors={name: arrays[name] for name in record["vectors"]},
    )
