"""What nobody foresaw, said in one sentence; the traceback is kept in a file."""

import errno
import os
import tempfile
import traceback
from pathlib import Path

from medrobust.base.reasons import OF_SHELLS, exported_by, named_reason, reason_of

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a system says of a disk, or a share of one, that is full."""

UNMAPPED = "failed to map segment from shared object"
"""What a linker says where a library does not fit into the memory that a process may take."""

FILE = "traceback.txt"


def not_foreseen(error: Exception, folder: Path) -> str:
    """Say in one sentence what happened, and where to read more of it.

    Args:
        error: As it came.
        folder: Where its traceback is kept if it can be, else with temporary files.
    """
    if isinstance(error, OSError) and (error.errno in FULL or error.filename is not None):
        return about_files(error)
    if isinstance(error, MemoryError) or UNMAPPED in str(error):
        return about_memory(error)
    reason = named_reason(error)
    written = keep_traceback(error, folder)
    kept = f" The whole of it is in {written}." if written else ""
    return f"something that was not foreseen ({reason}).{exported_by(reason)}{kept}"


def about_memory(error: Exception) -> str:
    """Say that the memory did not suffice, and what limits it."""
    return (
        f"there is not enough memory ({reason_of(error)}). Give the process more: raise the "
        f"limit of the shell (`ulimit -v` shows it) or of the batch system, or pass a smaller "
        f"batch_size"
    )


def about_files(error: OSError) -> str:
    """Say what a system says of a file, and which keys lead elsewhere."""
    if error.errno in FULL:
        return (
            f"the disk is full ({error.strerror}); all finished cells are kept. Make room, or "
            f"point hydra.run.dir, hydra.sweep.dir or store.dir to another disk, and run the same "
            f"command to go on"
        )
    name = _leading(error.filename)
    elsewhere = (
        f"The variable {name} leads there: unset it, or let it name a folder that can be written."
        if name
        else "Point hydra.run.dir, hydra.sweep.dir or store.dir to a folder that can be written."
    )
    return f"cannot write or read {printable_path(error.filename)} ({error.strerror}). {elsewhere}"


def printable_path(path: object) -> str:
    """Write a path in one line, whatever signs it has."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _leading(path: object) -> str | None:
    """Return the exported variable whose folder a path lies in, that of shells apart."""
    if not isinstance(path, str | bytes | os.PathLike) or not os.path.isabs(path):
        return None
    text = os.fsdecode(path)
    folders = {
        name: value.rstrip(os.sep)
        for name, value in os.environ.items()
        if name not in OF_SHELLS and os.path.isabs(value) and value.strip(os.sep)
    }
    leading = [name for name, one in folders.items() if text == one or text.startswith(one + "/")]
    return max(leading, key=lambda name: len(folders[name]), default=None)


def keep_traceback(error: Exception, folder: Path) -> Path | None:
    """Write the traceback of an error to a file; return it, or None where none can be written."""
    lines = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir(), "medrobust")):
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / FILE).write_text(lines, encoding="utf-8", errors="replace")
        except OSError:
            continue
        return place / FILE
    return None
