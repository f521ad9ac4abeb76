"""A folder searched for DICOM files, and whose image each of them is, as keyed hashes.

One file that cannot be used stops nothing: it is passed over with the reason, which names no value
of its header.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.missing import names_nobody
from medrobust.base.once import found_once
from medrobust.base.safe_files import OUT_OF_REACH
from medrobust.base.wording import counted
from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array
from medrobust.exceptions import MedRobustError, printable

from .dicom_headers import dicom_errors_named, is_dicom, opened, quiet_pydicom
from .dicom_imageless import check_image
from .pictures import each
from .pseudonyms import keyed_hashes
from .samples import file_states
from .source_contents import times_of_change
from .unlisted import belongs_to_people

SUFFIXES: Final = (".dcm", ".dicom", ".ima")
"""What DICOM files are known by without being opened, in lower case."""

DENIED: Final = "cannot be read (permission denied)"

ENTRY: Final = np.dtype([("instance", "S32"), ("patient", "S32"), ("reason", "S160")])
"""What the cache keeps of a file."""

HEADERS_FORMAT: Final = 5
"""Version of these entries."""

MOST_NAMED: Final = 20
"""Files that a sentence of the log or of an error names."""

MOST_LISTED: Final = 1000
"""Files that the report lists for each reason."""


@dataclass(frozen=True, slots=True)
class HeaderIndex:
    """Whose image each file of a folder is.

    Attributes:
        files: Paths in the folder, POSIX text.
        instances: Keyed hash of the SOP instance UID of each; empty for what is no DICOM image.
        patients: Keyed hash of the patient id of each; empty where there is none.
        passed: Path -> why it cannot be used, of the files that were passed over.
        root: The folder.
    """

    files: Sequence[str]
    instances: Sequence[str]
    patients: Sequence[str]
    passed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    root: Path = Path()

    def names_in_clear(self, what: Literal["instance", "patient"], most: int) -> Iterator[str]:
        """Read the names of the first images once more, for the owner of the data only."""
        images = [name for name, one in zip(self.files, self.instances, strict=True) if one]
        for name in images[:most]:
            with suppress(MedRobustError), opened(self.root / name) as (header, _):
                keyword = "SOPInstanceUID" if what == "instance" else "PatientID"
                yield str(header.get(keyword, "") or "").strip()


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """What a search has found.

    Attributes:
        names: Paths of DICOM files in the folder, POSIX text, in order.
        passed: Path -> why it could not be looked at, of files and folders.
    """

    names: Sequence[str]
    passed: Mapping[str, str]


def dicom_files(folder: Path, *, opening: bool = True) -> FolderFiles:
    """Find the DICOM files below a folder, once a job; follow no link, open no hidden file.

    Args:
        folder: Where to look.
        opening: Know those of other suffixes by their first bytes. If false, `SUFFIXES` alone
            count, and no file is opened.
    """

    def search() -> FolderFiles:
        passed: dict[str, str] = {}
        return FolderFiles(sorted(_dicom_names(folder, opening, passed)), passed)

    return found_once(("DICOM files", os.path.abspath(folder), opening), search)


def dicom_names(folder: Path) -> Sequence[str]:
    """Return the DICOM files below a folder; sorted paths in it, POSIX text."""
    return dicom_files(folder).names


def _dicom_names(folder: Path, opening: bool, passed: dict[str, str]) -> Iterator[str]:
    def closed(error: OSError) -> None:
        passed[_inside(folder, Path(error.filename))] = _reason(error)

    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = filter(belongs_to_people, folders)
        for name in names:
            file = Path(parent, name)
            known = os.path.splitext(name)[1].lower() in SUFFIXES
            if name.startswith(".") or not (known or opening):
                continue
            try:
                if _is_file(file, known):
                    yield _inside(folder, file)
            except OSError as error:
                passed[_inside(folder, file)] = _reason(error)


def _inside(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return DENIED
    return f"cannot be read ({error.strerror})"


def _is_file(file: Path, known: bool) -> bool:
    """Say whether a file is one, no link, and unless that is known, a DICOM file."""
    if not stat.S_ISREG(file.lstat().st_mode):
        return False
    if known:
        return True
    with file.open("rb") as stream:
        return is_dicom(stream)


@contextmanager
def unplaced(file: Path) -> Iterator[None]:
    """Name a file that no line of a table stands for; in records only its kind."""
    try:
        with dicom_errors_named(file):
            yield
    except MedRobustError as error:
        error.discreet = str(error).replace(
            printable(file.name), "a file in the folder of the images"
        )
        raise


def header_index(
    root: Path,
    names: Sequence[str],
    key: bytes,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> HeaderIndex:
    """Read SOP instance and patient of files, once; the cache holds their keyed hashes only.

    Args:
        root: The folder.
        names: Paths in it; what is no DICOM image gets empty hashes, and a reason.
        key: Of the data folder.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidImageError: For a file that is gone, or a disk that is lost; names the file.
    """
    files = [root / name for name in names]

    def write(target: Path) -> str:
        with quiet_pydicom(), ArrayWriter(target, ENTRY, (len(files),)) as writer:
            for entry in each(lambda file: _entry(file, key), files):
                writer.write(np.array(entry, dtype=ENTRY).tobytes())
            return writer.close()

    asked = {
        "kind": "dicom headers",
        "version": HEADERS_FORMAT,
        "files": (states := file_states(files, named=unplaced)),
        "changed": times_of_change(states),
        "key": fingerprint(key.hex()),
    }
    found: CachedArray = cached_array("dicom-headers", asked, write, cache_dir=cache_dir)
    entries = [
        [part.decode("utf-8", "ignore") for part in entry] for entry in found.open().tolist()
    ]
    for place, (_, _, reason) in enumerate(entries):
        if reason == DENIED:  # which may have changed since
            with quiet_pydicom():
                entries[place] = [part.decode() for part in _entry(files[place], key)]
    return HeaderIndex(
        names,
        [instance for instance, _, _ in entries],
        [patient for _, patient, _ in entries],
        {name: entry[2] for name, entry in zip(names, entries, strict=True) if entry[2]},
        root,
    )


def _entry(file: Path, key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return hashes of instance and patient, or none and why the file is passed over.

    Raises:
        InvalidImageError: For a file that is gone, or a disk that is lost.
    """
    try:
        return *_hashes(file, key), b""
    except MedRobustError as error:
        cause = error.__cause__
        if isinstance(cause, PermissionError):
            return b"", b"", DENIED.encode()
        gone = isinstance(cause, FileNotFoundError | NotADirectoryError)
        if gone or (isinstance(cause, OSError) and cause.errno in OUT_OF_REACH):
            raise
        told = str(error).removeprefix(printable(file.name)).strip().rstrip(".")
        return b"", b"", told.encode()[: ENTRY["reason"].itemsize]


def _hashes(file: Path, key: bytes) -> tuple[bytes, bytes]:
    with unplaced(file), opened(file) as (header, stream):
        check_image(header, stream, file)
        patient = str(header.get("PatientID", "") or "").strip()
        (instance,) = keyed_hashes(key, "instance", [str(header.SOPInstanceUID)])
        hashed = keyed_hashes(key, "patient", [patient])[0] if not names_nobody(patient) else ""
        return str(instance).encode(), str(hashed).encode()


def passed_sentences(passed: Mapping[str, str], most: int = MOST_NAMED) -> list[str]:
    """Say which files were passed over, folder by folder, and why: a sentence a reason.

    Args:
        passed: Path in the folder -> why.
        most: Files that a sentence names.

    Example:
        >>> passed_sentences({"a/x.dcm": "is no DICOM file", "a/y.dcm": "is no DICOM file"})
        ['2 files in the folder were passed over: a/x.dcm, y.dcm (each is no DICOM file)']
    """
    found: dict[str, list[str]] = {}
    for name, reason in sorted(passed.items()):
        found.setdefault(reason, []).append(name)
    said = []
    for reason, names in sorted(found.items()):
        folders: dict[str, list[str]] = {}
        for path in map(PurePosixPath, names[:most]):
            folders.setdefault(f"{path.parent}/".removeprefix("./"), []).append(path.name)
        listed = "; ".join(folder + ", ".join(inside) for folder, inside in folders.items())
        more = f" and {len(names) - most} more" if len(names) > most else ""
        were, which = ("was", "it") if len(names) == 1 else ("were", "each")
        said.append(
            f"{counted(len(names), 'file')} in the folder {were} passed over: "
            f"{printable_whole(listed)}{more} ({which} {reason})"
        )
    return said


def printable_whole(names: str) -> str:
    """Write what moves a terminal's cursor as its escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in names)
