"""Studies from a store: features and logits of a clean cell, with the metadata of its split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medrobust.base.rows_by_id import rows_by_id
from medrobust.datasets.own.table import few
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.metrics.comparisons import generator
from medrobust.metrics.scores import probabilities
from medrobust.quality import MEASURES
from medrobust.reporting.measure import encoding_of
from medrobust.types import Float32Array, Float64Array, Int64Array

from .models import Model, model_of
from .studies import DAY, Studies, seconds_of
from .tables import DISTINCT, IDENTIFYING, Columns, check_ignored

IMAGES = "images"
"""Under this name of a model the store keeps cells of images alone."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which cell of a store is meant.

    Attributes:
        model: Name; empty: the only one.
        dataset: Name; empty: the only one.
        split: "train", "val" or "test"; empty: the only one.
        prompts: Name of a prompt set; empty: the only one.
        per_day: Studies dealt out to a day, where the store knows no time; 0: it must know it.
        start: First of these days.
    """

    model: str = ""
    dataset: str = ""
    split: str = ""
    prompts: str = ""
    per_day: int = 0
    start: str = "2026-01-01"


def is_store(place: Path) -> bool:
    """Say whether a folder is a store."""
    return (place / "cells").is_dir()


def clean_cell(store: Store, choice: Choice) -> StoredCell:
    """Return the one clean cell that is meant.

    Raises:
        ConfigurationError: If there is none, or several.
    """
    if not is_store(store.root):
        raise ConfigurationError(f"{store.root} is no store: name the folder of one (store.dir).")
    pattern = f"{choice.model or '*'}/{choice.dataset or '*'}/none.clean/s0-*"
    paths = [*(store.root / "cells").glob(pattern)] or store.root.glob("cells/*/*/none.clean/s0-*")
    cells = list(store.readable(sorted(paths)))
    fitting = [
        cell
        for cell in cells
        if cell.task == "classification"
        and choice.model in ("", cell.folder.parts[-4])
        and choice.dataset in ("", cell.folder.parts[-3])
        and choice.split in ("", cell.spec.split)
        and choice.prompts in ("", str(cell.head.get("name", "")))
    ]
    if len(fitting) != 1:
        there = few(dict.fromkeys(_called(cell) for cell in fitting or cells))
        found = f"{len(fitting)} clean cells fit" if fitting else "no clean cell fits"
        raise ConfigurationError(
            f"{store.root}: {found}; there are: {there or 'none'}. Choose one by --model, "
            f"--dataset, --split and --prompts."
        )
    return fitting[0]


def _called(cell: StoredCell) -> str:
    name = str(cell.head.get("name", ""))
    return f"{cell.spec.model} {cell.spec.dataset} {cell.spec.split} {name}".strip()


def studies_of_store(place: Path, choice: Choice, columns: Columns) -> tuple[Studies, Model]:
    """Return the studies of a clean cell, and its model.

    The embedding is there where the store kept features (store.features=true).

    Raises:
        ConfigurationError: If the store does not say which cell, or when studies were made.
    """
    store = Store(place)
    cell = clean_cell(store, choice)
    if choice.per_day and columns.time in cell.data.metadata_columns:
        raise ConfigurationError(
            f"the store keeps time stamps under {columns.time!r}: leave --per-day out, which deals "
            f"studies out to days at random."
        )
    return studies_of_cell(store, cell, choice, columns), model_of(cell)


def studies_of_cell(
    store: Store,
    cell: StoredCell,
    choice: Choice,
    columns: Columns | None = None,
    *,
    quality: bool = True,
) -> Studies:
    """Return the studies of any cell of classification.

    Args:
        store: Where it lies.
        cell: Of any corruption.
        choice: Days of studies without time stamps.
        columns: What columns of the metadata are.
        quality: Whether measures of its images count, where the store has them.
    """
    data, columns = cell.data, columns or Columns()
    features = store.read_features(str(cell.record["encoding_fingerprint"]))
    vectors: dict[str, Float32Array] = {} if features is None else {"embedding": features}
    kind = data.label_kind or "multi-class"
    vectors["scores"] = probabilities(cell.arrays["logits"], kind).astype(np.float32)
    metadata = {}
    if data.metadata is not None:
        metadata = dict(zip(data.metadata_columns, data.metadata.T, strict=True))
    times = _times(metadata.pop(columns.time, None), len(data), choice, columns.time)
    measures = quality_of(store, cell) if quality else {}
    _check_named(columns, [*metadata, *measures])
    for name in columns.ignored:
        metadata.pop(name, None)
    numbers, categories = {}, {}
    for name, values in metadata.items():
        if columns.fitted:
            measured = name in (columns.numeric or ())
            if not measured and name not in (columns.categorical or ()):
                continue  # no stream of the monitor
        else:
            measured = name in (columns.numeric or ()) or _measures(values.tolist())
            measured = measured and name not in (columns.categorical or ())
        if measured:
            numbers[name] = _numbers(name, values.tolist())
        elif len(set(values.tolist())) <= IDENTIFYING or name in (columns.categorical or ()):
            categories[name] = values
        else:
            raise InvalidDataError(
                f"metadata column {name!r} has {len(set(values.tolist()))} different texts and may "
                f"name studies or people: pass --ignore {name}."
            )
    numbers |= _wanted(measures, columns)
    return Studies(
        ids=data.ids,
        times=times,
        patients=data.ids if data.groups is None else data.groups,
        numbers=numbers,
        categories=categories,
        vectors=vectors,
        labels=data.labels if data.labels.ndim == 1 else None,
    )


def _check_named(columns: Columns, there: Sequence[str]) -> None:
    """Refuse streams that were named and are not there, and streams that are to be none.

    Raises:
        InvalidDataError: Naming what is there.
    """
    for option in ("ignore",) if columns.fitted else ("ignore", "numeric", "categorical"):
        named = columns.ignored if option == "ignore" else getattr(columns, option) or ()
        for name in named:
            if name not in there:
                raise InvalidDataError(
                    f"the store has no stream {name!r}, which --{option} names; it has: "
                    f"{few(there) if there else 'none but features and scores'}. Correct the name, "
                    f"or leave it out."
                )
    check_ignored(columns)


def quality_of(store: Store, cell: StoredCell) -> dict[str, Float64Array]:
    """Return measures of the images of a cell that need no original.

    "quality NAME" -> (N,) of the images alone (quality=alone or quality=default of a run makes
    them), and NAME -> (N,) of what the model itself says of them (task=own_report,
    task=quality_prompts). Empty where the store has none.
    """
    found = _of_images(store, cell) | _of_model(store, cell)
    return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}


def _of_model(store: Store, cell: StoredCell) -> dict[str, Float64Array]:
    """Return what the same model's sentences, or reports, say of the same images."""
    spec = cell.spec
    found: dict[str, Float64Array] = {}
    for other in store.readable(sorted(cell.folder.parent.glob(f"s{spec.severity}-*"))):
        if encoding_of(other) != encoding_of(cell) or other.arrays.keys() != {"measures"}:
            continue
        rows = rows_by_id(cell.data.ids, other.data.ids)
        if rows is not None:
            named = zip(other.head["measures"], other.arrays["measures"][rows].T, strict=True)
            found |= {str(name): values for name, values in named}
    return found


def _wanted(found: dict[str, Float64Array], columns: Columns) -> dict[str, Float64Array]:
    """Leave out what is no stream of the monitor."""
    wanted = columns.numeric or () if columns.fitted else found
    return {n: v for n, v in found.items() if n in wanted and n not in columns.ignored}


def _of_images(store: Store, cell: StoredCell) -> dict[str, Float64Array]:
    """Return measures of the images alone."""
    spec, (dataset, corruption) = cell.spec, cell.folder.parts[-3:-1]
    pattern = f"cells/{IMAGES}/{dataset}/{corruption}/s{spec.severity}-*"
    for other in store.readable(sorted(store.root.glob(pattern))):
        same = other.data.fingerprint == cell.data.fingerprint and other.spec.seed == spec.seed
        if other.task == "image_quality" and same and other.spec.split == spec.split:
            rows = zip(other.head["measures"], other.arrays["measures"].T, strict=True)
            return {f"quality {n}": v for n, v in rows if not MEASURES[n].full_reference}
    return {}


def _numbers(name: str, values: Sequence[str]) -> Float64Array:
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError as error:
        raise InvalidDataError(f"metadata column {name!r}: {error}.") from error


def _measures(values: Sequence[str]) -> bool:
    different = {value for value in values if value}
    if len(different) <= DISTINCT:
        return False
    try:
        for value in different:
            float(value)
    except ValueError:
        return False
    return True


def _times(given: object, count: int, choice: Choice, column: str) -> Int64Array:
    """Read the time column, or deal studies out to days at random where none is there."""
    if given is not None:
        assert isinstance(given, np.ndarray)
        try:
            return np.array([seconds_of(text) for text in given.tolist()], dtype=np.int64)
        except ValueError as error:
            raise InvalidDataError(f"metadata column {column!r}: {error}.") from error
    if column != Columns().time:
        raise ConfigurationError(
            f"the store has no metadata column {column!r}, which --time names: correct the name, "
            f"or leave it out and pass --per-day N."
        )
    if not choice.per_day:
        raise ConfigurationError(
            f"the store keeps no time stamps under {column!r}: name the metadata column by --time, "
            f"or pass --per-day N to deal N studies out to each day at random."
        )
    try:
        first = seconds_of(choice.start)
    except ValueError as error:
        raise ConfigurationError(f"--start {choice.start}: write a date as 2026-01-31.") from error
    order = generator("medrobust monitor days").permutation(count)
    return (first + DAY * (order // choice.per_day)).astype(np.int64)
