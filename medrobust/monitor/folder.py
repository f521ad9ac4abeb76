"""The folder of a monitor: plain files, each written whole or not at all.

Layout::

    monitor.json            settings, streams, what clean windows look like, the limit; sealed
    reference/NAME.npy      arrays of the reference
    studies/HASH/           what was kept of the studies of one update: batch.json, NAME.npy
    notes/0001.json         what somebody said of an alarm; sealed, never changed
    batches.json            the folders of studies/ and how many studies each has
    windows.json            every window so far: made of the above alone
    status.json             the last window, and all alarms: for a scheduler

What an update adds is one folder, named by its content, that is renamed into its place; windows and
status are made anew from all of them. So a kill at any moment loses nothing that was added, and the
next update ends where an undisturbed one would have, byte for byte.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.safe_files import json_object, whole_array
from medrobust.base.temporary_names import sweep, temporary_name
from medrobust.base.whole_files import make_folder, move_into_place, write_whole
from medrobust.base.wording import counted
from medrobust.exceptions import InvalidDataError, StoreError

FORMAT = 1
PATIENCE = 600
"""Seconds that an update waits for another one of the same folder."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class MonitorFolder:
    """Files of one monitor.

    Args:
        root: Where they lie.
    """

    root: Path

    def create(self, record: Mapping[str, Any], arrays: Arrays) -> None:
        """Write a new monitor, whole or not at all.

        Raises:
            StoreError: If there is one already, or the disk does not take it.
        """
        if self.root.exists():
            raise StoreError(
                f"{self.root} is there already: a monitor is never fitted over another one. Pass "
                f"another --out, or delete it."
            )
        files = {f"reference/{name}.npy": _npy(array) for name, array in arrays.items()}
        hashes = {name: _hash(array) for name, array in arrays.items()}
        files["monitor.json"] = _sealed({"format": FORMAT, **record, "arrays": hashes})
        sweep(self.root.parent)  # of a fit that was killed
        _write_folder(self.root, files)

    def record(self) -> dict[str, Any]:
        """Return `monitor.json`.

        Raises:
            StoreError: If it is missing, damaged, or of another format.
        """
        if not (self.root / "monitor.json").is_file():
            raise StoreError(
                f"{self.root} holds no monitor: make one by medrobust monitor fit --reference ... "
                f"--out {self.root}."
            )
        found = _read_json(self.root / "monitor.json")
        if found.get("format") != FORMAT:
            raise StoreError(f"{self.root} is of format {found.get('format')}, not {FORMAT}.")
        return found

    def reference(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the reference.

        Raises:
            StoreError: If one is not what was written.
        """
        stated = self.record()["arrays"]
        return {name: _array(self.root / "reference", name, stated) for name in stated}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other updates out, and remove what one that was killed had not finished writing.

        Raises:
            StoreError: If another one takes longer than ten minutes.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.root / ".lock"), timeout=PATIENCE)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreError(
                f"another update of {self.root} has not ended in {PATIENCE} seconds: run again "
                f"when it has, or stop it."
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.root} cannot be written ({error}): an update needs a folder that it may "
                f"write to."
            ) from error
        try:
            for left in (*self.root.glob(".*.json-*"), *self.root.glob("*/.*-*")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield
        finally:
            lock.release()

    def add(self, arrays: Arrays) -> None:
        """Keep what one update brings; the same once more changes nothing.

        Raises:
            StoreError: If the disk does not take it.
        """
        hashes = {name: _hash(array) for name, array in arrays.items()}
        name = fingerprint(hashes)[:16]
        files = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
        files["batch.json"] = _sealed({"format": FORMAT, "arrays": hashes})
        _write_folder(self.root / "studies" / name, files)

    def batches(self) -> list[dict[str, NDArray[Any]]]:
        """Return what all updates have brought, in the order of their names.

        Raises:
            StoreError: If one is damaged, there twice, or no longer there.
        """
        found, folders = [], self._folders()
        for folder in folders:
            stated = _read_json(folder / "batch.json")["arrays"]
            if folder.name != fingerprint(stated)[:16]:
                raise StoreError(
                    f"{folder} does not have the name that its content gives "
                    f"({fingerprint(stated)[:16]}): its studies may count twice. Delete it if it "
                    f"is a copy, else name it so."
                )
            found.append({name: _array(folder, name, stated) for name in stated})
        self._check_whole([folder.name for folder in folders], found)
        ids: set[str] = set()
        for folder, batch in zip(folders, found, strict=True):
            own = set(batch["ids"].tolist())
            if ids & own:
                raise StoreError(
                    f"{folder} repeats {counted(len(ids & own), 'study')} of another folder: they "
                    f"would count twice. Delete the one that is no update of this monitor."
                )
            ids |= own
        return found

    def list_batches(self, batches: Sequence[Arrays]) -> None:
        """Keep which folders there are, so that one that goes missing is noticed."""
        pairs = zip(self._folders(), batches, strict=True)
        self.write("batches.json", {folder.name: len(batch["ids"]) for folder, batch in pairs})

    def _folders(self) -> list[Path]:
        return sorted((self.root / "studies").glob("[0-9a-f]*"))

    def _check_whole(self, names: Sequence[str], batches: Sequence[Arrays]) -> None:
        """Refuse to go on where a folder is missing that was there.

        Monitors of before have no list: the number of studies in their status is compared.

        Raises:
            StoreError: If one is.
        """
        advice = (
            "windows would be made without them. Restore it from a copy; if it was taken out on "
            "purpose, delete batches.json and status.json, too."
        )
        listed = self.read("batches.json")
        if isinstance(listed, dict):
            if missing := sorted(set(listed) - set(names)):
                raise StoreError(
                    f"{self.root / 'studies' / missing[0]} with {listed[missing[0]]} studies is "
                    f"not there ({counted(len(missing), 'folder')} missing in all): {advice}"
                )
            return
        status = self.read("status.json")
        stated = status.get("studies") if isinstance(status, dict) else None
        there = sum(len(batch["ids"]) for batch in batches)
        if isinstance(stated, int) and there < stated:
            raise StoreError(
                f"{self.root / 'studies'} holds {there} studies, and status.json counts {stated}: "
                f"a folder is missing, {advice}"
            )

    def add_note(self, content: Mapping[str, Any]) -> None:
        """Write a note beside those that are there; no other one is touched.

        Raises:
            StoreError: If the disk does not take it.
        """
        place = self.root / "notes" / f"{len(self.notes()) + 1:04d}.json"
        try:
            make_folder(place.parent)
            write_whole(place, _sealed({"format": FORMAT, **content}))
        except OSError as error:
            raise StoreError(f"{place} cannot be written ({error}): free the disk.") from error

    def notes(self) -> list[dict[str, Any]]:
        """Return all notes, oldest first.

        Raises:
            StoreError: If one is damaged.
        """
        found = [_read_json(path) for path in sorted((self.root / "notes").glob("[0-9]*.json"))]
        return [{key: one[key] for key in one if key != "format"} for one in found]

    def write(self, name: str, content: Any) -> None:
        """Write a JSON file that is made of the others, unless it is that already."""
        place, text = self.root / name, json_bytes(content)
        if not place.is_file() or place.read_bytes() != text:
            try:
                write_whole(place, text)
            except OSError as error:
                raise StoreError(
                    f"{place} cannot be written ({error}): free the disk, run again."
                ) from error

    def read(self, name: str) -> Any:
        """Read such a file, None where there is none or it cannot be read: it is made anew."""
        try:
            return json.loads((self.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def json_bytes(content: Any) -> bytes:
    """Write JSON as files of a monitor have it."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _sealed(content: Mapping[str, Any]) -> bytes:
    plain = json.loads(json_bytes(content))
    return json_bytes({**plain, "seal": fingerprint(plain)})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json_object(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): restore it from a copy.") from error
    seal = found.pop("seal", None)
    if seal != fingerprint(found):
        raise StoreError(f"{path} is damaged or was edited: restore it from a copy.")
    return found


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _hash(array: NDArray[Any]) -> str:
    own = np.ascontiguousarray(array)
    head = f"{own.dtype.str} {own.shape}".encode()
    return hashlib.sha256(head + own.tobytes()).hexdigest()


def _array(folder: Path, name: str, stated: Mapping[str, str]) -> NDArray[Any]:
    try:
        found: NDArray[Any] = whole_array(folder / f"{name}.npy")
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / name}.npy cannot be read ({error}).") from error
    if _hash(found) != stated[name]:
        raise StoreError(f"{folder / name}.npy is not what was written: restore it from a copy.")
    return found


def _write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder to a temporary name beside, then rename it; an equal one may be there."""
    temporary = temporary_name(place)
    try:
        make_folder(place.parent)
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
        if not place.is_dir():
            move_into_place(temporary, place)
    except OSError as error:
        raise StoreError(
            f"{place} cannot be written ({error}): free the disk, run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_names(given: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Refuse studies whose streams are not those of the monitor.

    Raises:
        InvalidDataError: Naming the first that is missing.
    """
    missing = sorted(set(wanted) - set(given))
    if missing:
        raise InvalidDataError(
            f"these studies have no {what} {missing[0]!r}, which the reference has: give it"
            f"{', empty where it is not known' if 'column' in what else ' as for the reference'}."
        )
