"""DICOM files opened with care: what a header says, and whose image it is as keyed hashes.

Values of a header never enter a message, a warning or a log: any of them may name a patient.
"""

import logging
import os
import stat
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import found_once
from medrobust.base.safe_files import system_errors_named
from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array
from medrobust.exceptions import (
    InvalidImageError,
    MedRobustError,
    MissingDependencyError,
    printable,
)

from .pictures import each
from .pseudonyms import keyed_hashes
from .source import file_states

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
LARGEST_INFLATED = 1 << 28
"""Bytes that a deflated file may unpack to."""

DEFERRED = 1 << 16
"""Bytes from which an element that nobody asks for stays on disk."""

SUFFIXES: Final = (".dcm", ".dicom", ".ima")
"""What DICOM files are known by without being opened, in lower case."""

CHATTY = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "rle")
"""Loggers that quote values or tracebacks of a file."""


@dataclass(frozen=True, slots=True)
class HeaderIndex:
    """Whose image each file of a folder is.

    Attributes:
        files: Paths in the folder, POSIX text.
        instances: Keyed hash of the SOP instance UID of each; empty for what is no DICOM image.
        patients: Keyed hash of the patient id of each; empty where there is none.
    """

    files: Sequence[str]
    instances: Sequence[str]
    patients: Sequence[str]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep what pydicom and its decoders would say about a file off the terminal and the log.

    To be entered outside threads: filters, loggers and pydicom's settings belong to the process.
    """
    pydicom = library()
    loggers = [logging.getLogger(name) for name in CHATTY]
    states = [logger.disabled for logger in loggers]
    mode = pydicom.config.settings.reading_validation_mode
    try:
        for logger in loggers:
            logger.disabled = True
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.settings.reading_validation_mode = mode
        for logger, state in zip(loggers, states, strict=True):
            logger.disabled = state


def library() -> Any:
    """Return pydicom.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import pydicom
        import pydicom.config
    except ImportError as error:
        raise MissingDependencyError(
            "reading DICOM needs pydicom: pip install 'medrobust[dicom]'."
        ) from error
    return pydicom


@contextmanager
def dicom_errors_named(file: Path) -> Iterator[None]:
    """Turn whatever parsers and decoders raise into one sentence that names the file only."""
    try:
        with system_errors_named(file):
            yield
    except MedRobustError:
        raise
    except Exception as error:  # pydicom and its plugins raise nearly every class there is
        raise InvalidImageError(
            f"{file.name} cannot be read as DICOM ({type(error).__name__}): it is damaged, cut off "
            f"or not of that format."
        ) from error


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


@contextmanager
def opened(file: Path) -> Iterator[tuple["FileDataset", BinaryIO]]:
    """Read a header, up to the pixels, where the stream then stands.

    Raises:
        InvalidImageError: If the file is no DICOM file, or inflates to what no image has; names it.
    """
    pydicom = library()
    with dicom_errors_named(file), file.open("rb") as stream:
        if not is_dicom(stream):
            raise InvalidImageError(
                f"{file.name} is no DICOM file (it lacks the mark DICM after 128 bytes)."
            )
        _check_inflated(file, stream)
        stream.seek(0)
        yield (
            pydicom.dcmread(stream, stop_before_pixels=True, defer_size=DEFERRED),
            stream,
        )


def is_dicom(stream: BinaryIO) -> bool:
    """Say whether a stream begins as a DICOM file does."""
    return stream.read(132)[128:] == b"DICM"


def dicom_names(folder: Path, *, opening: bool = True) -> Sequence[str]:
    """Return the DICOM files below a folder, looked for once a job; follow no link.

    Args:
        folder: Where to look.
        opening: Know those of other suffixes by their first bytes, and refuse what cannot be
            looked at. If false, `SUFFIXES` alone count, no file is opened, and what cannot be
            looked at is passed over.

    Returns:
        Sorted paths in the folder, POSIX text.

    Raises:
        InvalidImageError: If opening, for a file or folder that cannot be looked at.
    """
    return found_once(
        ("DICOM files", os.path.abspath(folder), opening),
        lambda: sorted(_dicom_names(folder, opening)),
    )


def _dicom_names(folder: Path, opening: bool) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        if opening:
            with unplaced(Path(error.filename)):
                raise error

    for parent, _, names in os.walk(folder, onerror=refuse):
        inside = Path(parent).relative_to(folder)
        for name in names:
            known = os.path.splitext(name)[1].lower() in SUFFIXES
            if not known and not opening:
                continue
            try:
                with unplaced(Path(parent, name)):
                    found = _is_file(Path(parent, name), known)
            except MedRobustError:
                if opening:
                    raise
                continue
            if found:
                yield (inside / name).as_posix()


def _is_file(file: Path, known: bool) -> bool:
    """Say whether a file is one, no link, and unless that is known, a DICOM file."""
    if not stat.S_ISREG(file.lstat().st_mode):
        return False
    if known:
        return True
    with file.open("rb") as stream:
        return is_dicom(stream)


def _check_inflated(file: Path, stream: BinaryIO) -> None:
    """Refuse a deflated file that would fill the memory: pydicom inflates it at once."""
    pydicom = library()
    stream.seek(0)
    meta = pydicom.filereader.read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        return
    stream.seek(144 + int(meta.FileMetaInformationGroupLength))  # preamble, mark, first element
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while block := inflater.unconsumed_tail or stream.read(1 << 16):
        total += len(inflater.decompress(block, 1 << 20))
        if total > LARGEST_INFLATED:
            raise InvalidImageError(
                f"{file.name} unpacks to more than {LARGEST_INFLATED >> 20} MiB, which no deflated "
                f"image does."
            )
        if inflater.eof:
            return


def patient_id(file: Path) -> str:
    """Return the patient id of a file in clear, for the owner of the data only."""
    with opened(file) as (header, _):
        return str(header.get("PatientID", "") or "").strip()


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
        names: Paths in it; what is no DICOM image gets empty hashes.
        key: Of the data folder.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidImageError: For a file that is gone, or a DICOM file whose header cannot be read;
            names it.
    """
    files = [root / name for name in names]

    def write(target: Path) -> str:
        with quiet_pydicom(), ArrayWriter(target, np.dtype("S32"), (len(files), 2)) as writer:
            for pair in each(lambda file: _hashes(file, key), files):
                writer.write(np.array(pair, dtype="S32").tobytes())
            return writer.close()

    asked = {
        "kind": "dicom headers",
        "files": file_states(files, named=unplaced),
        "key": fingerprint(key.hex()),
    }
    found: CachedArray = cached_array("dicom-headers", asked, write, cache_dir=cache_dir)
    instances, patients = np.char.decode(found.open(), "ascii").T.tolist()
    return HeaderIndex(names, instances, patients)


def _hashes(file: Path, key: bytes) -> tuple[str, str]:
    with unplaced(file), opened(file) as (header, _):
        kind = header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID")
        if not header.get("Rows") or not header.get("SOPInstanceUID"):
            if kind is None or "Image Storage" in kind.name:
                raise InvalidImageError(f"{file.name} is cut off or damaged before its pixels.")
            return "", ""  # a report, a plan, a directory
        patient = str(header.get("PatientID", "") or "").strip()
        (instance,) = keyed_hashes(key, "instance", [str(header.SOPInstanceUID)])
        hashed = keyed_hashes(key, "patient", [patient])[0] if patient else ""
        return str(instance), str(hashed)
