"""The store: finished cells on disk, written whole or not at all, read back only if undamaged.

Layout (all names made safe; the fingerprint decides)::

    data/FP/          labels.npy ids.npy data.json      once for each data fingerprint;
                      groups.npy metadata.npy           where there are some
    cells/MODEL/DATASET/SUITE.CORRUPTION/sK-FP12/                    cell.json NAME.npy [*.png]
                      one array a name that the cell's task declares (`tasks.base.ArraySpec`)
    features/FP/      features.npy features.json   if kept, by encoding fingerprint
    adapters/FP/      a tuned adapter, by the fingerprint of base model, shots and recipe

A folder is written under a hidden temporary name beside its place, forced to the disk and renamed.
Its record is sealed (`base/seals.py`) and has the digest of every file beside that is ever read.
The first to arrive wins and a later twin is dropped, so that workers need no locks to be right;
those of `.claims/`, there while cells are computed, keep them from computing the same cell.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medrobust.base.once import say_once
from medrobust.base.seals import ends_sealed, is_sealed
from medrobust.base.split_facts import OF_AUDITS as OF_AUDITS
from medrobust.base.split_facts import SplitFacts
from medrobust.base.temporary_names import is_temporary
from medrobust.base.wording import counted
from medrobust.corruptions.suites import BETWEEN as BETWEEN
from medrobust.corruptions.suites import PAIRS as PAIRS
from medrobust.corruptions.suites import SANITY as SANITY
from medrobust.corruptions.suites import placed_at as placed_at
from medrobust.exceptions import StoreError, UnknownNameError
from medrobust.tasks.base import ArraySpec, redeclared, unlike
from medrobust.tasks.lookup import task_name, task_of
from medrobust.types import Float32Array

from .cells import CellKey as CellKey
from .cells import CellSpec as CellSpec
from .cells import StoredCell as StoredCell
from .cells import cell_folder, cell_parts, cell_place
from .cells import head_fingerprint as head_fingerprint
from .cells import safe_name as safe_name
from .cells import texts_fingerprint as texts_fingerprint
from .cells import unadapted_fingerprint as unadapted_fingerprint
from .contradictions import contradiction, misfit
from .record_types import CELL, RECORD, mistyped
from .store_files import damaged as damaged
from .store_files import read_record, stored_array, with_arrays, write_folder
from .stored_splits import read_split, write_remarks, write_split

log = logging.getLogger(__name__)

UNSEALED = (
    "the store {0} is not sealed, as those of release 0.1 are not: fingerprints and names are "
    "checked, and a changed byte elsewhere in its records could pass. `medrobust verify STORE "
    "--seal` seals it."
)

UNFIT = (StoreError, UnknownNameError, KeyError, TypeError, ValueError, AttributeError)
"""What a record that lacks a part may raise."""

STRIPPED = (
    "its record has no seal, and others of this store have one, so that it may have been changed "
    "(where sealing was interrupted, run `medrobust verify STORE --seal` again)"
)


@dataclass(slots=True)
class Store:
    """All cells that were ever computed below one folder.

    Args:
        root: Folder of the store; made when the first thing is written.
        sealing: Whether records without a seal are taken beside those with one, and without a
            word: they are about to be sealed.

    Attributes:
        left_out: Sentences on the cells that `cells` has passed over, one a task.
    """

    root: Path
    sealing: bool = False
    left_out: list[str] = field(default_factory=list, init=False, repr=False)
    _data: dict[str, SplitFacts] = field(default_factory=dict, repr=False)
    _sealed: bool | None = field(default=None, init=False, repr=False)

    def has(self, key: CellKey) -> bool:
        """Say whether the cell is finished and undamaged.

        Raises:
            StoreError: If the cell is there but damaged, or its task declares other arrays by now.
        """
        if not self.holds(key.spec, key.fingerprint):
            return False
        self.read(key.spec, key.fingerprint)
        return True

    def holds(self, spec: CellSpec, fingerprint_: str) -> bool:
        """Say whether the cell is finished, without reading it."""
        return (self.root / cell_folder(spec, fingerprint_)).exists()

    def read(self, spec: CellSpec, fingerprint_: str) -> StoredCell:
        """Read one cell and check that its arrays are those that its JSON speaks of.

        Raises:
            StoreError: If it is missing, damaged, or nothing that its task reads; the message names
                the folder.
        """
        folder = self.root / cell_folder(spec, fingerprint_)
        cell = self.read_folder(folder)
        if cell.fingerprint != fingerprint_:
            raise damaged(folder, f"it holds the cell {cell.fingerprint[:12]}")
        return cell

    def read_folder(self, folder: Path) -> StoredCell:
        """Read the cell that lies in `folder`, as `read` does."""
        cell = self.intact(folder)
        if cell.unread:
            raise self._not_read(cell)
        return cell

    def intact(self, folder: Path) -> StoredCell:
        """Read the cell that lies in `folder`, be it one that its task does not read (`unread`).

        Raises:
            StoreError: If it is missing or damaged; the message names the folder.
        """
        record = read_record(folder / "cell.json")
        try:
            spec = CellSpec(**record["cell"])
            data = self.data(record["data"], str(record["cell"]["dataset"]))
            key = CellKey(spec, record["encoding"], record["head"], data.fingerprint)
            own_fingerprint = str(record["fingerprint"])
            stated = dict(record["arrays"])
            fingerprints = (own_fingerprint, str(record["encoding_fingerprint"]))
            complaint = contradiction(key, data, fingerprints, record.get("config"))
            place = cell_parts(spec, own_fingerprint)
            declared, unread = _declared(str(key.head["kind"])), _unread(record)
            digests = dict(record["examples"]) if self._has_seal(record, folder) else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(folder, f"cell.json lacks a part ({error})") from error
        if mistaken := mistyped(record["cell"], CELL) or mistyped(record, RECORD):
            raise damaged(folder, mistaken)
        if folder.parts[-len(place) :] != place:
            raise damaged(folder, complaint or f"it holds the cell {spec}, whose place is another")
        if complaint:
            raise self._refusal(folder, record, data, complaint)
        if declared and unread and digests is None:
            raise damaged(folder, unread)  # no seal says that it was written so
        if strange := [name for name in stated if Path(name).name != name]:
            raise damaged(folder, f"{strange[0]!r} is no name of an array")
        arrays = {name: stored_array(folder / f"{name}.npy", stated[name]) for name in stated}
        if declared and not unread and (complaint := unlike(declared, arrays, data)):
            raise self._refusal(folder, record, data, complaint)
        examples = tuple(folder / name for name in sorted(_pictures(folder, digests)))
        return StoredCell(
            spec, own_fingerprint, folder, arrays, data, record, examples, digests or {}, unread
        )

    def _not_read(self, cell: StoredCell) -> StoreError:
        """Build the error for a cell that its task does not read: one for all that are like it."""
        if _declared(str(cell.head["kind"])) is None:
            return StoreError(f"{cell.folder} cannot be read: {cell.unread}.")
        count = 0
        for folder in self.folders():
            with suppress(*UNFIT):
                record = read_record(folder / "cell.json")
                same = task_name(str(record["head"]["kind"])) == cell.task
                count += same and bool(_unread(record))
        others = f" ({counted(count, 'cell')} of this store in all)" if count > 1 else ""
        return StoreError(
            f"{cell.folder} is whole, but of another version of task={cell.task}{others}: "
            f"{cell.unread}. Run this job once with resume=false, which computes its cells again "
            f"in place of those; or let what `heads` of the task returns hold a version, raised "
            f"with every such change, which gives new cells names of their own."
        )

    def _refusal(
        self, folder: Path, record: Mapping[str, Any], data: SplitFacts, complaint: str
    ) -> StoreError:
        """Build the error for a cell, or for its data where no other of its cells fits it."""
        found: dict[Path, str | None] = {}
        for other in self.folders():
            with suppress(*UNFIT):
                theirs = record if other == folder else read_record(other / "cell.json")
                if theirs["data"] == data.fingerprint and not _unread(theirs):
                    found[other] = misfit(theirs, data)
        if found.pop(folder, None) != complaint or None in found.values():
            return damaged(folder, complaint)
        of_data = self.root / "data" / data.fingerprint
        if found:
            count = f"none of its {len(found) + 1} cells fits its data.json"
            return damaged(of_data, f"{count} ({folder.name}: {complaint})")
        return StoreError(
            f"{folder} or its data, {of_data}, is damaged ({complaint}). Delete both, and run "
            f"their job again."
        )

    def write(
        self,
        key: CellKey,
        arrays: Mapping[str, NDArray[Any]],
        record: Mapping[str, Any],
        *,
        examples: Mapping[str, bytes] | None = None,
        replace: bool = False,
    ) -> None:
        """Write one finished cell, whole or not at all.

        Args:
            key: The cell; its data must have been written by `write_data`.
            arrays: Exactly those that the task of its head declares.
            record: Further plain values for `cell.json`.
            examples: File name -> PNG bytes.
            replace: Put it in the place of a finished twin; else the twin stays.

        Raises:
            StoreError: If the store cannot be written, or the arrays are not those.
            UnknownNameError: If no task has the head's kind.
        """
        declared = task_of(str(key.head["kind"])).arrays
        if complaint := unlike(declared, arrays, self.data(key.data)):
            raise StoreError(f"the arrays of {key.spec} cannot be stored: {complaint}.")
        pictures = examples or {}
        body = {
            "fingerprint": key.fingerprint,
            "cell": asdict(key.spec),
            "data": key.data,
            "encoding": dict(key.encoding),
            "encoding_fingerprint": key.encoding_fingerprint,
            "head": dict(key.head),
            **record,
            "examples": {name: sha256(content).hexdigest() for name, content in pictures.items()},
        }
        files = {**with_arrays(body, arrays, "cell.json", sealed=self.sealed), **pictures}
        write_folder(self.root / key.folder, files, replace=replace)

    def adopt(self, key: CellKey) -> bool:
        """Write a missing cell from an equal one that another suite has: the numbers are the same.

        Returns:
            Whether there was one.

        Raises:
            StoreError: If that cell is damaged, or the store cannot be written.
        """
        place = self.root / key.folder
        for folder in sorted(place.parent.parent.glob(f"*/{place.name}")):
            twin = self.intact(folder)
            if twin.unread or twin.fingerprint != key.fingerprint:
                continue
            pictures = {path.name: twin.picture(n) for n, path in enumerate(twin.examples)}
            own = {"cell": asdict(key.spec), "head": dict(key.head)}
            self.write(key, twin.arrays, {**twin.record, **own}, examples=pictures)
            return True
        return False

    def data(self, fingerprint_: str, name: str = "") -> SplitFacts:
        """Read labels and names of a data fingerprint (kept in memory afterwards).

        Args:
            fingerprint_: Of the data.
            name: Of the data set, where it is known, for the sentence that says what is missing.

        Raises:
            StoreError: If they are missing or damaged.
        """
        if fingerprint_ not in self._data:
            folder = self.root / "data" / fingerprint_
            if not folder.exists():
                raise StoreError(
                    f"{folder} is missing, which has labels and ids of {name or 'its cells'}. Run "
                    f"a job of these cells again: it writes that folder anew, and keeps the cells."
                )
            data, record = read_split(folder)
            self._has_seal(record, folder)
            self._data[fingerprint_] = data
        return self._data[fingerprint_]

    def write_data(self, data: SplitFacts) -> None:
        """Write labels and names once for each data fingerprint; remarks are those of the last run.

        Raises:
            StoreError: If the store cannot be written.
        """
        folder = self.root / "data" / data.fingerprint
        if not folder.exists():
            if self._has_cells_of(data):
                log.warning("%s was missing, and has been written anew.", folder)
            write_split(folder, data, sealed=self.sealed)
        elif self.data(data.fingerprint).remarks != data.remarks:
            write_remarks(folder, data)
            self._data.pop(data.fingerprint, None)

    def _has_cells_of(self, data: SplitFacts) -> bool:
        """Say whether cells that the store has are of these data."""
        for file in self.root.glob(f"cells/*/{safe_name(data.name)}/*/s*/cell.json"):
            with suppress(*UNFIT):
                if read_record(file).get("data") == data.fingerprint:
                    return True
        return False

    @property
    def sealed(self) -> bool:
        """Whether its records have seals, all of them: so has a store in which there is none yet.

        A store of release 0.1 has none, and gets none before `medrobust verify STORE --seal`.
        """
        if self._sealed is None:
            ends = map(ends_sealed, self._records())
            self._sealed = next(ends, True) or any(ends)
        return self._sealed

    def _records(self) -> Iterator[Path]:
        """Yield the records of splits, features and cells."""
        for room, name in (("data", "data.json"), ("features", "features.json")):
            yield from (folder / name for folder in _inside(self.root / room))
        yield from (folder / "cell.json" for folder in self.folders())

    def _has_seal(self, record: Mapping[str, Any], folder: Path) -> bool:
        """Say whether a record has a seal, and once a job that no record of the store has.

        Raises:
            StoreError: If others have.
        """
        if is_sealed(record):
            return True
        if not self.sealing:
            if self.sealed:
                raise damaged(folder, STRIPPED)
            say_once(log, logging.WARNING, UNSEALED.format(self.root.name))
        return False

    def has_features(self, encoding_fingerprint: str) -> bool:
        """Say whether image features were kept, without reading them."""
        return (self.root / "features" / encoding_fingerprint).exists()

    def read_features(self, encoding_fingerprint: str) -> Float32Array | None:
        """Return kept image features, float32 (N, D), or None where none were kept.

        Raises:
            StoreError: If they are damaged.
        """
        folder = self.root / "features" / encoding_fingerprint
        if not self.has_features(encoding_fingerprint):
            return None
        record = read_record(folder / "features.json")
        self._has_seal(record, folder)
        try:
            return stored_array(folder / "features.npy", record["arrays"]["features"])
        except (KeyError, TypeError) as error:
            raise damaged(folder, f"features.json lacks a part ({error})") from error

    def write_features(
        self, encoding_fingerprint: str, features: Float32Array, *, replace: bool = False
    ) -> None:
        """Keep image features, float32 (N, D), for further heads.

        Raises:
            StoreError: If the store cannot be written.
        """
        folder = self.root / "features" / encoding_fingerprint
        files = with_arrays({}, {"features": features}, "features.json", sealed=self.sealed)
        write_folder(folder, files, replace=replace)

    def adapter_folder(self, fingerprint_: str) -> Path:
        """Return where a tuned adapter lies, or will lie."""
        return self.root / "adapters" / fingerprint_

    def write_adapter(
        self, fingerprint_: str, files: Mapping[str, bytes], *, replace: bool = False
    ) -> None:
        """Keep a tuned adapter: file name -> content.

        Raises:
            StoreError: If the store cannot be written.
        """
        write_folder(self.adapter_folder(fingerprint_), files, replace=replace)

    def find(
        self,
        model: str,
        dataset: str,
        suite: str,
        corruption: str,
        severity: int,
        *,
        data: str | None = None,
    ) -> Iterator[StoredCell]:
        """Yield the finished cells of that place as `readable` does, by the names of folders.

        Args:
            model: Name of the model.
            dataset: Name of the data set.
            suite: Where the parameters come from.
            corruption: Name of the corruption.
            severity: 0 for clean.
            data: Fingerprint of the split that they are of: others are not read; None: of any.
        """
        found = self.places(model, dataset, suite, corruption, severity)
        if data is not None:
            found = [one for one in found if read_record(one / "cell.json").get("data") == data]
        return self.readable(found)

    def places(
        self, model: str, dataset: str, suite: str, corruption: str, severity: int
    ) -> list[Path]:
        """List the folders of the finished cells of that place, whatever their fingerprint."""
        place = self.root / cell_place(model, dataset, suite, corruption)
        return sorted(place.glob(f"s{severity}-*"))

    def readable(self, folders: Iterable[Path]) -> Iterator[StoredCell]:
        """Yield the cells of folders that nobody asked for by fingerprint, without `unread` ones.

        Raises:
            StoreError: If one is damaged.
        """
        return (cell for cell in map(self.intact, folders) if not cell.unread)

    def folders(self) -> Iterator[Path]:
        """Yield the folder of every finished cell, in the order of their names.

        Raises:
            StoreError: If a folder cannot be read, or a cell lies under a name that no cell has.
        """
        for model in _inside(self.root / "cells"):
            for dataset in _inside(model):
                for column in _inside(dataset):
                    for cell in _inside(column, hidden=True):
                        if cell.name.startswith("s") and "-" in cell.name:
                            yield cell
                        elif not is_temporary(cell.name) and (cell / "cell.json").exists():
                            raise damaged(cell, "it holds a cell, and no cell has such a name")

    def cells(self) -> Iterator[StoredCell]:
        """Yield every finished cell, in the order of the folder names, and warn of `unread` ones.

        Raises:
            StoreError: If one is damaged.
        """
        passed: dict[str, list[str]] = {}
        for cell in map(self.intact, self.folders()):
            if cell.unread:
                passed.setdefault(cell.task, []).append(cell.unread)
            else:
                yield cell
        self.left_out = [
            f"{counted(len(each), 'cell')} of task={task} left out: {each[0]}"
            for task, each in passed.items()
        ]
        for sentence in self.left_out:
            say_once(log, logging.WARNING, f"{self.root.name}: {sentence}")


def _inside(folder: Path, *, hidden: bool = False) -> list[Path]:
    """List what a folder holds, with or without hidden names, in order; nothing if it is none."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if hidden or name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder} cannot be read ({error.strerror}).") from error


def _declared(kind: str) -> Mapping[str, ArraySpec] | None:
    """Return the arrays of a head's task, or None where it is not installed."""
    try:
        return task_of(kind).arrays
    except UnknownNameError:
        return None


def _unread(record: Mapping[str, Any]) -> str:
    """Say why its task does not read the arrays of a record; "" where it does.

    Raises:
        KeyError, TypeError, ValueError: If the record lacks a part.
    """
    kind = str(record["head"]["kind"])
    if (declared := _declared(kind)) is None:
        return f"it is of a task that is not installed here: {kind!r}"
    return redeclared(declared, record["arrays"])


def _pictures(folder: Path, digests: Mapping[str, str] | None) -> list[str]:
    """Name the example pictures: as the seal does, or those that lie there without one."""
    if digests is None:
        return [name for name in os.listdir(folder) if name.endswith(".png")]
    if strange := [name for name in digests if Path(name).name != name]:
        raise damaged(folder, f"{strange[0]!r} is no name of a picture")
    return list(digests)
