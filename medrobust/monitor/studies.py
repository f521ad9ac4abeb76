"""Studies as a monitor sees them: when, whose (hashed), and what streams say of each."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float32Array, Float64Array, Int64Array

EPOCH = date(1970, 1, 1)
DAY = 86_400

Chosen: TypeAlias = Int64Array | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Studies:
    """N studies and their streams.

    Attributes:
        ids: (N,) keyed hashes, or names while they are read.
        times: int64 (N,), seconds since 1970 as the clock of the site showed them.
        patients: (N,) keyed hashes, or names while they are read.
        numbers: Stream -> float64 (N,), NaN where missing.
        categories: Stream -> (N,) texts, empty where missing.
        vectors: "embedding", "scores" -> float32 (N, D).
        labels: int64 (N,), index among the scores; None where none are known.
        zone: The first zone that time stamps state, as +02:00; empty: none; None: not known.
    """

    ids: NDArray[np.str_]
    times: Int64Array
    patients: NDArray[np.str_]
    numbers: Mapping[str, Float64Array] = field(default_factory=dict)
    categories: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    vectors: Mapping[str, Float32Array] = field(default_factory=dict)
    labels: Int64Array | None = None
    zone: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def days(self) -> Int64Array:
        """Days since 1970: int64 (N,)."""
        return self.times // DAY

    @property
    def patient_codes(self) -> Int64Array:
        """Number of each study's patient, by the first one's place: int64 (N,)."""
        _, firsts, codes = np.unique(self.patients, return_index=True, return_inverse=True)
        return firsts.argsort().argsort()[codes].astype(np.int64)

    def rows(self, chosen: Chosen) -> "Studies":
        """Return some of the studies."""
        return Studies(
            ids=self.ids[chosen],
            times=self.times[chosen],
            patients=self.patients[chosen],
            numbers={name: values[chosen] for name, values in self.numbers.items()},
            categories={name: values[chosen] for name, values in self.categories.items()},
            vectors={name: values[chosen] for name, values in self.vectors.items()},
            labels=None if self.labels is None else self.labels[chosen],
            zone=self.zone,
        )

    def in_order(self) -> "Studies":
        """Sort by time, equal times by id: the order in which they came changes nothing."""
        return self.rows(np.lexsort((self.ids, self.times)))

    def in_content_order(self) -> "Studies":
        """Sort by time, equal times by what streams say, then by all that the patient has.

        Names do not count, nor the key that hides them: the same studies give the same order.
        """
        own = self._digests()
        codes = self.patient_codes
        order = np.lexsort((own, self.times, codes))
        parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(self) else []
        whole = np.array([_number(self.times[p], own[p]) for p in parts], np.uint64)
        return self.rows(np.lexsort((whole[codes], own, self.times)))

    def _digests(self) -> NDArray[np.uint64]:
        """Return a number of what streams say of each study: (N,), platforms alike."""
        numbers = [self.numbers[name] + 0.0 for name in sorted(self.numbers)]  # no -0
        numbers = [np.where(np.isnan(values), np.nan, values) for values in numbers]
        rows: list[NDArray[Any]] = [self.vectors[name] for name in sorted(self.vectors)]
        if numbers:
            rows.append(np.stack(numbers, axis=1))
        rows += [self.categories[name] for name in sorted(self.categories)]
        return np.array([_number(*(part[i] for part in rows)) for i in range(len(self))], np.uint64)


def _number(*parts: Any) -> int:
    """Digest arrays and texts."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else str(part).encode()
        found.update(f"{len(content)} ".encode() + content)
    return int.from_bytes(found.digest(), "little")


def joined(parts: Sequence[Studies]) -> Studies:
    """Join studies of the same streams.

    Raises:
        InvalidDataError: If streams or their sizes differ.
    """
    first = parts[0]
    for part in parts:
        if (complaint := unlike(first, part)) is not None:
            raise InvalidDataError(f"these studies do not belong together: {complaint}.")
    known = [part.labels for part in parts if part.labels is not None]
    return Studies(
        ids=np.concatenate([part.ids for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        patients=np.concatenate([part.patients for part in parts]),
        numbers={n: np.concatenate([p.numbers[n] for p in parts]) for n in first.numbers},
        categories={n: np.concatenate([p.categories[n] for p in parts]) for n in first.categories},
        vectors={n: np.concatenate([p.vectors[n] for p in parts]) for n in first.vectors},
        labels=np.concatenate(known) if len(known) == len(parts) else None,
        zone=first.zone,
    )


def unlike(first: Studies, other: Studies) -> str | None:
    """Say why studies have other streams than the first, or return None."""
    for kind in ("numbers", "categories", "vectors"):
        own, given = set(getattr(first, kind)), set(getattr(other, kind))
        if own != given:
            odd = sorted(own ^ given)[0]
            where = "missing" if odd in own else "new"
            return f"the {kind} stream {odd!r} is {where}"
    for name, rows in first.vectors.items():
        if rows.shape[1] != other.vectors[name].shape[1]:
            return f"{name} has {other.vectors[name].shape[1]} columns, not {rows.shape[1]}"
    return None


def seconds_of(text: str) -> int:
    """Read a time stamp: ISO 8601 or DICOM's digits; one with a zone is taken to UTC.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> seconds_of("1970-01-02"), seconds_of("19700102"), seconds_of("1970-01-01 00:01:00")
        (86400, 86400, 60)
    """
    found = _read_time(text.strip())
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def zone_of(text: str) -> str:
    """Return the zone that a time stamp that can be read states; empty where it states none.

    Example:
        >>> zone_of("2026-01-31T08:30:00+02:00"), zone_of("20260131083000")
        ('+02:00', '')
    """
    found = _read_time(text.strip())
    return found.isoformat()[19:].lstrip(".0123456789") if found.tzinfo else ""


def _read_time(text: str) -> datetime:
    """Read ISO 8601, or date and time of DICOM in one: 20260131083000.000000+0200."""
    dicom = re.fullmatch(r"(\d{8})(\d{6})(?:\.\d{1,6})?([+-]\d{4})?", text)
    return datetime.fromisoformat(f"{dicom[1]}T{dicom[2]}{dicom[3] or ''}" if dicom else text)


def day_text(day: int) -> str:
    """Write a day since 1970 as a date.

    Example:
        >>> day_text(1)
        '1970-01-02'
    """
    if not 0 <= day + EPOCH.toordinal() - 1 < date.max.toordinal():
        return f"year {1970 + int(day) // 365}"
    return (EPOCH + timedelta(days=int(day))).isoformat()
