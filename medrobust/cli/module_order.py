"""Where Python looks for modules: no file of the current folder takes a library's place."""

import os
import sys
from collections.abc import Sequence


def standard_library_first() -> None:
    """Let what PYTHONPATH names stand behind the standard library, and its empty entries last.

    An empty entry, as `PYTHONPATH=:DIR` has one, is the current folder, where a random.py of one's
    own would stop every command. What is named in words still comes before installed packages.
    """
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    try:
        current = os.getcwd()
    except FileNotFoundError:  # deleted: no file of it can take any place
        return
    sys.path[:] = ordered(sys.path, named, current, os.path.dirname(os.__file__))


def ordered(entries: Sequence[str], named: Sequence[str], current: str, library: str) -> list[str]:
    """Return the order in which modules are looked for.

    Args:
        entries: As they stand.
        named: Entries of PYTHONPATH, empty ones for the current folder.
        current: The current folder.
        library: Folder of the standard library.

    Example:
        >>> ordered(["bin", "/my", "/own", "/lib", "/lib/site"], ["", "/own"], "/my", "/lib")
        ['bin', '/lib', '/own', '/lib/site', '/my']
    """
    own = {os.path.normpath(os.path.join(current, name)) for name in named if name}
    last = [e for e in entries if "" in named and e in ("", current) and current not in own]
    early = entries[: entries.index(library)] if library in entries else []
    behind = [e for e in early if os.path.normpath(e) in own and e not in last]
    found = [e for e in entries if e not in last and e not in behind]
    inner = [place for place, e in enumerate(found) if _is_of(e, library)]
    place = inner[-1] + 1 if inner else 0
    return [*found[:place], *behind, *found[place:], *last]


def _is_of(entry: str, library: str) -> bool:
    return entry == library or entry == os.path.join(library, "lib-dynload")
