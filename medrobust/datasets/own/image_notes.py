"""What is to be said of images of one's own, kept in the cache beside their pixels."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.base.wording import counted
from medrobust.datasets.cache import ArrayWriter, cached_array, unpacking_at_most

NOTES_FORMAT = 2
"""Version of the notes in the cache: to be raised with the order or the meaning of known notes."""

MOST_PLACES = 3
"""Images that a sentence names; the others are counted."""


def cached_notes(
    name: str,
    key: Mapping[str, Any],
    known: Sequence[str],
    read: Callable[[], Iterable[Mapping[str, str]]],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> list[dict[str, str]]:
    """Return the notes of images, each with a detail of it or "", read once.

    Args:
        name: Of the entry in the cache, for people.
        key: What decides the notes.
        known: All notes there are; the cache keeps their places in it, and the details.
        read: Reads the notes of all images.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        MedRobustError: As `read` raises it.
    """

    def write(target: Path) -> str:
        rows = [
            "\n".join(f"{known.index(note)} {detail}" for note, detail in notes.items()).encode()
            for notes in read()
        ]
        dtype = np.dtype(f"S{max([1, *map(len, rows)])}")
        with unpacking_at_most(None), ArrayWriter(target, dtype, (len(rows),)) as writer:
            for row in rows:
                writer.write(np.array(row, dtype=dtype).tobytes())
            return writer.close()

    asked = {**key, "kind": name, "version": NOTES_FORMAT}
    kept = cached_array(name, asked, write, cache_dir=cache_dir).open().tolist()
    return [
        {known[int(place)]: detail for place, _, detail in _lines(row.decode())} for row in kept
    ]


def _lines(row: str) -> list[tuple[str, str, str]]:
    return [line.partition(" ") for line in row.splitlines()]


def sentence(note: str, found: Sequence[tuple[str, str]], total: int, of: str = "") -> str:
    """Say of how many images a note holds, and of which: by their lines of the table.

    Args:
        note: The note.
        found: (place in the table, detail) of each image that it holds of.
        total: Images in all.
        of: What they are of, as " of test".

    Example:
        >>> sentence("dark", [("t.csv, line 2", "depth 12"), ("t.csv, line 3", "")], 9)
        '2 of 9 images: dark (t.csv, line 2: depth 12; line 3)'
    """
    told = []
    for number, (place, detail) in enumerate(found[:MOST_PLACES]):
        where = place if not number else place.rpartition(", ")[2]
        told.append(f"{where}: {detail}" if detail else where)
    more = len(found) - MOST_PLACES
    rest = f"; and {more} more" if more > 0 else ""
    images = f"{len(found)} of {counted(total, 'image')}{of}"
    return f"{images}: {note} ({'; '.join(told)}{rest})"
