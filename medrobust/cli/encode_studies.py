"""Images of studies through a model: a run of the package on clean images, into a store of its own.

New studies have no labels, and a run wants some: the rows are given the class names in turn, and
nothing that depends on them is read.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medrobust.exceptions import ConfigurationError

if TYPE_CHECKING:
    from medrobust.monitor.models import Model
    from medrobust.monitor.studies import Studies
    from medrobust.monitor.tables import Columns

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def encoded(source: Path, columns: "Columns", run: Sequence[str]) -> "tuple[Studies, Model]":
    """Return the studies of a table or folder, with features and scores, and their model.

    Args:
        source: A table with a column `path`, or a folder of images. Of DICOM files the headers say
            when, whose, and further streams; of others the path is the name of a study, and the
            time of the file that of the study.
        columns: What the columns of the table are.
        run: Choices and keys of a run: model=..., dataset=folder or dicom, dataset.class_names=...

    Raises:
        ConfigurationError: If the run fails, or class names are not given.
    """
    from medrobust.evaluation.store import Store
    from medrobust.monitor.models import model_of
    from medrobust.monitor.stored import Choice, clean_cell, studies_of_cell
    from medrobust.monitor.tables import studies_of_table

    names = _class_names(run)
    with tempfile.TemporaryDirectory(prefix="medrobust-monitor-") as temporary:
        work = Path(temporary)
        table = source
        if source.is_dir():
            table = _listed(source, columns, work / "studies.csv", run)
        paths = _write_table(table, work / "images.csv", names)
        asked, measured = _without_quality(columns)
        studies = studies_of_table(table, replace(asked, ignored=(*columns.ignored, "path")))
        root = source if source.is_dir() else source.parent
        _run(work, root, run)
        store = Store(work / "store")
        cell = clean_cell(store, Choice())
        found = studies_of_cell(store, cell, Choice(per_day=1))
        lacking = sorted(measured - set(found.numbers))
        if lacking:
            raise ConfigurationError(
                f"the reference has {lacking[0]!r}, and these images were not measured: add "
                f"quality=alone to the keys of --encode, as when the monitor was fitted."
            )
        order = _places(paths, found.ids.tolist(), work / "key")
        vectors = {name: rows[order] for name, rows in found.vectors.items()}
        quality = {name: values[order] for name, values in found.numbers.items()}
        studies = replace(
            studies,
            numbers={**studies.numbers, **quality},
            vectors={**studies.vectors, **vectors},
        )
        return studies, model_of(cell)


def _without_quality(columns: "Columns") -> "tuple[Columns, set[str]]":
    """Take measures of image quality, which no table has, off the columns of a monitor."""
    from medrobust.quality import MEASURES

    measured = {f"quality {name}" for name in MEASURES} & set(columns.numeric or ())
    if not measured:
        return columns, measured
    others = tuple(name for name in columns.numeric or () if name not in measured)
    return replace(columns, numeric=others), measured


def _places(paths: Sequence[str], ids: Sequence[str], key_file: Path) -> list[int]:
    """Return where the image of each row stands among those that were encoded.

    Raises:
        ConfigurationError: If one has another name there, as frames of one file have.
    """
    from medrobust.datasets.own.pseudonyms import keyed_hashes, read_key

    place = {name: index for index, name in enumerate(ids)}
    hashes = keyed_hashes(read_key(key_file), "sample", paths).tolist()
    missing = [path for path, name in zip(paths, hashes, strict=True) if name not in place]
    if missing:
        raise ConfigurationError(
            f"{missing[0]} was encoded under another name: write paths as they are below the "
            f"folder of the table, without ./ or .., one image a file."
        )
    return [place[name] for name in hashes]


def _class_names(run: Sequence[str]) -> list[str]:
    """Read dataset.class_names=[a,b] as it was typed.

    Raises:
        ConfigurationError: If it is not there, or has fewer than two.
    """
    given = [text.partition("=")[2] for text in run if text.startswith("dataset.class_names=")]
    names = [name.strip(" '\"") for name in given[-1].strip("[]").split(",")] if given else []
    if len(names) < 2:
        raise ConfigurationError(
            "--encode needs the classes that the model tells apart: add "
            "'dataset.class_names=[normal,pneumonia]', the same for reference and new studies."
        )
    return names


def of_dicom(run: Sequence[str]) -> bool:
    """Say whether the images of a run are DICOM files."""
    return "dataset=dicom" in run


def _listed(folder: Path, columns: "Columns", file: Path, run: Sequence[str]) -> Path:
    """Write a table of the images in a folder, and say which files were passed over.

    Of DICOM files it has what their headers say, of others their path and the time of the file.

    Raises:
        ConfigurationError: If there are none.
    """
    table = _of_headers(folder, columns) if of_dicom(run) else _of_files(folder, columns)
    if not table["path"]:
        kinds = "DICOM images" if of_dicom(run) else f"images ({', '.join(PICTURES)})"
        raise ConfigurationError(f"{folder} holds no {kinds}: give a table or another folder.")
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    return file


def _of_headers(folder: Path, columns: "Columns") -> dict[str, list[str]]:
    from medrobust.datasets.own.dicom_search import passed_sentences
    from medrobust.monitor.dicom_studies import columns_of, headers

    found, passed = headers(folder)
    for sentence in passed_sentences(passed):
        print(sentence, file=sys.stderr)
    known = columns.fitted
    return {
        columns.id: [one.instance for one in found],
        columns.time: [one.time for one in found],
        columns.patient: [one.patient for one in found],
        "path": [one.path for one in found],
        **columns_of(found, whole=known),
    }


def _of_files(folder: Path, columns: "Columns") -> dict[str, list[str]]:
    from datetime import UTC, datetime

    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in PICTURES]
    names = [path.relative_to(folder).as_posix() for path in found]
    times = [datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in found]
    return {
        columns.id: names,
        columns.time: [time.strftime("%Y-%m-%dT%H:%M:%S") for time in times],
        "path": names,
    }


def _write_table(table: Path, file: Path, names: Sequence[str]) -> Sequence[str]:
    """Write what the run reads, path and a class in turn; return the paths."""
    from medrobust.datasets.own.table import read_table

    paths = read_table(table).columns.get("path")
    if paths is None:
        raise ConfigurationError(f"{table.name} has no column 'path' that names the images.")
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        rows.writerows([path, names[row % len(names)]] for row, path in enumerate(paths))
    return paths


def _run(work: Path, root: Path, run: Sequence[str]) -> None:
    """Run the package; what it says is shown where it fails.

    Raises:
        ConfigurationError: With its last line.
    """
    own = [
        f"dataset.csv={work / 'images.csv'}",
        f"dataset.root={root.resolve()}",
        f"dataset.key_file={work / 'key'}",
        f"dataset.cache_dir={work / 'cache'}",
        "corruption=clean",
        "validation=false",
        "audit=false",
        "store.features=true",
        f"store.dir={work / 'store'}",
        f"hydra.run.dir={work / 'run'}",
        "logger=none",
    ]
    command = [sys.executable, "-m", "medrobust", *run, *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["nothing"]
        raise ConfigurationError(f"encoding the images failed: {said[0].removeprefix('error: ')}")
