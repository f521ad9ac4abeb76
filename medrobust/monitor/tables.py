"""Studies from a table: identifiers, time stamps, metadata, features and scores.

Columns `feature_*` and `score_*` are the vectors, in the order of their numbers; or these lie
beside the table as `NAME.features.npy` and `NAME.scores.npy`, one row a row of the table, which is
much faster. Every other column is a stream, unless it is ignored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medrobust.base.safe_files import whole_array
from medrobust.base.wording import counted
from medrobust.datasets.own.table import Table, few, read_table
from medrobust.exceptions import InvalidDataError
from medrobust.types import Float32Array, Float64Array, Int64Array

from .studies import Studies, seconds_of, zone_of

VECTORS = {"embedding": ("feature", "features"), "scores": ("score", "scores")}
"""Stream -> prefix of its columns, and what its file beside the table is called."""

DISTINCT = 50
"""Different numbers above which a column is a measure, and below which a category (CheXstray)."""

LARGEST = 1e9
"""Size that no feature or score reaches: squares of larger ones have no room in float32."""

IDENTIFYING = 200
"""Different texts above which a column may name studies or people."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        id: Names a study; hashed before anything is kept.
        time: When it was made.
        patient: Whose it is; a table without that column: every study stands alone.
        label: What is right, for a reference; empty for none.
        numeric: Measures; None: found in the reference.
        categorical: Categories; None: found in the reference.
        ignored: No streams.
        open: Other columns are streams, too, where both kinds are named.

    Raises:
        InvalidDataError: If a column is to be both.
    """

    id: str = "id"
    time: str = "time"
    patient: str = "patient"
    label: str = ""
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    open: bool = False

    def __post_init__(self) -> None:
        for name in sorted({*(self.numeric or ())} & {*(self.categorical or ())}):
            raise InvalidDataError(
                f"{name!r} is named by --numeric and by --categorical: name it once."
            )

    @property
    def fitted(self) -> bool:
        """Whether the streams are those of a monitor, and no others."""
        return not self.open and self.numeric is not None and self.categorical is not None


def studies_of_table(file: Path, columns: Columns) -> Studies:
    """Read the studies of a table; ids and patients are still names.

    Args:
        file: CSV or Parquet.
        columns: What its columns are.

    Raises:
        InvalidDataError: Naming the column and line of what cannot be read.
    """
    table = read_table(file)
    if not len(table):
        raise InvalidDataError(f"{file.name} has no rows: give at least one study.")
    ids = np.array(_column(table, columns.id, "--id"), dtype=np.str_)
    _check_ids(table, ids, columns.id)
    patients = ids
    if columns.patient in table.columns:
        named = table.columns[columns.patient]
        patients = np.array([p or f"\0{i}" for p, i in zip(named, ids, strict=True)], dtype=np.str_)
    vectors, taken = _vectors(file, table)
    numeric, categorical = _streams(table, columns, taken)
    _check_named(table, columns)
    missing = [name for name in (*numeric, *categorical) if name not in table.columns]
    if missing:
        raise InvalidDataError(
            f"{table.file} has no column {missing[0]!r}, which is a stream; it has: "
            f"{few(table.columns)}. Add it, empty where it is not known."
        )
    return Studies(
        ids=ids,
        times=_times(table, columns.time),
        patients=patients,
        numbers={name: _measures(table, name) for name in numeric},
        categories={name: np.array(table.columns[name], dtype=np.str_) for name in categorical},
        vectors=vectors,
        labels=_labels(table, columns.label, vectors) if columns.label else None,
        zone=zone_of(table.columns[columns.time][0]),
    )


def _column(table: Table, name: str, option: str) -> Sequence[str]:
    if name not in table.columns:
        raise InvalidDataError(
            f"{table.file} has no column {name!r}; it has: {few(table.columns)}. Pass "
            f"{option} COLUMN."
        )
    return table.columns[name]


def _check_named(table: Table, columns: Columns) -> None:
    """Refuse columns that were named and are not there, and streams that are to be none."""
    named = [("--ignore", name) for name in columns.ignored]
    if columns.patient != Columns().patient:
        named.append(("--patient", columns.patient))
    for option, name in named:
        if name not in table.columns:
            raise InvalidDataError(
                f"{table.file} has no column {name!r}, which {option} names; it has: "
                f"{few(table.columns)}. Correct the name, or leave {option} out."
            )
    check_ignored(columns)


def check_ignored(columns: Columns) -> None:
    """Refuse to leave a stream out that is wanted.

    Raises:
        InvalidDataError: Naming it.
    """
    for name in columns.ignored:
        if name in {*(columns.numeric or ()), *(columns.categorical or ())}:
            raise InvalidDataError(
                f"{name!r} is a stream of the monitor, and --ignore {name} would leave it out: "
                f"leave --ignore out, or fit a new monitor without that stream."
            )


def _check_ids(table: Table, ids: NDArray[np.str_], name: str) -> None:
    empty = np.flatnonzero(ids == "")
    if len(empty):
        raise InvalidDataError(
            f"{table.place(int(empty[0]))}: no {name!r} ({counted(len(empty), 'row')} in all); "
            f"without one, a study that is given twice counts twice."
        )


def _times(table: Table, name: str) -> Int64Array:
    found = []
    for row, text in enumerate(_column(table, name, "--time")):
        try:
            found.append(seconds_of(text))
        except (ValueError, OverflowError) as error:
            raise InvalidDataError(
                f"{table.place(row)}: the time {text!r} is neither like 2026-01-31T08:30:00 nor "
                f"like 20260131."
            ) from error
    zoned = [bool(zone_of(text)) for text in table.columns[name]]
    if any(zoned) and not all(zoned):
        raise InvalidDataError(
            f"{table.place(zoned.index(False))}: this time states no zone, and others of the table "
            f"do: write all in one way, or days are taken for other ones."
        )
    return np.array(found, dtype=np.int64)


def _vectors(file: Path, table: Table) -> tuple[dict[str, Float32Array], set[str]]:
    """Return the vectors, from files beside the table or its columns, and the columns taken."""
    vectors: dict[str, Float32Array] = {}
    taken: set[str] = set()
    for stream, (prefix, suffix) in VECTORS.items():
        beside = file.with_name(f"{file.stem}.{suffix}.npy")
        own = [name for name in table.columns if re.fullmatch(rf"{prefix}[_.]?\d+", name)]
        own.sort(key=lambda name: int(re.sub(r"\D", "", name)))  # 10 may stand before 2
        own = own or [name for name in table.columns if name.startswith(f"{prefix}_")]
        taken |= set(own)
        if beside.is_file():
            if own:
                raise InvalidDataError(
                    f"{stream}: {table.file} has columns {few(own, 2)}, and {beside.name} lies "
                    f"beside it: keep one of the two."
                )
            vectors[stream] = _array(beside, len(table))
        elif own:
            columns = [_numbers(table, name) for name in own]
            with np.errstate(over="ignore"):
                vectors[stream] = np.stack(columns, axis=1).astype(np.float32)
        if stream in vectors:
            bad = ~(np.abs(vectors[stream]) < LARGEST).all(axis=1)
            if bad.any():
                raise InvalidDataError(
                    f"{table.place(int(bad.argmax()))}: {stream} holds no finite number "
                    f"below {LARGEST:g} ({counted(int(bad.sum()), 'row')} in all): leave the study "
                    f"out, or encode it again."
                )
    return vectors, taken


def _array(file: Path, rows: int) -> Float32Array:
    try:
        found = whole_array(file)
    except (ValueError, OSError) as error:
        raise InvalidDataError(f"{file.name} cannot be read ({error}).") from error
    if found.ndim != 2 or len(found) != rows or found.dtype.kind not in "fiu":
        raise InvalidDataError(
            f"{file.name} holds {found.dtype} {found.shape}: it must be numbers ({rows}, D), a row "
            f"for each row of the table."
        )
    return np.asarray(found, dtype=np.float32)


def _streams(
    table: Table, columns: Columns, taken: set[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Say which columns are measures and which categories."""
    if columns.fitted:
        return columns.numeric or (), columns.categorical or ()
    named = {*(columns.numeric or ()), *(columns.categorical or ())}
    known = {columns.id, columns.time, columns.patient, columns.label, *columns.ignored, *taken}
    numeric, categorical = list(columns.numeric or ()), list(columns.categorical or ())
    for name in (n for n in table.columns if n not in named | known):
        values = {value for value in table.columns[name] if value}
        if len(values) > DISTINCT and all(map(_is_number, values)):
            numeric.append(name)
        elif len(values) > IDENTIFYING:
            raise InvalidDataError(
                f"column {name!r} of {table.file} has {len(values)} different texts and may name "
                f"studies or people: pass --ignore {name}, or --categorical {name} if it does not."
            )
        else:
            categorical.append(name)
    return numeric, categorical


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(table: Table, name: str) -> Float64Array:
    values = table.columns[name]
    try:
        return np.array([float(value) if value else np.nan for value in values], dtype=np.float64)
    except ValueError:
        row = next(r for r, v in enumerate(values) if v and not _is_number(v))
        raise InvalidDataError(
            f"{table.place(row)}: {values[row]!r} in column {name!r} is no number: correct it, or "
            f"fit with --categorical {name} if it is a category."
        ) from None


def _measures(table: Table, name: str) -> Float64Array:
    found = _numbers(table, name)
    bad = np.isinf(found)
    if bad.any():
        raise InvalidDataError(
            f"{table.place(int(bad.argmax()))}: {table.columns[name][int(bad.argmax())]!r} in "
            f"column {name!r} is no finite number ({counted(int(bad.sum()), 'row')} in all): "
            f"correct it, or leave it empty."
        )
    return found


def _labels(table: Table, name: str, vectors: dict[str, Float32Array]) -> Int64Array:
    values = _column(table, name, "--label")
    classes = vectors["scores"].shape[1] if "scores" in vectors else 0
    bad = [r for r, v in enumerate(values) if not v.isdecimal() or int(v) >= classes]
    if bad:
        raise InvalidDataError(
            f"{table.place(bad[0])}: the label {values[bad[0]]!r} must be the number of a score "
            f"from 0, and there are {classes} scores."
        )
    return np.array([int(value) for value in values], dtype=np.int64)
