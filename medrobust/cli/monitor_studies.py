"""The studies that a monitor is given: what is typed for them, and how they are read."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.exceptions import ConfigurationError

from .parsing import listed

if TYPE_CHECKING:
    from medrobust.monitor.models import Model
    from medrobust.monitor.studies import Studies


START = "2026-01-01"
"""First day of studies of a store without time stamps."""


def add_source(parser: ArgumentParser) -> None:
    """Let a job say what the columns of a table are, or which cell of a store is meant."""
    group = parser.add_argument_group("columns of a table")
    group.add_argument("--id", default="id", help="names a study (only its keyed hash is kept)")
    group.add_argument("--time", default="time", help="when it was made")
    group.add_argument("--patient", default="patient", help="whose it is")
    group.add_argument("--ignore", action="append", default=[], help="no streams: A,B")
    group = parser.add_argument_group("a cell of a store")
    for name in ("dataset", "split", "prompts"):
        group.add_argument(f"--{name}", default="", help="where the store has several")
    group.add_argument("--per-day", type=int, default=0, help="studies a day, without time stamps")
    group.add_argument("--start", default=START, help="first of these days")
    parser.add_argument(
        "--model", default="", help="name in the store; for a table, what made its features"
    )
    parser.add_argument(
        "--encode",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="encode the images that a table (column path) or folder names, by these keys of a run",
    )
    parser.add_argument("--key", type=Path, help="file that hides names (default MONITOR.key)")


def key_file(given: Namespace, monitor: Path) -> Path:
    """Return the file that hides names: as it is typed, else beside the monitor."""
    found: Path = given.key or monitor.with_name(f"{monitor.resolve().name}.key")
    return found


def known_key(given: Namespace) -> bytes:
    """Return the key that a monitor was fitted with.

    Raises:
        ConfigurationError: If it is not there, or cannot be read.
    """
    from medrobust.datasets.own.pseudonyms import read_key

    file = key_file(given, given.monitor)
    if not file.exists():
        raise ConfigurationError(
            f"{file} is not there, the key that hides names: put it back beside the monitor, or "
            f"pass --key FILE. Without it known studies cannot be told from new ones."
        )
    return read_key(file)


def kept_columns(source: Path, given: Namespace) -> dict[str, str] | None:
    """Return the columns that an update must name as the fit did; None where there is no table."""
    if source.is_dir():
        return None
    return {"id": given.id, "time": given.time, "patient": given.patient}


def check_columns(source: Path, given: Namespace, record: Mapping[str, Any]) -> None:
    """Refuse names, times and patients of other columns than those of the reference.

    A monitor that was fitted before columns were kept, or to no table, takes any.

    Raises:
        ConfigurationError: Naming the first that differs.
    """
    fitted, own = record.get("columns"), kept_columns(source, given)
    if fitted is None or own is None:
        return
    for option, name in own.items():
        if name != fitted[option]:
            raise ConfigurationError(
                f"--{option} is {name!r}, and the monitor was fitted with {fitted[option]!r}: "
                f"pass --{option} {fitted[option]}, and call the column so."
            )


def _check_no_store(source: Path, given: Namespace) -> None:
    """Refuse options of a cell of a store where there is none."""
    typed = {"--per-day": given.per_day, "--start": given.start != START}
    typed |= {f"--{name}": getattr(given, name) for name in ("dataset", "split", "prompts")}
    for option, value in typed.items():
        if value:
            raise ConfigurationError(
                f"{option} chooses of a store, and {source} is none: leave {option} out."
            )


def _check_store(given: Namespace) -> None:
    """Refuse options of a table where studies come from a store."""
    typed = {f"--{name}": getattr(given, name) != name for name in ("id", "patient")}
    typed["--label"] = bool(getattr(given, "label", ""))
    for option, value in typed.items():
        if value:
            raise ConfigurationError(
                f"{option} names a column of a table, and a store knows its own ids, patients and "
                f"labels: leave {option} out."
            )


def read_studies(source: Path, given: Namespace) -> "tuple[Studies, Model]":
    """Read studies and their model.

    Raises:
        ConfigurationError: If the source is not there, or is no table, folder of images or store.
        InvalidDataError: If it does not hold what it should.
    """
    from medrobust.monitor.models import typed_model
    from medrobust.monitor.stored import Choice, is_store, studies_of_store
    from medrobust.monitor.tables import Columns, studies_of_table

    if not source.exists():
        raise ConfigurationError(f"{source} is not there: give a table, a folder or a store.")
    if given.encode or not source.is_dir():
        _check_no_store(source, given)
    numeric, categorical = given.numeric, given.categorical
    if hasattr(given, "reference"):
        numeric, categorical = listed(numeric) or None, listed(categorical) or None
    columns = Columns(
        id=given.id,
        time=given.time,
        patient=given.patient,
        label=getattr(given, "label", ""),
        numeric=None if numeric is None else tuple(numeric),
        categorical=None if categorical is None else tuple(categorical),
        ignored=tuple(listed(given.ignore)),
        open=hasattr(given, "reference"),
    )
    if given.encode:
        from .encode_studies import encoded

        return encoded(source, columns, given.encode)
    if source.is_dir():
        if os.access(source, os.R_OK) and not any(source.iterdir()):
            raise ConfigurationError(f"{source} is empty: give a table, a folder or a store.")
        if not is_store(source):
            raise ConfigurationError(
                f"{source} is neither a table nor a store: images are encoded by --encode "
                f"model=NAME dataset=folder 'dataset.class_names=[A,B]'."
            )
        _check_store(given)
        choice = Choice(
            given.model, given.dataset, given.split, given.prompts, given.per_day, given.start
        )
        return studies_of_store(source, choice, columns)
    return studies_of_table(source, columns), typed_model(given.model)


def image_files(source: Path, studies: "Studies", run: Sequence[str]) -> list[Path]:
    """Return the image of each study: of its column `path`, or in its folder.

    Args:
        source: Table or folder.
        studies: As they were read of it.
        run: Keys of the run that has encoded them.

    Raises:
        ConfigurationError: If nothing names them.
    """
    if source.is_dir() and not (source / "cells").is_dir():
        from medrobust.monitor.dicom_studies import headers

        from .encode_studies import of_dicom

        found = headers(source)[0] if of_dicom(run) else []
        paths = {one.instance: one.path for one in found}
        return [source / paths.get(name, name) for name in studies.ids.tolist()]
    from medrobust.datasets.own.table import read_table

    names = None if source.is_dir() else read_table(source).columns.get("path")
    if names is None:
        raise ConfigurationError(f"{source} names no images: --pictures needs a column 'path'.")
    return [source.parent / name for name in names]
