"""A data set as PNG files and a table that `dataset=folder` reads."""

import csv
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medrobust.base.program import program
from medrobust.base.split_facts import are_hashes
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError

from .image_set import DatasetSource, ImageSet

MULTI_LABEL = "multi-label, binary-class"


def export(source: DatasetSource, folder: Path, splits: Sequence[str] = ()) -> list[ImageSet]:
    """Write images/SPLIT/ID.png and labels.csv, and return the splits that were written.

    The table has path, label or label columns, split, and patient and metadata columns where there
    are some. Images are those that corruption acts on: uint8, at the set's size.

    Args:
        source: Of the images.
        folder: Made; must not exist, or be empty.
        splits: Names; of none, those of the usual three that there are.

    Raises:
        ConfigurationError: If the folder holds something.
        MedRobustError: As the source raises it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty: name a new folder.")
    sets = list(opened(source, splits))
    rows = [row for image_set in sets for row in exported(image_set, folder)]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return sets


def opened(source: DatasetSource, splits: Sequence[str]) -> Iterator[ImageSet]:
    """Open the splits that were asked for, or those of the usual three that exist."""
    for split in splits or dict.fromkeys(("train", "val", "test", source.split)):
        try:
            yield source.load(split)
        except DatasetNotFoundError:
            if splits or split == source.split:
                raise


def exported(image_set: ImageSet, folder: Path) -> Iterator[dict[str, str]]:
    """Write the images of a split and yield the rows of the table."""
    place = folder / "images" / image_set.split
    place.mkdir(parents=True)
    for row, identity in enumerate(image_set.ids.tolist()):
        name = f"{int(identity):06d}" if identity.isdecimal() and len(identity) < 7 else identity
        file = place / f"{name.replace('/', '-')}.png"
        Image.fromarray(np.asarray(image_set.images[row])).save(file)
        entry = {"path": file.relative_to(folder).as_posix(), "split": image_set.split}
        if image_set.label_kind == MULTI_LABEL:
            flags = image_set.labels[row].tolist()
            entry |= {n: str(f) for n, f in zip(image_set.class_names, flags, strict=True)}
        else:
            entry["label"] = image_set.class_names[image_set.labels[row]]
        if image_set.groups is not None:
            entry["patient"] = str(image_set.groups[row])
        if image_set.metadata is not None:
            entry |= dict(
                zip(image_set.metadata_columns, image_set.metadata[row].tolist(), strict=True)
            )
        yield entry


def command(image_set: ImageSet, folder: Path) -> str:
    """Say how to read the folder as a data set with the same classes."""
    names = ",".join(json.dumps(name, ensure_ascii=False) for name in image_set.class_names)
    parts = [
        "dataset=folder",
        f"dataset.csv={folder / 'labels.csv'}",
        f"dataset.split={image_set.split}",
        f"dataset.size={image_set.images.shape[1]}",
    ]
    if image_set.label_kind == MULTI_LABEL:
        parts.append(f"dataset.label_column=[{names}]")
    else:
        parts.append(f"dataset.class_names=[{names}]")
    if image_set.label_kind == "ordinal-regression":
        parts.append("dataset.label_kind=ordinal-regression")
    if image_set.positive is not None:
        parts.append(f"dataset.positive={image_set.positive}")
    kept = image_set.metadata
    hashed = [] if kept is None else [are_hashes(values) for values in kept.T]
    for key, wanted in (("metadata_columns", False), ("unit_columns", True)):
        both = zip(image_set.metadata_columns, hashed, strict=True)
        if named := [name for name, found in both if found is wanted]:
            parts.append(f"dataset.{key}=[{','.join(named)}]")
    if image_set.modality:
        parts.append(f"dataset.modality={image_set.modality}")
    return " ".join([program(), *map(shlex.quote, parts)])
