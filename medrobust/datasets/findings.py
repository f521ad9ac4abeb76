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
    """Return the sentences of the last audit of a split; none if there was none."""
    try:
        record = json.loads(_file(image_set, cache_dir).read_text(encoding="utf-8"))
        return tuple(str(sentence) for sentence in record["findings"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def write_findings(
    image_set: ImageSet,
    sentences: Sequence[str],
    cache_dir: str | os.PathLike[str] | None = None,
) -> None:
    """Keep the sentences of an audit of a split, in place of those of an earlier one.

    Raises:
        StoreError: If the cache cannot be written.
    """
    file = _file(image_set, cache_dir)
    beside = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside.write_text(json.dumps({"findings": list(sentences)}), encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write the cache folder {cache_folder(cache_dir)} ({error.strerror}). "
            f"Pass dataset.cache_dir=<folder> or set MEDROBUST_CACHE."
        ) from error


def _file(image_set: ImageSet, cache_dir: str | os.PathLike[str] | None) -> Path:
    return cache_folder(cache_dir) / "audits" / f"{image_set.fingerprint}.json"
