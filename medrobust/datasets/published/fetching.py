"""Published files by network: resumed where they broke off, compared with their sums, never half.

Files of Zenodo records come from https://zenodo.org, or from the server that $MEDROBUST_ZENODO
names: any that answers `/records/NUMBER/files/NAME`, and `/api/records/NUMBER` for sums that are
not known beforehand, as Zenodo does.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import zipfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.reasons import reason_of
from medrobust.base.whole_files import move_into_place
from medrobust.datasets.cache import SPARE
from medrobust.datasets.npz import DAMAGE
from medrobust.datasets.own.table import few
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    StoreError,
)

log = logging.getLogger(__name__)

ZENODO = "https://zenodo.org"
TIMEOUT = 60.0
"""Seconds without a byte after which a server is given up."""

BLOCK = 1 << 20
TOLD = 1 << 28
"""Bytes after which the log says how far a file is."""

UNREADABLE: tuple[type[Exception], ...] = (*DAMAGE, NotImplementedError, OSError, ValueError)
"""What a damaged archive, or one packed in another way, makes `zipfile` raise."""

NO_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors of the disk, not of what is unpacked to it."""

COMPLETE = 416
"""Status for a range behind the end: all of the file is there already."""


def zenodo() -> str:
    """Return the address of the server.

    Raises:
        ConfigurationError: If $MEDROBUST_ZENODO is no address.
    """
    address = (os.environ.get("MEDROBUST_ZENODO") or ZENODO).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"MEDROBUST_ZENODO={address!r} must begin with https:// or http://."
        )
    return address


def md5_of(file: Path) -> str:
    """Return the MD5 sum of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def published_md5(record: str, name: str) -> str:
    """Ask the record for the sum of one of its files.

    Raises:
        DatasetNotFoundError: If it cannot be asked, or has no such file.
    """
    try:
        with _asked(f"{zenodo()}/api/records/{record}") as answer:
            files = {entry["key"]: entry["checksum"] for entry in json.load(answer)["files"]}
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise _unreachable(record, name, error) from error
    algorithm, _, value = str(files.get(name, "")).partition(":")
    if algorithm != "md5":
        raise DatasetNotFoundError(
            f"Zenodo record {record} has no file {name}; it has: {', '.join(files)}."
        )
    return value


def fetch_file(record: str, name: str, folder: Path, *, md5: str | None = None) -> Path:
    """Fetch a file of a Zenodo record, unless it is there.

    What arrives lies in `.NAME.part` until it is whole and its sum is right; a later call goes on
    where an earlier one broke off. Processes that ask at once wait for one of them.

    Args:
        record: Number of the record.
        name: Of the file.
        folder: Where it shall lie; made if need be.
        md5: Its sum; None asks the record for it.

    Returns:
        The file.

    Raises:
        DatasetNotFoundError: If it cannot be fetched or has another sum.
        ConfigurationError: If the folder cannot be written.
        StoreError: If the disk is too full.
    """
    from filelock import FileLock

    target, part = folder / name, folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            if not target.exists():
                _fetch(record, name, part, md5 or published_md5(record, name))
                move_into_place(part, target)
    except OSError as error:
        if isinstance(error, MedRobustError):
            raise
        raise ConfigurationError(
            f"cannot write {folder} ({error.strerror}). Pass dataset.root=<folder>."
        ) from error
    return target


def _fetch(record: str, name: str, part: Path, md5: str) -> None:
    resumed = part.exists()
    log.info("fetching %s to %s", name, part.parent)
    _receive(record, name, part)
    if md5_of(part) == md5:
        return
    part.unlink()
    if not resumed:
        raise DatasetNotFoundError(
            f"{name} was fetched, but its MD5 sum is not the published one, {md5}: it was damaged "
            f"on its way, or is another version. {_by_hand(record)}"
        )
    _fetch(record, name, part, md5)  # what an earlier call had left was of another file


def _receive(record: str, name: str, part: Path) -> None:
    """Append to `part` what it lacks."""
    start = part.stat().st_size if part.exists() else 0
    url = f"{zenodo()}/records/{record}/files/{quote(name)}?download=1"
    try:
        with _asked(url, start) as answer:
            start = start if answer.status == 206 else 0
            total = start + int(answer.headers.get("Content-Length") or 0)
            _ensure_space(name, part.parent, total - start)
            with part.open("ab" if start else "wb") as stream:
                while block := answer.read(BLOCK):
                    stream.write(block)
                    if stream.tell() % TOLD < len(block):
                        log.info("%s: %d of %d MB", name, stream.tell() / 1e6, total / 1e6)
                if stream.tell() < total:
                    raise HTTPException("the connection broke off")
    except HTTPError as error:
        if error.code != COMPLETE or not start:
            raise _unreachable(record, name, error) from error
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, MedRobustError):
            raise
        raise _unreachable(record, name, error) from error


def _asked(url: str, start: int = 0) -> Any:
    wanted = {"Range": f"bytes={start}-"} if start else {}
    return urlopen(Request(url, headers={"User-Agent": "medrobust", **wanted}), timeout=TIMEOUT)


def _unreachable(record: str, name: str, error: Exception) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"{name} could not be downloaded from {zenodo()} ({reason_of(error)}). Try again, which "
        f"goes on where it broke off, name a mirror in MEDROBUST_ZENODO, or: {_by_hand(record)}"
    )


def _by_hand(record: str) -> str:
    return f"Get it from Zenodo record {record} and pass dataset.root=<its folder>."


def _ensure_space(name: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise StoreError(
            f"{name} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free. Pass "
            f"dataset.root=<folder>."
        )


def fetch_archive(record: str, name: str, folder: Path, *, md5: str | None = None) -> list[Path]:
    """Fetch `SET.zip` of a Zenodo record and unpack it to `folder/SET`, unless that is there.

    Args:
        record: Number of the record.
        name: Of the archive.
        folder: Where the set shall lie.
        md5: Its sum; None asks the record for it.

    Returns:
        The files of the set.

    Raises:
        InvalidDataError: If the archive is damaged, or would write elsewhere.
        MedRobustError: As `fetch_file` raises it.
    """
    target = folder / Path(name).stem
    if not target.is_dir():
        archive = fetch_file(record, name, folder, md5=md5)
        unpack(archive, target)
        archive.unlink()
    return sorted(file for file in target.rglob("*") if file.is_file())


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive, whole or not at all; one folder that holds everything is left out.

    Single pictures are left out where the archive holds them stacked, in `images.hdf5`, too.

    Raises:
        InvalidDataError: If it is damaged, or would write elsewhere.
        StoreError: If the disk is too full.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _places(opened, archive.name)
            _ensure_space(target.name, archive.parent, sum(i.file_size for i in members.values()))
            for place, info in members.items():
                (partial / place).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as stream, (partial / place).open("xb") as out:
                    shutil.copyfileobj(stream, out, BLOCK)
        move_into_place(partial, target)
    except UNREADABLE as error:
        if isinstance(error, MedRobustError):
            raise
        if isinstance(error, OSError) and error.errno in NO_PLACE:
            raise StoreError(
                f"{archive.name} cannot be unpacked to {target.parent} ({error.strerror}). Pass "
                f"dataset.root=<folder>."
            ) from error
        raise InvalidDataError(
            f"{archive} is damaged ({error}). Delete it and fetch it again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _places(opened: zipfile.ZipFile, name: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Return where each member goes, below the folder of the set."""
    found = {PurePosixPath(info.filename): info for info in opened.infolist() if not info.is_dir()}
    for place in found:
        if place.is_absolute() or ".." in place.parts or "\\" in str(place) or ":" in str(place):
            raise InvalidDataError(
                f"{name}: {str(place)[:80]!r} would leave the folder of the set."
            )
    if not found:
        raise InvalidDataError(f"{name} is empty.")
    tops = {place.parts[0] for place in found}
    if len(tops) == 1 and all(len(place.parts) > 1 for place in found):
        found = {place.relative_to(place.parts[0]): info for place, info in found.items()}
    if PurePosixPath("images.hdf5") in found:
        return {place: info for place, info in found.items() if place.parts[0] != "images"}
    return found


def fetch_hub_set(repository: str, name: str, folder: Path) -> list[Path]:
    """Fetch the files `.../NAME/SPLIT/FILE.npz` of a data set on the Hugging Face hub.

    Args:
        repository: Id of the data set on the hub.
        name: Of the set in it.
        folder: Where `SPLIT/FILE.npz` shall lie; what is there stays.

    Returns:
        The files.

    Raises:
        DatasetNotFoundError: If the hub cannot be used, or has no such files.
        InvalidDataError: If a file has not the sum that the hub names.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        info = hub.dataset_info(repository, files_metadata=True, timeout=TIMEOUT)
        published = {file.rfilename: file for file in info.siblings or ()}
        chosen = [path for path in published if re.search(rf"(^|/){name}/\w+/[^/]+\.npz$", path)]
        if not chosen:
            raise DatasetNotFoundError(
                f"the data set {repository} on the Hugging Face hub has no files "
                f"{name}/SPLIT/FILE.npz; it has: {few(published)}. Bring them into this layout in "
                f"{folder}."
            )
        found = []
        for path in chosen:
            target = folder.joinpath(*PurePosixPath(path).parts[-2:])
            if not target.is_file():
                log.info("fetching %s to %s", path, folder)
                arrived = hub.hf_hub_download(
                    repository,
                    path,
                    repo_type="dataset",
                    revision=info.sha,
                    local_dir=folder.parent,
                )
                _check_hub_sum(Path(arrived), published[path].lfs)
                target.parent.mkdir(parents=True, exist_ok=True)
                move_into_place(Path(arrived), target)
            found.append(target)
        return sorted(found)
    except MedRobustError:
        raise
    except Exception as error:  # the HTTP libraries of the hub's versions share no class
        raise DatasetNotFoundError(
            f"the files of {name} could not be fetched from {repository} on the Hugging Face hub "
            f"({type(error).__name__}). Try again, or get them and pass dataset.root=<folder of "
            f"the sets>."
        ) from error


def _check_hub_sum(file: Path, lfs: Any) -> None:
    if lfs is not None and file_fingerprint(file) != lfs.sha256:
        file.unlink()
        raise InvalidDataError(
            f"{file.name} was fetched, but its SHA-256 sum is not the one that the hub names. Try "
            f"again."
        )
