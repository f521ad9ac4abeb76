"""What nobody foresaw, said in one sentence; the traceback is kept in a file."""

import errno
import tempfile
import traceback
from pathlib import Path

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
    reason = " ".join(str(error).split()) or "no reason given"
    written = keep_traceback(error, folder)
    kept = f" The whole of it is in {written}." if written else ""
    return f"something that was not foreseen ({type(error).__name__}: {reason}).{kept}"


def about_memory(error: Exception) -> str:
    """Say that the memory did not suffice, and what limits it."""
    reason = " ".join(str(error).split()) or "no reason given"
    return (
        f"there is not enough memory ({reason}). Give the process more: raise the limit of the "
        f"shell (`ulimit -v` shows it) or of the batch system, or pass a smaller batch_size"
    )


def about_files(error: OSError) -> str:
    """Say what a system says of a file, and which keys lead elsewhere."""
    if error.errno in FULL:
        return (
            f"the disk is full ({error.strerror}); all finished cells are kept. Make room, or "
            f"point hydra.run.dir, hydra.sweep.dir or store.dir to another disk, and run the same "
            f"command to go on"
        )
    return (
        f"cannot write or read {error.filename} ({error.strerror}). Point hydra.run.dir, "
        f"hydra.sweep.dir or store.dir to a folder that can be written."
    )


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
