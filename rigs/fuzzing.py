"""Damaged and hostile inputs, drawn by hypothesis from valid ones, and what a reader makes of them.

Each reader runs in a forked process, whose address space is bounded and whose system calls are
watched: what starts a program, opens a connection, unpickles a class or writes outside the folder
of the input is an execution, whatever the reader says afterwards.
"""

import faulthandler
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from medrobust.exceptions import MedRobustError

SECONDS = 10.0
"""CPU seconds after which one input counts as a hang."""

PATIENCE = 240.0
"""Seconds after which an input that waits, or that no signal reaches, is killed as a hang."""

MEMORY = 1 << 30
"""Bytes that reading one small input may add to the process."""

LONGEST = 1500
"""Letters of a sentence."""

STARTS = (
    "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pickle.find_class",
    "pty.spawn", "socket.connect", "subprocess.Popen",
)  # fmt: skip

NUMBERS = tuple(
    (value & (1 << 8 * width) - 1).to_bytes(width, order)
    for value in (0, 1, 0x7F, 0xFFFF, 1 << 16, 0x7FFFFFFF, 1 << 31, 1 << 40, -1, -2)
    for width in (1, 2, 4, 8)
    for order in ("little", "big")
)

Draw = Callable[[st.SearchStrategy[Any]], Any]
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that reads files of strangers.

    Attributes:
        name: For the table.
        files: The files of a valid input that are damaged: place below its folder -> content.
        read: Reads the input that lies in a folder; raises a `MedRobustError`, or is content.
        words: Pieces of hostile inputs of this format.
        beside: Files that stay as they are.
        wrap: Packs a damaged content as the format packs it (checksums, archives).
        named: What a sentence may name instead of the damaged file.
    """

    name: str
    files: Files
    read: Callable[[Path], Any]
    words: Sequence[bytes] = ()
    beside: Files = field(default_factory=dict)
    wrap: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    named: Sequence[str] = ()


@dataclass(slots=True)
class Outcome:
    """What became of the inputs of one reader.

    Attributes:
        read: Inputs that were read.
        refused: Inputs that were refused in one sentence.
        slowest: Seconds of CPU of the slowest input.
        failures: What should not happen, one line each, each kind once.
        failed: Inputs that did it.
    """

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    failed: int = 0

    @property
    def inputs(self) -> int:
        """All that were tried."""
        return self.read + self.refused + self.failed


class Hang(BaseException):
    """An input took too long."""


def _place(draw: Draw, data: bytearray) -> int:
    """Choose a place: anywhere, or among the first or the last bytes, where headers are."""
    size = len(data)
    near = min(size, 96)
    drawn: int = draw(
        st.one_of(st.integers(0, size), st.integers(0, near), st.integers(size - near, size))
    )
    return drawn


def _flip(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    if data:
        place = min(_place(draw, data), len(data) - 1)
        data[place] ^= draw(st.integers(1, 255))
    return data


def _cut(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    return data[: _place(draw, data)]


def _drop(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    place = _place(draw, data)
    return data[:place] + data[place + draw(st.integers(1, 64)) :]


def _splice(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    start, place = _place(draw, data), _place(draw, data)
    piece = data[start : start + draw(st.integers(1, 256))]
    over = len(piece) if draw(st.booleans()) else 0
    return data[:place] + piece + data[place + over :]


def _number(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    place, value = _place(draw, data), draw(st.sampled_from(NUMBERS))
    return data[:place] + value + data[place + len(value) :]


def _word(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    place = _place(draw, data)
    word = draw(st.sampled_from(words) if words else st.binary(min_size=1, max_size=16))
    over = draw(st.sampled_from((0, 1, len(word))))
    return data[:place] + word + data[place + over :]


def _value(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    """Put a hostile word in the place of a number or a text of a readable format."""
    found = list(re.finditer(rb'"[^"\n]{0,40}"|(?<=[:,\[ =])-?\d[\d.]*', bytes(data[:4096])))
    if not found or not words:
        return _flip(draw, data, words)
    start, end = draw(st.sampled_from(found)).span()
    return data[:start] + draw(st.sampled_from(words)) + data[end:]


def _garbage(draw: Draw, data: bytearray, words: Sequence[bytes]) -> bytearray:
    return bytearray(draw(st.sampled_from((b"", *words)) | st.binary(max_size=200)))


EDITS = (_flip, _flip, _cut, _drop, _splice, _number, _number, _word, _value, _value, _garbage)


@st.composite
def damaged(draw: Any, content: bytes, words: Sequence[bytes]) -> bytes:
    """Draw what one to three edits make of a content."""
    data = bytearray(content)
    for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=3)):
        data = edit(draw, data, words)
    return bytes(data)


def png_sums(data: bytes) -> bytes:
    """Give each chunk of a PNG file its right checksum, so that its content is looked at."""
    out, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + size]
        out += data[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        place += 12 + size
    return bytes(out + data[place:])


def write_input(reader: Reader, folder: Path, files: Mapping[str, bytes]) -> None:
    """Write one input to an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in (reader.beside | dict(files)).items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(reader.wrap[name](content) if name in reader.wrap else content)


def fuzz(reader: Reader, count: int, *, start: int, scratch: Path) -> Outcome:
    """Give a reader `count` damaged inputs, in a process of its own.

    Args:
        reader: The reader.
        count: Of inputs.
        start: Seed of the draws.
        scratch: Empty folder; inputs that fail are kept in it.
    """
    answer = scratch / "outcome.json"
    process = os.fork()
    if not process:
        _in_child(reader, count, start, scratch, answer)
    _, status = os.waitpid(process, 0)
    if answer.exists():
        return Outcome(**json.loads(answer.read_text(encoding="utf-8")))
    kept = scratch / "killed"
    shutil.copytree(scratch / "input", kept, dirs_exist_ok=True)
    return Outcome(failed=1, failures=[f"the process ended with status {status}: see {kept}"])


def _in_child(reader: Reader, count: int, start: int, scratch: Path, answer: Path) -> None:
    """Run the inputs, write the outcome, and end without the clean-up of the parent."""
    try:
        outcome = _Watch(reader, scratch).run(count, start)
        answer.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


class _Watch:
    """The inputs of one reader in this process, under watch."""

    def __init__(self, reader: Reader, scratch: Path) -> None:
        self.reader, self.scratch = reader, scratch
        self.folder = scratch / "input"
        self.outcome = Outcome()
        self.started: list[str] = []
        self.watching = False
        self.kinds: set[str] = set()

    def run(self, count: int, start: int) -> Outcome:
        os.environ["MEDROBUST_CACHE"] = str(self.folder / "cache")
        warnings.simplefilter("ignore")
        write_input(self.reader, self.folder, self.reader.files)
        self.reader.read(self.folder)  # a valid input is read, and all modules are imported
        self._bound()

        @seed(start)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def one(data: Any) -> None:
            name = data.draw(st.sampled_from(sorted(self.reader.files)))
            content = data.draw(damaged(self.reader.files[name], self.reader.words))
            self.one(name, {**self.reader.files, name: content})

        one()
        return self.outcome

    def _bound(self) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        signal.signal(signal.SIGPROF, self._too_long)
        sys.addaudithook(self._audit)

    @staticmethod
    def _too_long(*_: object) -> None:
        raise Hang

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event in STARTS:
            self.started.append(f"{event} {arguments!r:.80}")
        if event == "open" and isinstance(arguments[0], str):
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            path = os.path.abspath(arguments[0])
            if writes and not path.startswith((str(self.folder), "/dev/")):
                self.started.append(f"wrote {path}")

    def one(self, name: str, files: Mapping[str, bytes]) -> None:
        """Read one input, and say what became of it."""
        write_input(self.reader, self.folder, files)
        self.started.clear()
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        before, self.watching = time.process_time(), True
        found = None
        try:
            self.reader.read(self.folder)
        except MedRobustError as error:
            found = error
            self._judge(str(error), name)
        except Hang:
            self._fail(f"took more than {SECONDS:.0f} s", "hang")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            ours = [
                f for f in traceback.extract_tb(error.__traceback__) if "medrobust" in f.filename
            ]
            own = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
            place = f"{own}, {Path(where.filename).name}:{where.lineno}"
            self._fail(f"{type(error).__name__} at {place}: {error}", f"{type(error)}{place}")
        else:
            self.outcome.read += 1
        finally:
            self.watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        self.outcome.slowest = max(self.outcome.slowest, time.process_time() - before)
        if self.started:
            self._fail(f"ran {self.started[0]} ({found})", self.started[0])

    def _judge(self, sentence: str, name: str) -> None:
        """A refusal is one printable sentence that names the file."""
        names = (Path(name).name, *self.reader.named)
        if not any(known in sentence for known in names):
            self._fail(f"names no file: {sentence!r}", "names no file" + sentence[:30])
        elif not sentence.isprintable() or len(sentence) > LONGEST:
            self._fail(f"is no clear sentence: {sentence!r:.300}", "unclear" + sentence[:20])
        else:
            self.outcome.refused += 1

    def _fail(self, what: str, kind: str) -> None:
        self.watching = False
        self.outcome.failed += 1
        if kind in self.kinds or len(self.kinds) > 40:
            return
        self.kinds.add(kind)
        kept = self.scratch / f"failure-{len(self.kinds)}"
        shutil.copytree(self.folder, kept, dirs_exist_ok=True)
        self.outcome.failures.append(f"{what:.600} [{kept.name}]")
