"""Data and weights for a machine without network: fetched, checked, written down in a manifest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.whole_files import write_whole
from medrobust.exceptions import InvalidDataError

ENVIRONMENT = """\
# source this file: data and weights come from this folder, and nothing asks the network
prefetched="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)"
export MEDROBUST_DATA="$prefetched/data"
export HF_HUB_CACHE="$prefetched/hub"
export HF_HUB_OFFLINE=1
unset prefetched
"""
"""What a shell on the other machine sources, env.sh."""

MANIFEST = "manifest.json"


def fetched_model(model: Any) -> list[Path] | tuple[()]:
    """Fetch the files of a model and compare them with the sums under which the hub keeps them."""
    if not hasattr(model, "hub_id") or model.local_dir is not None:
        return ()
    files = list(model.files().values())
    for file in files:
        check_hub_file(file)
    return files


def fetched_data(source: Any) -> list[Path] | tuple[()] | None:
    """Fetch a data set with its published sum; none for generated ones, None where it cannot."""
    if hasattr(source, "fetch"):
        return list(replace(source, download=True).fetch())
    return () if type(source).__name__ == "Phantoms" else None


def check_hub_file(file: Path) -> None:
    """Compare a file of the hub's cache with its name there: SHA-256, or git's SHA-1 of small ones.

    Raises:
        InvalidDataError: If it is damaged.
    """
    blob = file.resolve()
    if len(blob.name) == 64:
        sound = file_fingerprint(file) == blob.name
    elif len(blob.name) == 40:
        content = blob.read_bytes()
        header = b"blob %d\0" % len(content)
        sound = hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == blob.name
    else:  # a cache without links (Windows) keeps no sums
        return
    if not sound:
        raise InvalidDataError(
            f"{file.name} is damaged: its sum is not the hub's. Delete {blob} and run again."
        )


def record(file: Path, name: str) -> dict[str, Any]:
    """Describe a file for the manifest."""
    return {"of": name, "bytes": file.stat().st_size, "sha256": file_fingerprint(file)}


def known(folder: Path) -> dict[str, Any]:
    """Read the manifest, empty where there is none yet."""
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        files: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{file} is damaged. Delete it and fetch again.") from error
    return files


def write_manifest(folder: Path, files: dict[str, Any]) -> None:
    """Write the manifest, whole or not at all."""
    content = json.dumps({"format": 1, "files": files}, indent=1)
    write_whole(folder / MANIFEST, f"{content}\n".encode())


def faults(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Compare every file with its entry in the manifest, and say what is missing or damaged.

    Args:
        folder: That holds the manifest.
        files: Its entries, from `known`.
    """
    for name, entry in files.items():
        file = folder / name
        if not file.is_file():
            yield f"missing  {name} ({entry['of']})"
        elif file_fingerprint(file) != entry["sha256"]:
            yield f"damaged  {name} ({entry['of']})"
