"""Notes on alarms: that one is known, and that the detector begins anew.

A note is one sealed file in the folder of a monitor, `notes/0001.json`, and is never changed. It
silences the exit status of the alarm that was there, until a day without alarm ends it; with
`reset`, the detector forgets all windows up to the last day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medrobust.exceptions import ConfigurationError, InvalidDataError

from .folder import MonitorFolder

LONGEST = 500
"""Characters of a note."""


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said of an alarm.

    Attributes:
        day: Last day that was judged.
        since: First day of the alarm; None where there was none.
        text: What was found, or done.
        reset: Whether the detector begins anew after that day.
        written: When, in UTC.
    """

    day: str
    since: str | None
    text: str
    reset: bool
    written: str


def acknowledge(place: Path, text: str, *, reset: bool = False) -> Note:
    """Keep a note on the present alarm; with `reset`, the detector begins anew.

    Args:
        place: Folder of the monitor.
        text: What was found, or done; it is kept as it is written, so that it names nobody.
        reset: Also where there is no alarm.

    Raises:
        InvalidDataError: If the note is empty or too long.
        ConfigurationError: If there is no alarm, or nothing that could begin anew.
    """
    text = " ".join(text.split())
    if not 0 < len(text) <= LONGEST:
        raise InvalidDataError(f"a note has 1 to {LONGEST} characters, and this one {len(text)}.")
    folder = MonitorFolder(place)
    record = folder.record()
    if reset and record["recipe"] != "default":
        raise ConfigurationError(f"{record['recipe']} has no memory: there is nothing to reset.")
    with folder.locked():
        status = folder.read("status.json") or {}
        if status.get("day") is None:
            raise ConfigurationError(f"{place} has judged no day yet: there is no alarm.")
        if not status["alarm"] and not reset:
            raise ConfigurationError(
                f"{place} has no alarm on {status['day']}: pass --reset to begin anew all the same."
            )
        written = datetime.now(UTC).isoformat(timespec="seconds")
        note = Note(status["day"], status["since"], text, reset, written)
        folder.add_note(asdict(note))
    return note


def notes_of(folder: MonitorFolder) -> list[Note]:
    """Return all notes, oldest first.

    Raises:
        StoreError: If one is damaged.
    """
    return [Note(**one) for one in folder.notes()]


def acknowledged(notes: Sequence[Note], since: str | None) -> Note | None:
    """Return the last note on the alarm that began on a day, None where nobody knows of it."""
    fitting = [note for note in notes if since is not None and note.since == since]
    return fitting[-1] if fitting else None


def resets(notes: Sequence[Note]) -> list[str]:
    """Return the days after which the detector begins anew."""
    return sorted({note.day for note in notes if note.reset})


def in_status(notes: Sequence[Note], since: str | None) -> Mapping[str, Any]:
    """Return what `status.json` says of notes."""
    known = acknowledged(notes, since)
    return {
        "acknowledged": None if known is None else known.text,
        "notes": [asdict(note) for note in notes],
    }
