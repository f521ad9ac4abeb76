"""What an audit has found of a split, kept in the cache so that later tables carry it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medrobust.base.findings import Finding, read_finding
from medrobust.base.whole_files import write_whole
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
    return limited(replace(image_set, findings=(*image_set.findings, *found)), limit)


@dataclass(frozen=True, slots=True)
class Looked:
    """How far the pictures of a split were compared.

    Attributes:
        compared: What with: split of its own set, or "pbc/test" for that of another one -> digest
            of its hashes.
        left_out: Likewise -> why it was not compared with it.
    """

    compared: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_findings(
    image_set: ImageSet, cache_dir: str | os.PathLike[str] | None = None
) -> tuple[Finding, ...]:
    """Return what audits have found of a split, by itself and beside other sets."""
    kept = _record(image_set, cache_dir).values()
    return tuple(finding for part in kept for finding in part["findings"])


def read_looked(
    image_set: ImageSet, cache_dir: str | os.PathLike[str] | None = None
) -> Mapping[str, Looked]:
    """Return how far audits have looked: other set -> splits of it; "" is the set itself."""
    return {
        beside: Looked(part["compared"], part["left_out"])
        for beside, part in _record(image_set, cache_dir).items()
    }


def write_findings(
    image_set: ImageSet,
    found: Sequence[Finding],
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    looked: Looked,
    beside: str = "",
) -> None:
    """Keep what an audit of a split has found, in place of what an earlier one has.

    Args:
        image_set: The split.
        found: What was found; may be none.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
        looked: How far it has looked.
        beside: The other set that the split was compared with; empty for an audit of its own set.
            What was found beside each set is kept apart.

    Raises:
        StoreError: If the cache cannot be written.
    """
    record = _record(image_set, cache_dir)
    record[beside] = {
        "findings": list(found),
        "compared": dict(looked.compared),
        "left_out": dict(looked.left_out),
    }
    file = _file(image_set, cache_dir)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, json.dumps(record, default=Finding.record).encode())
    except OSError as error:
        raise StoreError(
            f"cannot write the cache folder {cache_folder(cache_dir)} ({error.strerror}). "
            f"Pass dataset.cache_dir=<folder> or set MEDROBUST_CACHE."
        ) from error


def _record(
    image_set: ImageSet, cache_dir: str | os.PathLike[str] | None
) -> dict[str, dict[str, Any]]:
    """Return what was kept of a split: other set, or "" -> findings, compared, left_out."""
    try:
        record = json.loads(_file(image_set, cache_dir).read_text(encoding="utf-8"))
        return {
            str(beside): {
                "findings": [read_finding(kept) for kept in part["findings"]],
                "compared": {str(k): str(v) for k, v in part["compared"].items()},
                "left_out": {str(k): str(v) for k, v in part["left_out"].items()},
            }
            for beside, part in record.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _file(image_set: ImageSet, cache_dir: str | os.PathLike[str] | None) -> Path:
    return cache_folder(cache_dir) / "audits" / f"{image_set.fingerprint}.json"
