"""DICOM files opened with care: what a header says, and whose image it is as keyed hashes.

Values of a header never enter a message, a warning or a log: any of them may name a patient.
"""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from medrobust.base.safe_files import system_errors_named
from medrobust.exceptions import (
    InvalidImageError,
    MedRobustError,
    MissingDependencyError,
)

from .dicom_values import NoNumberError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
LARGEST_INFLATED = 1 << 28
"""Bytes that a deflated file may unpack to."""

DEFERRED = 1 << 16
"""Bytes from which an element that nobody asks for stays on disk."""

CHATTY = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "rle")
"""Loggers that quote values or tracebacks of a file."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep what pydicom and its decoders would say about a file off the terminal and the log.

    To be entered outside threads: filters, loggers and pydicom's settings belong to the process.
    """
    pydicom = library()
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    mode = pydicom.config.settings.reading_validation_mode
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)  # which holds for their children, too
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.settings.reading_validation_mode = mode
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
    except NoNumberError as error:
        raise InvalidImageError(f"{file.name} has a {error}: correct its header.") from error
    except Exception as error:  # pydicom and its plugins raise nearly every class there is
        raise InvalidImageError(
            f"{file.name} cannot be read as DICOM ({type(error).__name__}): it is damaged, cut off "
            f"or not of that format."
        ) from error


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
