"""Standard output and error that never stop a job: full, closed, or of few characters."""

import codecs
import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

NAMES = ("stdout", "stderr")

PLAIN = {"–": "-", "−": "-", "†": "*", "‡": "#", "§": "!", "·": "-"}
"""What ranges, signs and marks become on a stream that lacks them, one for one; others are `?`."""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what a codec cannot encode, as a handler of its errors."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(one, "?") for one in lacking), error.end


codecs.register_error("medrobust.plain", _plain)


class PatientStream:
    """A stream of text that replaces what it cannot encode, and goes on where it cannot write.

    Attributes:
        lost: Why the stream took nothing any more, or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write what can be written; return the length of the text."""
        if self.lost is None:
            try:
                self._write(text)
            except (OSError, ValueError) as error:  # ValueError: it was closed
                self.lost = error
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "medrobust.plain").decode(encoding))

    def writelines(self, lines: list[str]) -> None:
        """Write lines as they are."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send on what is held back."""
        if self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.lost = error

    def __getattr__(self, name: str) -> Any:
        """Be the stream in all else."""
        return getattr(self._stream, name)


class LogFile(logging.FileHandler):
    """A log that is given up, in a sentence, where it cannot be written: a full disk, say."""

    _lost = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that the file takes no more; the terminal still has every message."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._lost:
            self._lost = True
            reason = error.strerror or type(error).__name__
            said = f"{self.baseFilename} lacks messages from here on ({reason})\n"
            sys.stderr.write(said)

    def close(self) -> None:
        """Close the file, whether or not it takes what is held back."""
        with suppress(OSError):
            super().close()


def open_standard_files() -> None:
    """Lead what was closed before this process began to nowhere.

    Else the next file that is opened takes the place of standard output, and what a library prints
    ends up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in NAMES:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


@contextmanager
def patient_streams() -> Iterator[list[PatientStream]]:
    """Make standard output and error patient, and yield both; within itself it changes nothing."""
    found = [getattr(sys, name) for name in NAMES]
    if any(isinstance(stream, PatientStream) for stream in found):
        yield []
        return
    patient = [PatientStream(stream) for stream in found]
    pairs = list(zip(found, patient, strict=True))
    for name, (_, new) in zip(NAMES, pairs, strict=True):
        setattr(sys, name, new)
    _lead_handlers(dict(pairs))
    try:
        yield patient
    finally:
        for name, (old, new) in zip(NAMES, pairs, strict=True):
            new.flush()
            if new.lost is not None:
                _silence(old)
            if getattr(sys, name) is new:
                setattr(sys, name, old)
        _lead_handlers({new: old for old, new in pairs})


def _lead_handlers(streams: dict[Any, Any]) -> None:
    """Let handlers of the root logger write to other streams: old -> new."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler and handler.stream in streams:
            handler.stream = streams[handler.stream]


def _silence(stream: Any) -> None:
    """Lead a stream that takes nothing to nowhere: Python flushes it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def why_lost(stream: PatientStream) -> str | None:
    """Say why nothing could be written, or None: also where the reader had seen enough."""
    if stream.lost is None or isinstance(stream.lost, BrokenPipeError):
        return None
    if isinstance(stream.lost, OSError) and stream.lost.errno != errno.EPIPE:
        return os.strerror(stream.lost.errno) if stream.lost.errno else str(stream.lost)
    return "it is closed"
