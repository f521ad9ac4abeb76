"""What an audit has found of a split, kept in the cache so that later tables carry it."""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medrobust.datasets.cache import cache_folder
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.sampling import limited
from medrobust.exceptions import StoreError


def finished(
    image_set: ImageSet, *, limit: int | None, cache_dir: str | os.PathLike[str] | None
) -> ImageSet:
    """Give a split the findings of its last audit, and take the part that was asked for.

    Args:
        image_set: A whole split, as its source has opened it.
        limit: See `limited`.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
    """
    found = read_findings(image_set, cache_dir)
    return limited(replace(image_set, marks=(*image_set.marks, *found)), limit)


def read_findings(
    image_set: ImageSet, cache_dir: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Return what audits have found of a split, by itself and beside other sets."""
    found, between = _record(image_set, cache_dir)
    return (*found, *(sentence for kept in between.values() for sentence in kept))


def write_findings(
    image_set: ImageSet,
    sentences: Sequence[str],
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    beside: str | None = None,
) -> None:
    """Keep the sentences of an audit of a split, in place of those of an earlier one.

    Args:
        image_set: The split.
        sentences: What was found; may be none.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
        beside: The other set that the split was compared with; None for an audit of its own set.
            What was found beside each set is kept apart.

    Raises:
        StoreError: If the cache cannot be written.
    """
    found, between = _record(image_set, cache_dir)
    if beside is None:
        found = tuple(sentences)
    else:
        between[beside] = tuple(sentences)
    record = {"findings": found, "between": {name: kept for name, kept in between.items() if kept}}
    file = _file(image_set, cache_dir)
    temporary = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write the cache folder {cache_folder(cache_dir)} ({error.strerror}). "
            f"Pass dataset.cache_dir=<folder> or set MEDROBUST_CACHE."
        ) from error


def _record(
    image_set: ImageSet, cache_dir: str | os.PathLike[str] | None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return what was found of a split by itself, and other set -> what was found beside it."""
    try:
        record = json.loads(_file(image_set, cache_dir).read_text(encoding="utf-8"))
        between = record.get("between", {}).items()
        return tuple(map(str, record["findings"])), {k: tuple(map(str, v)) for k, v in between}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (), {}


def _file(image_set: ImageSet, cache_dir: str | os.PathLike[str] | None) -> Path:
    return cache_folder(cache_dir) / "audits" / f"{image_set.fingerprint}.json"
