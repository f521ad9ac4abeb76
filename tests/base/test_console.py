"""Standard output that is full, closed or of few characters stops nothing."""

import io
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from medrobust.base.console import LogFile, PatientStream, patient_streams, why_lost

ENCODINGS = ["ascii", "latin-1", "cp1252", "cp437", "cp932", "gbk", "euc-kr", "utf-8", "utf-16"]
TEXT = "error, % · CE† – ≥ 5 µm │ 肺 ü ✓ \U0001f600 \udcff"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_characters_that_a_console_lacks_are_replaced_one_for_one(encoding: str) -> None:
    raw = io.BytesIO()
    stream = PatientStream(io.TextIOWrapper(raw, encoding, newline=""))
    assert stream.write(TEXT) == len(TEXT)
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert len(shown) == len(TEXT)
    assert shown.startswith("error, % ")
    assert stream.lost is None


def test_ranges_signs_and_marks_can_still_be_read_in_ascii() -> None:
    raw = io.BytesIO()
    stream = PatientStream(io.TextIOWrapper(raw, "ascii", newline=""))
    stream.write("61.5–90.4† −3.0‡ 7.1§ ✓")
    stream.flush()
    assert raw.getvalue() == b"61.5-90.4* -3.0# 7.1! ?"


class Full(io.RawIOBase):
    """A device without room."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


def test_what_cannot_be_written_is_remembered_and_nothing_raises() -> None:
    inner = io.TextIOWrapper(io.BufferedWriter(Full()), "utf-8")
    stream = PatientStream(inner)
    print("a table", file=stream, flush=True)
    print("more", file=stream, flush=True)
    assert why_lost(stream) == "No space left on device"
    with suppress(OSError):
        inner.close()


def test_a_reader_who_has_seen_enough_is_no_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out = os.fdopen(writer, "w")
    stream = PatientStream(out)
    print("a line", file=stream, flush=True)
    assert isinstance(stream.lost, BrokenPipeError)
    assert why_lost(stream) is None
    with suppress(BrokenPipeError):
        out.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device without room")
def test_a_log_on_a_full_disk_is_given_up_in_a_sentence(capsys) -> None:
    log = LogFile("/dev/full", delay=True)
    for number in range(3):
        log.handle(logging.LogRecord("medrobust", logging.ERROR, "", 0, "%d", (number,), None))
    log.close()
    said = capsys.readouterr().err
    assert said == "/dev/full lacks messages from here on (No space left on device)\n"


def test_a_closed_stream_is_named() -> None:
    inner = io.StringIO()
    inner.close()
    stream = PatientStream(inner)
    print("x", file=stream)
    assert why_lost(stream) == "it is closed"


def test_handlers_of_the_root_logger_write_to_the_patient_streams_meanwhile(monkeypatch) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    handler = logging.StreamHandler(out)
    logging.getLogger().addHandler(handler)
    try:
        with patient_streams():
            assert sys.stdout is not out
            logging.getLogger("x").error("a · b")
        assert sys.stdout is out
        assert handler.stream is out
    finally:
        logging.getLogger().removeHandler(handler)
    assert raw.getvalue() == b"a - b\n"


def test_a_second_use_within_the_first_changes_nothing() -> None:
    with patient_streams() as first:
        with patient_streams() as second:
            assert sys.stdout is first[0]
        assert second == []
        assert sys.stdout is first[0]


def entry(code: str, redirect: str) -> subprocess.CompletedProcess[str]:
    """Leave a process by the entry after some code, with its standard files redirected by a shell.

    The code runs as the job; the status is that of the process.
    """
    program = f"from medrobust.cli.entry import leave\nleave(lambda: {code})"
    command = ["sh", "-c", f'"$0" -c "$1" {redirect}', sys.executable, program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_output_is_one_sentence_and_a_status() -> None:
    done = entry("print('x' * 100000) or 0", ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        "error: not all could be written to standard output (No space left on device); files are "
        "complete\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_files_stop_nothing(tmp_path: Path, redirect: str) -> None:
    written = tmp_path / "x.txt"
    code = f"print('out') or __import__('pathlib').Path('{written}').write_text('whole') * 0"
    done = entry(code, redirect)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert written.read_text() == "whole"


def test_a_file_does_not_take_the_place_of_a_closed_output(tmp_path: Path) -> None:
    written = tmp_path / "x.txt"
    code = (
        f"[f := open('{written}', 'w'), __import__('os').system('echo a childs line'), f.close()]"
    )
    assert entry(f"{code} and 0", ">&-").returncode == 0
    assert written.read_text() == ""


def test_a_pipe_that_closes_early_ends_quietly() -> None:
    done = entry("print('x\\n' * 100000) or 0", "| head -n 1")
    assert (done.stdout, done.stderr) == ("x\n", "")
