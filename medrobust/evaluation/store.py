"""The store: finished cells on disk, written whole or not at all, read back only if undamaged.

Layout (all names made safe; the fingerprint decides)::

    data/FP/          labels.npy ids.npy data.json      once for each data fingerprint;
                      groups.npy metadata.npy           where there are some
    cells/MODEL/DATASET/SUITE.CORRUPTION/sK-FP12/                    cell.json NAME.npy [*.png]
                      one array a name that the cell's task declares (`tasks.base.ArraySpec`)
    features/FP/      features.npy features.json   if kept, by encoding fingerprint
    adapters/FP/      a tuned adapter, by the fingerprint of base model, shots and recipe

A folder is written under a hidden temporary name beside its place, forced to the disk and renamed.
The first to arrive wins and a later twin is dropped, so that workers need no locks to be right;
those of `.claims/`, there while cells are computed, keep them from computing the same cell.
"""

import hashlib
import io
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.safe_files import json_object, plain_array
from medrobust.base.split_facts import OF_AUDITS as OF_AUDITS
from medrobust.base.split_facts import SplitFacts
from medrobust.base.whole_files import make_folder, move_into_place, write_whole
from medrobust.corruptions.suites import SANITY as SANITY
from medrobust.exceptions import StoreError, UnknownNameError
from medrobust.tasks.base import READ_AS, ArraySpec, unlike
from medrobust.tasks.lookup import task_name, task_of
from medrobust.types import Float32Array

from .facts_record import ARRAYS, arrays_of, facts_of, read_facts
from .seals import SEAL, Claim, breach, sealed

PLACE = 4
"""Folders from a model's name down to a cell, which say what the cell is."""

FORMAT = 1
"""Version of the layout; a store of another version is refused."""


@dataclass(frozen=True, slots=True, order=True)
class CellSpec:
    """What people call a cell: the columns of every table.

    Attributes:
        model: Name of the model.
        adapter: Name of the adaptation, "none" for the model as published.
        dataset: Name of the data set.
        split: "train", "val" or "test".
        suite: Where the parameters come from ("imagenet_c", a MedMNIST flag); "none" for clean.
        corruption: Name of the corruption, or "clean".
        severity: 1 to 5; 0 for clean.
        seed: Corruption seed; None where nothing is drawn.
    """

    model: str
    adapter: str
    dataset: str
    split: str
    suite: str
    corruption: str
    severity: int
    seed: int | None

    def __str__(self) -> str:
        what = "clean" if self.severity == 0 else f"{self.corruption} s{self.severity}"
        return f"{self.model} · {self.dataset}/{self.split} · {what}"


@dataclass(frozen=True, slots=True)
class CellKey:
    """A cell together with all that decides its numbers.

    Attributes:
        spec: For people.
        encoding: What decides the image features: weights, adapter, preprocessing, precision,
            micro-batch, data, corruption and its version, and the seed where the kernel draws.
        head: What turns features into the arrays of a cell: prompts, class texts, probe.
        data: Fingerprint of the data set's split.
    """

    spec: CellSpec
    encoding: Mapping[str, Any]
    head: Mapping[str, Any]
    data: str

    @property
    def encoding_fingerprint(self) -> str:
        """Under which features lie."""
        return fingerprint(self.encoding)

    @property
    def fingerprint(self) -> str:
        """Under which the arrays of the cell lie."""
        return fingerprint([FORMAT, self.encoding_fingerprint, head_fingerprint(self.head)])

    @property
    def task(self) -> str:
        """Name of the task that the head belongs to."""
        return task_name(str(self.head["kind"]))

    @property
    def folder(self) -> Path:
        """Place of the cell, relative to the store."""
        return cell_folder(self.spec, self.fingerprint)


def head_fingerprint(head: Mapping[str, Any]) -> str:
    """Fingerprint a head. The name of a prompt set is for people and decides nothing.

    Example:
        >>> head = {"kind": "retrieval"}
        >>> head_fingerprint(head) == head_fingerprint({**head, "name": "for people"})
        True
    """
    return fingerprint({name: value for name, value in head.items() if name != "name"})


def texts_fingerprint(head: Mapping[str, Any]) -> str:
    """Fingerprint a head as people wrote it, however the model of the cell reads its sentences."""
    return head_fingerprint({name: value for name, value in head.items() if name != READ_AS})


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A finished cell, read back and checked.

    Attributes:
        spec: For people.
        fingerprint: 64 hexadecimal digits.
        folder: Absolute path of the cell.
        arrays: Those that its task declares; axes over images are in the order of `data.ids`.
        data: Labels and names.
        record: The whole of `cell.json`: configuration, versions, device, seconds, load report.
        examples: Example pictures, at most eight.
    """

    spec: CellSpec
    fingerprint: str
    folder: Path
    arrays: Mapping[str, NDArray[Any]]
    data: SplitFacts
    record: dict[str, Any]
    examples: tuple[Path, ...] = ()

    @property
    def head(self) -> Mapping[str, Any]:
        """What turned features into the arrays, as it was planned."""
        head: Mapping[str, Any] = self.record["head"]
        return head

    @property
    def task(self) -> str:
        """Name of the task that the head belongs to: cells of two tasks are never compared."""
        return task_name(str(self.head["kind"]))


@dataclass(slots=True)
class Store:
    """All cells that were ever computed below one folder.

    Args:
        root: Folder of the store; made when the first thing is written.
    """

    root: Path
    _data: dict[str, SplitFacts] = field(default_factory=dict, repr=False)

    def has(self, key: CellKey) -> bool:
        """Say whether the cell is finished and undamaged.

        Raises:
            StoreError: If the cell is there but damaged.
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
            StoreError: If it is missing or damaged; the message names the folder.
        """
        folder = self.root / cell_folder(spec, fingerprint_)
        cell = self.read_folder(folder)
        if cell.fingerprint != fingerprint_:
            raise damaged(folder, f"it holds the cell {cell.fingerprint[:12]}")
        return cell

    def read_folder(self, folder: Path) -> StoredCell:
        """Read the cell that lies in `folder`, as `read` does."""
        record = _read_json(folder / "cell.json")
        try:
            spec = CellSpec(**record["cell"])
            data = self.data(record["data"])
            stated = dict(record["arrays"])
            claim = _claim(spec, data, record)
            own_fingerprint, kind = str(record["fingerprint"]), str(record["head"]["kind"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(folder, f"cell.json lacks a part ({error})") from error
        if complaint := claim.contradiction():
            raise damaged(folder, complaint)
        if folder.parts[-PLACE:] != cell_folder(spec, own_fingerprint).parts[-PLACE:]:
            raise damaged(folder, f"it holds the cell {spec}, whose place is another")
        declared = _declared(kind, folder)
        if set(stated) != set(declared):
            raise damaged(folder, f"it holds {sorted(stated)}, not {sorted(declared)}")
        arrays = {name: _stored_array(folder / f"{name}.npy", stated[name]) for name in declared}
        if complaint := unlike(declared, arrays, data):
            raise damaged(folder, complaint)
        examples = tuple(sorted(folder.glob("*.png")))
        return StoredCell(spec, own_fingerprint, folder, arrays, data, record, examples)

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
        body = {
            "format": FORMAT,
            "fingerprint": key.fingerprint,
            "cell": asdict(key.spec),
            "data": key.data,
            "encoding": dict(key.encoding),
            "encoding_fingerprint": key.encoding_fingerprint,
            "head": dict(key.head),
            "arrays": {name: _description(array) for name, array in arrays.items()},
            **record,
        }
        files = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
        files |= {"cell.json": _sealed_bytes(body), **(examples or {})}
        _write_folder(self.root / key.folder, files, replace=replace)

    def adopt(self, key: CellKey) -> bool:
        """Write a missing cell from an equal one that another suite has: the numbers are the same.

        Returns:
            Whether there was one.

        Raises:
            StoreError: If that cell is damaged, or the store cannot be written.
        """
        place = self.root / key.folder
        column = f"*.{safe_name(key.spec.corruption)}"
        for folder in sorted(place.parent.parent.glob(f"{column}/{place.name}")):
            twin = self.read_folder(folder)
            if twin.fingerprint != key.fingerprint:
                continue
            pictures = {path.name: path.read_bytes() for path in twin.examples}
            own = {"cell": asdict(key.spec), "head": dict(key.head)}
            self.write(key, twin.arrays, {**twin.record, **own}, examples=pictures)
            return True
        return False

    def data(self, fingerprint_: str) -> SplitFacts:
        """Read labels and names of a data fingerprint (kept in memory afterwards).

        Raises:
            StoreError: If they are missing or damaged.
        """
        if fingerprint_ not in self._data:
            self._data[fingerprint_] = self._read_data(self.root / "data" / fingerprint_)
        return self._data[fingerprint_]

    def _read_data(self, folder: Path) -> SplitFacts:
        record = _read_json(folder / "data.json")
        try:
            stated = dict(record["arrays"])
            arrays = {
                name: _stored_array(folder / f"{name}.npy", stated[name])
                for name in ARRAYS
                if name in stated
            }
            data = read_facts(record["facts"], arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(folder, f"data.json does not say what it must ({error})") from error
        if data.fingerprint != folder.name:
            raise damaged(folder, f"it holds the data {data.fingerprint[:12]}")
        return data

    def write_data(self, data: SplitFacts) -> None:
        """Write labels and names once for each data fingerprint; remarks are those of the last run.

        Raises:
            StoreError: If the store cannot be written.
        """
        folder = self.root / "data" / data.fingerprint
        if folder.exists():
            if self.data(data.fingerprint).remarks != data.remarks:
                self._write_remarks(folder, data)
            return
        arrays = arrays_of(data)
        facts = facts_of(data)
        body = {
            "format": FORMAT,
            "facts": facts,
            "arrays": {name: _description(array) for name, array in arrays.items()},
        }
        files = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
        _write_folder(folder, {**files, "data.json": _sealed_bytes(body)}, replace=False)

    def _write_remarks(self, folder: Path, data: SplitFacts) -> None:
        """Replace the sentences that tables carry: an audit may have found more meanwhile."""
        body = _read_json(folder / "data.json")
        body["facts"] |= data.remarks
        body["facts"].pop("marks", None)  # as release 0.1 called them
        content = _sealed_bytes(body) if SEAL in body else _json_bytes(body)
        try:
            write_whole(folder / "data.json", content)
        except OSError as error:
            raise StoreError(f"the store cannot be written: {error}.") from error
        self._data.pop(data.fingerprint, None)

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
        record = _read_json(folder / "features.json")
        try:
            return _stored_array(folder / "features.npy", record["arrays"]["features"])
        except KeyError as error:
            raise damaged(folder, f"features.json lacks a part ({error})") from error

    def write_features(
        self, encoding_fingerprint: str, features: Float32Array, *, replace: bool = False
    ) -> None:
        """Keep image features, float32 (N, D), for further heads.

        Raises:
            StoreError: If the store cannot be written.
        """
        body = {"format": FORMAT, "arrays": {"features": _description(features)}}
        files = {"features.npy": _npy(features), "features.json": _json_bytes(body)}
        folder = self.root / "features" / encoding_fingerprint
        _write_folder(folder, files, replace=replace)

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
        _write_folder(self.adapter_folder(fingerprint_), files, replace=replace)

    def find(
        self, model: str, dataset: str, suite: str, corruption: str, severity: int
    ) -> Iterator[StoredCell]:
        """Yield the finished cells of that place, whatever their fingerprint, by folder name."""
        place = self.root / cell_place(model, dataset, suite, corruption)
        for folder in sorted(place.glob(f"s{severity}-*")):
            yield self.read_folder(folder)

    def cells(self) -> Iterator[StoredCell]:
        """Yield every finished cell, in the order of the folder names."""
        for path in sorted((self.root / "cells").glob("*/*/*/s*-*")):
            yield self.read_folder(path)


def cell_place(model: str, dataset: str, suite: str, corruption: str) -> Path:
    """Return the folder, relative to the store, that holds all severities of one column."""
    column = safe_name(f"{suite}.{corruption}")
    return Path("cells") / safe_name(model) / safe_name(dataset) / column


def cell_folder(spec: CellSpec, fingerprint_: str) -> Path:
    """Return the place of a cell, relative to the store."""
    place = cell_place(spec.model, spec.dataset, spec.suite, spec.corruption)
    return place / f"s{spec.severity}-{fingerprint_[:12]}"


def safe_name(text: str) -> str:
    """Make a folder name out of any text: letters, digits, '.', '_', '-', at most 80 of them.

    Example:
        >>> safe_name("../my model"), safe_name("clip_vit_b16")
        ('-my-model', 'clip_vit_b16')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".")[:80]
    return name or "-"


def damaged(folder: Path, what: str) -> StoreError:
    """Build the error for a folder of the store that must not be used."""
    return StoreError(
        f"{folder} is damaged: {what}. Delete that folder, or compute it again with resume=false."
    )


def _declared(kind: str, folder: Path) -> Mapping[str, ArraySpec]:
    try:
        return task_of(kind).arrays
    except UnknownNameError as error:
        raise StoreError(
            f"{folder} holds the answers of a task that is not installed here: {error}"
        ) from error


def _description(array: NDArray[Any]) -> dict[str, Any]:
    """Say what an array must look like when it is read back."""
    contiguous = np.ascontiguousarray(array)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "sha256": hashlib.sha256(contiguous.tobytes()).hexdigest(),
    }


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (
        json.dumps(value, default=_plain, indent=1, sort_keys=True, allow_nan=False) + "\n"
    ).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Finding):
        return value.record()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept in a JSON file")


def _sealed_bytes(value: Mapping[str, Any]) -> bytes:
    """Seal what will be read back, not what is in memory: a reader has no tuples."""
    return _json_bytes(sealed(json.loads(_json_bytes(value))))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json_object(path)
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} cannot be read ({error})") from error
    if value.get("format") != FORMAT:
        raise damaged(path.parent, f"{path.name} is not of format {FORMAT}")
    if complaint := breach(value):
        raise damaged(path.parent, f"{path.name}: {complaint}")
    return value


def _claim(spec: CellSpec, data: SplitFacts, record: Mapping[str, Any]) -> Claim:
    """Put together what a record says of its cell, and what its parts make of it."""
    key = CellKey(spec, record["encoding"], record["head"], data.fingerprint)
    stated = (str(record["fingerprint"]), str(record["encoding_fingerprint"]))
    return Claim(spec, data, key.encoding, stated, (key.fingerprint, key.encoding_fingerprint))


def _stored_array(path: Path, stated: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.array(plain_array(path))
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} cannot be read ({error})") from error
    if _description(array) != stated:
        raise damaged(path.parent, f"{path.name} is not the array that was written")
    return array


def _write_folder(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write `files` to a temporary folder beside, then rename it into its place."""
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    try:
        make_folder(temporary.parent)
        temporary.mkdir()
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        old = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):  # another worker may replace it, too
            if replace:
                folder.rename(old)
        _rename(temporary, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"the store cannot be written: {error}. Finished cells are kept; free the disk or "
            f"point store.dir to another folder, and run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    """Move a whole folder into place, unless a twin arrived first."""
    try:
        move_into_place(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
