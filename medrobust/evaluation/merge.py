"""Stores of several machines -> one store, each part whole, none put in the place of another."""

import hashlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medrobust.base.fingerprints import file_fingerprint, fingerprint
from medrobust.base.temporary_names import temporary_name
from medrobust.base.whole_files import move_into_place
from medrobust.exceptions import StoreError

from .store import OF_AUDITS, Store
from .store_files import read_record
from .stored_adapters import adapter_record


@dataclass(frozen=True, slots=True)
class Part:
    """A folder that a store writes whole: data, cell, features or adapter.

    Attributes:
        place: Relative to the store.
        store: That holds it.
        numbers: Fingerprint of all that a table could depend on; equal in twins.
        rank: Orders twins that differ in what does not count (seconds, device, pictures): the one
            with the most files, then by content. The first is taken.
    """

    place: Path
    store: Store
    numbers: str
    rank: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did.

    Attributes:
        copied: Parts that were new.
        kept: Parts that were there.
        conflicts: Sentences, one a part that differs between stores; with any, nothing is written.
    """

    copied: int
    kept: int
    conflicts: tuple[str, ...] = ()


def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Join stores: the same store comes out for every order and grouping, and for doubled ones.

    Args:
        sources: Folders of stores; they are only read.
        into: Folder of the joint store. What it holds already is kept as it is, but for the
            sentences that an audit has left with the data, which are joined.

    Raises:
        StoreError: If a source is no store, or a part of one is damaged; nothing is written then.
    """
    found: dict[Path, list[Part]] = {}
    stores = [Store(into)] * into.exists() + [Store(source) for source in sources]
    if len({store.sealed for store in stores if any(store.folders())}) > 1:
        bare = next(store.root for store in stores if not store.sealed)
        raise StoreError(
            f"{bare} is not sealed, and others are: `medrobust verify {shlex.quote(str(bare))} "
            f"--seal` seals it. Then merge again."
        )
    for store in stores:
        for part in parts(store):
            found.setdefault(part.place, []).append(part)
    conflicts = [
        _conflict(twins) for twins in found.values() if len({t.numbers for t in twins}) > 1
    ]
    if conflicts:
        return Merged(0, 0, tuple(conflicts))
    target = Store(into)
    copied = 0
    for place in sorted(found, key=lambda place: place.parts[0] != "data"):
        twins = found[place]
        if not (into / place).exists():
            _copy(min(twins, key=lambda part: part.rank), into)
            copied += 1
        if place.parts[0] == "data":
            _join_remarks(target, [part.store for part in twins], place.name)
    return Merged(copied, len(found) - copied)


def parts(store: Store) -> Iterator[Part]:
    """Read and check every part of a store.

    Raises:
        StoreError: If the folder is no store, or a part is damaged.
    """
    if not any((store.root / room).is_dir() for room in ("data", "cells", "features", "adapters")):
        raise StoreError(f"{store.root} is no store. Pass the folder that store.dir names.")
    for folder in store.folders():
        yield _part(store, folder, _cell_numbers)
    rooms = {
        "data/[!.]*": _data_numbers,
        "features/[!.]*": _features_numbers,
        "adapters/[!.]*": _adapter_numbers,
    }
    for pattern, numbers in rooms.items():
        for folder in sorted(store.root.glob(pattern)):
            yield _part(store, folder, numbers)


def _part(store: Store, folder: Path, numbers: Callable[[Store, Path], Any]) -> Part:
    place = folder.relative_to(store.root)
    return Part(place, store, fingerprint(numbers(store, folder)), _rank(folder))


def _data_numbers(store: Store, folder: Path) -> Any:
    store.data(folder.name)
    record = read_record(folder / "data.json")
    return [{**record["facts"], **dict.fromkeys(OF_AUDITS)}, record["arrays"]]


def _cell_numbers(store: Store, folder: Path) -> Any:
    cell = store.intact(folder)
    for number in range(len(cell.examples)):
        cell.picture(number)
    record = cell.record
    return [record[name] for name in ("fingerprint", "cell", "data", "encoding", "head", "arrays")]


def _features_numbers(store: Store, folder: Path) -> Any:
    store.read_features(folder.name)
    return read_record(folder / "features.json")["arrays"]


def _adapter_numbers(store: Store, folder: Path) -> Any:
    return adapter_record(folder).get("files")


def _rank(folder: Path) -> tuple[int, str]:
    files = sorted(folder.iterdir())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n{file_fingerprint(path)}\n".encode())
    return -len(files), digest.hexdigest()


def _conflict(twins: Sequence[Part]) -> str:
    where = ", ".join(str(part.store.root) for part in twins)
    return (
        f"{twins[0].place} holds other numbers in each of {where}: they were computed on unlike "
        f"machines or versions. Delete all but one of these folders, and merge again."
    )


def _copy(part: Part, into: Path) -> None:
    target = into / part.place
    temporary = temporary_name(target)
    try:
        shutil.copytree(part.store.root / part.place, temporary)
        move_into_place(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(f"the store cannot be written: {error}.") from error


def _join_remarks(target: Store, stores: Sequence[Store], name: str) -> None:
    """Give the data of a split the sentences that any store has of it, in one order for all."""
    own = target.data(name)
    found = [store.data(name).remarks for store in stores]
    if all(remarks == own.remarks for remarks in found):
        return
    joint: dict[str, Any] = {
        part: tuple(sorted({s for one in found for s in one[part]}, key=str)) for part in OF_AUDITS
    }
    target.write_data(replace(own, **joint))
