"""Fit a monitor to a reference, and update it with new studies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.steps import OnStep, nothing
from medrobust.base.wording import counted, listed
from medrobust.datasets.own.pseudonyms import keyed_hashes
from medrobust.exceptions import ConfigurationError, InvalidDataError, unknown_name

from . import default_windows, published_windows
from .folder import Arrays, MonitorFolder, check_names
from .limit_words import followed_stream, silent_days, silent_until
from .models import UNNAMED, Model, check_same
from .notes import Note, in_status, notes_of, resets
from .published import RECIPES
from .studies import Studies, day_text
from .windows import Settings

LONGEST = 3660
"""Days after the reference beyond which a time stamp is taken for wrong."""

GAP = 92
"""Days without studies beyond which a time stamp is taken for wrong, unless it is said."""

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did.

    Attributes:
        added: Studies that were new.
        status: As `status.json`.
        remarks: Sentences on what was not as expected.
    """

    added: int
    status: dict[str, Any]
    remarks: tuple[str, ...]

    @property
    def alarm(self) -> bool:
        """Whether the last window is above the limit, and nobody has acknowledged it."""
        return bool(self.status["alarm"]) and self.status["acknowledged"] is None


def fit_monitor(
    place: Path,
    reference: Studies,
    *,
    key: bytes,
    recipe: str = DEFAULT,
    settings: Settings | None = None,
    limit: float | None = None,
    model: Model = UNNAMED,
    columns: Mapping[str, str] | None = None,
    gap: int = GAP,
    on_step: OnStep = nothing,
) -> dict[str, Any]:
    """Write a new monitor; return its record.

    Args:
        place: Folder of the monitor, which must not be there.
        reference: Clean studies, ids and patients by name.
        key: Hides names.
        recipe: "default", "chexstray" or "mmc_plus".
        settings: Of the default recipe; published ones take their `seed` alone.
        limit: Of a published recipe; None: the published one, if there is one.
        model: What made features and scores, which updates must come from.
        columns: "id", "time", "patient" -> column of the table; None: there was none.
        gap: Days without studies after which a time stamp is taken for wrong.
        on_step: Told of each step of what takes long.

    Raises:
        ConfigurationError: If the default recipe, which sets its own limit, is given one.
        InvalidDataError: If the reference is too short, has a study twice or a wrong time stamp.
        UnknownNameError: If there is no such recipe.
        StoreError: If there is a monitor already.
    """
    if recipe not in (DEFAULT, *RECIPES):
        raise unknown_name("recipe", recipe, [DEFAULT, *RECIPES])
    if recipe == DEFAULT and limit is not None:
        raise ConfigurationError(
            f"--limit {limit:g} is for published recipes: the default one has --budget."
        )
    if limit is not None and not 0 < limit < inf:
        raise ConfigurationError(f"--limit {limit:g} must be a number above 0.")
    known = hidden(reference, key).in_content_order()
    ids, counts = np.unique(known.ids, return_counts=True)
    if len(ids) < len(known):
        raise InvalidDataError(
            f"{counted(int((counts > 1).sum()), 'study')} of the reference are there more than "
            f"once: give each one row."
        )
    days = known.days
    _check_gaps(days, [], gap)
    body: dict[str, Any] = {
        "recipe": recipe,
        "settings": asdict(settings or Settings()),
        **model.record(),
        "key": key_check(key),
        "reference": {
            "studies": len(known),
            "patients": len(np.unique(known.patients)),
            "first": int(days.min()),
            "last": int(days.max()),
        },
        "numbers": sorted(known.numbers),
        "categories": sorted(known.categories),
        "vectors": {name: int(rows.shape[1]) for name, rows in known.vectors.items()},
    }
    if known.zone is not None:
        body["zone"] = known.zone
    if columns is not None:
        body["columns"] = dict(columns)
    if recipe == DEFAULT:
        part, arrays = default_windows.fit(known, settings or Settings(), on_step)
    else:
        seed = (settings or Settings()).seed
        published = replace(RECIPES[recipe], seed=seed)
        part, arrays = published_windows.fit(known, published, limit, on_step)
    MonitorFolder(place).create({**body, **part}, {**arrays, "ids": known.ids})
    return {**body, **part}


def update_monitor(
    place: Path,
    studies: Studies,
    *,
    key: bytes,
    model: Model = UNNAMED,
    gap: int = GAP,
    on_step: OnStep = nothing,
) -> Updated:
    """Add new studies and make windows and status anew.

    Args:
        place: Folder of the monitor.
        studies: New ones, ids and patients by name; those that are known are passed over.
        key: The one that the monitor was fitted with.
        model: What made features and scores.
        gap: Days without studies after which a time stamp is taken for wrong.
        on_step: Told of each window of a published recipe, which takes long.

    Raises:
        InvalidDataError: If streams are missing, or time stamps cannot be right.
        ConfigurationError: If key or model are others than those of the reference.
        StoreError: If a file of the monitor is damaged.
    """
    folder = MonitorFolder(place)
    record = folder.record()
    _check_key(record, key)
    check_same(model, record)
    studies = _checked(hidden(studies, key), record) if len(studies) else studies
    remarks: list[str] = []
    with folder.locked():
        reference = folder.reference()
        batches = folder.batches()
        fresh = _fresh(studies, reference, batches, remarks)
        if len(fresh):
            before = int(record["reference"]["last"])
            _check_gaps(fresh.days, [np.array([before]), *(b["days"] for b in batches)], gap)
            last = max((int(batch["days"].max()) for batch in batches), default=None)
            if last is None:
                _say_forgotten(fresh, before, remarks)
            else:
                before = last
            _say_late(fresh, before, remarks)
            folder.add(_recipe(record).kept(fresh, record, reference))
            batches = folder.batches()
        status = _made_anew(folder, record, reference, batches, on_step)
        if len(fresh) and (new := [d for d in status["missing_days"] if d > day_text(before)]):
            remarks.append(_missing(new))
        if status["silent_until"]:
            name = record["settings"]["detector"]
            remarks.append(f"{name} is silent until {status['silent_until']}.")
    return Updated(len(fresh), status, tuple(remarks))


def _silent_until(
    record: Mapping[str, Any], status: Mapping[str, Any], last: str = ""
) -> str | None:
    """Return the first day on which there can be an alarm, while it lies ahead.

    Of the last day that was judged; of `last`, that of the last window, where none was.
    """
    if not silent_days(record):
        return None
    until = silent_until(record, status["notes"])
    return until if (status["day"] or last) < until else None


def refresh(place: Path) -> dict[str, Any]:
    """Make windows and status anew from what is kept; return the status.

    Raises:
        StoreError: If a file of the monitor is damaged.
    """
    folder = MonitorFolder(place)
    with folder.locked():
        return _made_anew(folder, folder.record(), folder.reference(), folder.batches())


def _made_anew(
    folder: MonitorFolder,
    record: Mapping[str, Any],
    reference: Arrays,
    batches: list[dict[str, NDArray[Any]]],
    on_step: OnStep = nothing,
) -> dict[str, Any]:
    """Write windows and status; return the status."""
    notes, known = notes_of(folder), folder.read("windows.json")
    windows = _recipe(record).windows(record, reference, batches, known, resets(notes), on_step)
    status = status_of(record, windows, batches, notes)
    folder.list_batches(batches)
    folder.write("windows.json", windows)
    folder.write("status.json", status)
    return status


def _recipe(record: Mapping[str, Any]) -> Any:
    """Return the module that makes windows of a monitor."""
    return default_windows if record["recipe"] == DEFAULT else published_windows


def _check_gaps(days: NDArray[np.int64], known: Sequence[NDArray[np.int64]], most: int) -> None:
    """Refuse days that lie far from all others: one wrong clock would empty windows for years.

    What lies between two days that are known was said when they came.
    """
    every = np.unique(np.concatenate([days, *known]))
    new = ~np.isin(every, np.concatenate([[], *known]))
    far = np.flatnonzero((np.diff(every) > most) & (new[:-1] | new[1:]))
    if len(far):
        before, after = int(every[far[-1]]), int(every[far[-1] + 1])
        raise InvalidDataError(
            f"no study between {day_text(before)} and {day_text(after)}, {after - before} days: "
            f"correct the time stamps, or pass --gap {after - before} if the site was closed."
        )


def hidden(studies: Studies, key: bytes) -> Studies:
    """Replace names of studies and patients by keyed hashes."""
    return replace(
        studies,
        ids=keyed_hashes(key, "sample", studies.ids.tolist()),
        patients=keyed_hashes(key, "patient", studies.patients.tolist()),
    )


def key_check(key: bytes) -> str:
    """Return what tells a wrong key, and nothing of the right one."""
    return str(keyed_hashes(key, "check", ["medrobust monitor"])[0])


def _check_key(record: Mapping[str, Any], key: bytes) -> None:
    if key_check(key) != record["key"]:
        raise ConfigurationError(
            "this key is not the one that the monitor was fitted with: known studies would count "
            "as new ones. Pass --key FILE with the key of the reference."
        )


def _checked(studies: Studies, record: Mapping[str, Any]) -> Studies:
    """Return the streams that the monitor has, of studies with possible dates."""
    check_names(studies.numbers, dict.fromkeys(record["numbers"]), "column of numbers")
    check_names(studies.categories, dict.fromkeys(record["categories"]), "column of categories")
    check_vectors(studies, record)
    _check_zone(studies.zone, record.get("zone"))
    last = int(record["reference"]["last"])
    early = int((studies.days <= last).sum())
    if early:
        raise InvalidDataError(
            f"{counted(early, 'study')} of {len(studies)} bear a date up to {day_text(last)}, the "
            f"last day of the reference: give studies from the day after it on."
        )
    if int(studies.days.max()) > last + LONGEST:
        raise InvalidDataError(
            f"a study is dated {day_text(int(studies.days.max()))}, more than ten years after the "
            f"reference: correct the time stamp."
        )
    return replace(
        studies,
        numbers={name: studies.numbers[name] for name in record["numbers"]},
        categories={name: studies.categories[name] for name in record["categories"]},
        vectors={name: studies.vectors[name] for name in record["vectors"]},
        labels=None,
    )


def check_vectors(studies: Studies, record: Mapping[str, Any]) -> None:
    """Refuse studies whose features or scores are not of the size of those of the reference.

    Raises:
        InvalidDataError: Naming what is missing, new or of another size.
    """
    check_names(studies.vectors, record["vectors"], "vectors:")
    for name, size in record["vectors"].items():
        if studies.vectors[name].shape[1] != size:
            raise InvalidDataError(
                f"{name} of these studies has {studies.vectors[name].shape[1]} columns, and that "
                f"of the reference {size}: they come from another model."
            )


def _check_zone(zone: str | None, fitted: str | None) -> None:
    if None not in (zone, fitted) and bool(zone) != bool(fitted):
        own, others = (f"the zone {one}" if one else "no zone" for one in (zone, fitted))
        raise InvalidDataError(
            f"these time stamps state {own}, and those of the reference {others}: write all in one "
            f"way, or days are taken for other ones."
        )


def _fresh(
    studies: Studies,
    reference: Arrays,
    batches: list[dict[str, NDArray[Any]]],
    remarks: list[str],
) -> Studies:
    """Return the studies that are not known, in order, each once."""
    if not len(studies):
        return studies
    ordered = studies.in_order()
    _, firsts = np.unique(ordered.ids, return_index=True)
    once = ordered.rows(np.sort(firsts))
    if len(once) < len(ordered):
        twice = counted(len(ordered) - len(once), "row")
        remarks.append(f"{twice} of studies that were given twice: the earliest of each counts.")
    _check_days(ordered, reference, batches)
    known = np.concatenate([reference["ids"], *(batch["ids"] for batch in batches)])
    fresh = once.rows(~np.isin(once.ids, known))
    if len(fresh) < len(once):
        remarks.append(f"{counted(len(once) - len(fresh), 'study')} known already: passed over.")
    return fresh


def _check_days(
    studies: Studies, reference: Arrays, batches: list[dict[str, NDArray[Any]]]
) -> None:
    """Refuse ids that name several studies: passed over, they would make a monitor blind.

    Updates of the default recipe by former versions keep their days, and not which study is of
    which: a study that is given again belongs to one of them. No study of an update is dated within
    the reference.

    Raises:
        InvalidDataError: If an id comes with another day than before.
    """
    known = np.isin(studies.ids, reference["ids"])
    if known.any():
        raise InvalidDataError(
            f"{counted(int(known.sum()), 'row')} of {len(studies)} bear the id of a study of the "
            f"reference, the first on {day_text(int(studies.days[known.argmax()]))}: ids must name "
            f"one study each, or new studies are taken for known ones. Correct the ids, or give "
            f"new studies alone."
        )
    starts = np.unique(studies.ids, return_index=True)[1]
    first = studies.rows(np.sort(starts))
    day_of = dict(zip(first.ids.tolist(), first.days.tolist(), strict=True))
    moved = np.array([day_of[name] for name in studies.ids.tolist()]) != studies.days
    for batch in batches:
        own = batch.get("id_days", batch["days"])
        if len(own) == len(batch["ids"]):
            day_of = dict(zip(batch["ids"].tolist(), own.tolist(), strict=True))
            pairs = zip(studies.ids.tolist(), studies.days.tolist(), strict=True)
            moved |= np.array([day_of.get(name, day) != day for name, day in pairs])
        else:
            moved |= np.isin(studies.ids, batch["ids"]) & ~np.isin(studies.days, own)
    if moved.any():
        row = int(moved.argmax())
        raise InvalidDataError(
            f"{counted(int(moved.sum()), 'row')} of {len(studies)} bear the id of another day's "
            f"study, the first on {day_text(int(studies.days[row]))}: ids must name one study "
            f"each, or new studies are taken for known ones. Correct the time stamps or the ids."
        )


def _say_forgotten(fresh: Studies, last: int, remarks: list[str]) -> None:
    """Name the days between the reference and the first update."""
    first = int(fresh.days.min())
    if first == last + 2:
        remarks.append(_missing([day_text(last + 1)]))
    elif first > last + 2:
        remarks.append(
            f"no study from {day_text(last + 1)} to {day_text(first - 1)}, between the reference "
            f"and this first update: were some forgotten? They are taken in when they come."
        )


def _say_late(fresh: Studies, last: int, remarks: list[str]) -> None:
    late = fresh.days < last
    if late.any():
        remarks.append(
            f"{counted(int(late.sum()), 'study')} came late: windows from "
            f"{day_text(int(fresh.days.min()))} on are computed anew."
        )


def _missing(days: list[str]) -> str:
    more = f" and {len(days) - 3} more" if len(days) > 3 else ""
    shown = ", ".join(days[:3]) + more if more else listed(days)
    return f"no study on {shown}: were some forgotten? They are taken in when they come."


def status_of(
    record: Mapping[str, Any],
    windows: list[dict[str, Any]],
    batches: list[dict[str, NDArray[Any]]],
    notes: Sequence[Note] = (),
) -> dict[str, Any]:
    """Sum the windows up for a scheduler."""
    days = np.unique(np.concatenate([b["days"] for b in batches])) if batches else np.array([], int)
    every = np.arange(days[0], days[-1] + 1) if len(days) else days
    judged = [one for one in windows if one["statistic"] is not None]
    if (alone := followed_stream(record)) is not None:  # others contribute to no alarm
        judged = [{**one, "z": {alone: one["z"][alone]}} for one in judged]
    last = judged[-1] if judged else None
    since = None
    for one in reversed(judged):
        if not one["alarm"]:
            break
        since = one["day"]
    found = {
        "format": 1,
        "alarm": bool(last and last["alarm"]),
        "since": since,
        **in_status(notes, since),
        "day": last["day"] if last else None,
        "statistic": last["statistic"] if last else None,
        "limit": record["limit"],
        "contributions": _largest(_since(judged, since)) if last else [],
        "accuracy": last.get("accuracy") if last else None,
        "studies": int(sum(len(batch["ids"]) for batch in batches)),
        "missing_days": [day_text(int(day)) for day in np.setdiff1d(every, days)],
        "alarms": [
            {"day": one["day"], "statistic": one["statistic"], "streams": _largest(one["z"])}
            for one in judged
            if one["alarm"]
        ],
    }
    return {
        **found,
        "silent_until": _silent_until(record, found, windows[-1]["day"] if windows else ""),
    }


def _since(judged: list[dict[str, Any]], since: str | None) -> dict[str, float | None]:
    """Return z of the last window; in an alarm the largest of each stream since it began.

    Detectors remember: what set the alarm off may have left the last window.
    """
    windows = judged[-1:]
    if since is not None:
        windows = [one for one in judged if one["day"] >= since]
    found: dict[str, float | None] = {}
    for name in windows[-1]["z"]:
        known = [one["z"][name] for one in windows if one["z"][name] is not None]
        found[name] = max(known, default=None)
    return found


def _largest(z: Mapping[str, float | None], most: int = 5) -> list[list[Any]]:
    known: list[tuple[str, float]] = [(n, v) for n, v in z.items() if v is not None]
    by_size: Callable[[tuple[str, float]], float] = lambda pair: -pair[1]  # noqa: E731
    return [list(pair) for pair in sorted(known, key=by_size)[:most]]
