"""Sealing a store of release 0.1: what it holds is checked as far as it can be, then sealed."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from medrobust.adapters.artifact import RECORD
from medrobust.base.seals import is_sealed, sealed_json
from medrobust.base.whole_files import write_whole
from medrobust.exceptions import StoreError

from .store import Store
from .store_files import read_record, rewrite_record
from .stored_adapters import adapter_record
from .stored_splits import RECORD as DATA


def seal_store(root: Path) -> int:
    """Seal every record that has no seal: of splits, cells, features and adapters.

    Args:
        root: Folder of the store.

    Returns:
        How many were sealed.

    Raises:
        StoreError: If something is damaged, or cannot be written; what is sealed by then stays so.
    """
    store = Store(root, warn_unsealed=False)
    return sum([*_splits(store), *_cells(store), *_features(store), *_adapters(store)])


def _splits(store: Store) -> Iterator[bool]:
    for folder in sorted(store.root.glob("data/[!.]*")):
        store.data(folder.name)
        yield _seal(folder / DATA)


def _cells(store: Store) -> Iterator[bool]:
    for cell in store.cells():
        if is_sealed(cell.record):
            yield False
            continue
        pictures = {path.name: cell.picture(n) for n, path in enumerate(cell.examples)}
        digests = {name: sha256(content).hexdigest() for name, content in pictures.items()}
        record = {**cell.record, "examples": digests}
        rewrite_record(cell.folder / "cell.json", record, sealed=True)
        yield True


def _features(store: Store) -> Iterator[bool]:
    for folder in sorted(store.root.glob("features/[!.]*")):
        store.read_features(folder.name)
        yield _seal(folder / "features.json")


def _adapters(store: Store) -> Iterator[bool]:
    for folder in sorted(store.root.glob("adapters/[!.]*")):
        record = adapter_record(folder)
        if is_sealed(record):
            yield False
            continue
        try:
            write_whole(folder / RECORD, sealed_json(record))
        except OSError as error:
            raise StoreError(f"the store cannot be written: {error}.") from error
        yield True


def _seal(path: Path) -> bool:
    """Seal a record, unless it is sealed."""
    record = read_record(path)
    if is_sealed(record):
        return False
    rewrite_record(path, record, sealed=True)
    return True
