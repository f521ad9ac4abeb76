"""Pictures in a folder that no row of its table names."""

import os
import posixpath
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

from medrobust.base.once import found_once

SUFFIXES = (
    ".bmp", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What pictures are known by without being opened, in lower case."""

PASSED_FOLDERS = (
    "__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle",
)  # fmt: skip
"""What systems and network drives put beside the files of people, in lower case."""

OTHER_PURPOSES = {".hydra", "report.html", "cell.json", "pyvenv.cfg"}
"""What lies in folders whose pictures are no data: of runs, reports, stored cells and Python."""


def pictures_left_out(root: Path, listed: Set[str]) -> int:
    """Count the pictures beside those of a table that it does not list, by their names.

    Looked at are the folder that all listed pictures share, with all below it, and the folders
    above it up to the root. Links, hidden files and folders, and folders of systems
    (`PASSED_FOLDERS`) and of `OTHER_PURPOSES` are passed over; so is what cannot be looked at.

    Args:
        root: Folder that paths start from.
        listed: Paths in it, POSIX text.
    """
    folders = {PurePosixPath(path).parent for path in listed}
    if not folders:
        return 0
    holding = folders.union(*(folder.parents for folder in folders))
    shared = PurePosixPath(posixpath.commonpath(map(str, folders)))
    found = found_once(
        ("pictures", os.path.abspath(root), frozenset(folders)),
        lambda: [*_pictures_above(root, shared), *_pictures_below(root, shared, holding)],
    )
    return sum(name not in listed and not os.path.islink(root / name) for name in found)


def _pictures_above(root: Path, shared: PurePosixPath) -> Iterator[str]:
    for inside in shared.parents:
        names = next(os.walk(root / inside), ("", [], []))[2]
        yield from (str(inside / name) for name in names if _is_named_as_picture(name))


def _pictures_below(
    root: Path, shared: PurePosixPath, holding: Set[PurePosixPath]
) -> Iterator[str]:
    for parent, folders, names in os.walk(root / shared):
        inside = PurePosixPath(Path(parent).relative_to(root).as_posix())
        if inside not in holding and not OTHER_PURPOSES.isdisjoint((*folders, *names)):
            folders.clear()
            continue
        folders[:] = filter(belongs_to_people, folders)
        yield from (str(inside / name) for name in names if _is_named_as_picture(name))


def belongs_to_people(folder: str) -> bool:
    """Say whether a folder of that name may hold what people have put there: no hidden one does.

    Example:
        >>> [belongs_to_people(name) for name in ("series", ".git", "__MACOSX", "@eaDir")]
        [True, False, False, False]
    """
    return not folder.startswith(".") and folder.lower() not in PASSED_FOLDERS


def _is_named_as_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
