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


def seal_store(root: Path) -> list[Path]:
    """Seal every record that has no seal: of splits, cells, features and adapters.

    Args:
        root: Folder of the store.

    Returns:
        The folders whose record was sealed.

    Raises:
        StoreError: If something is damaged, or cannot be written; what is sealed by then stays so.
    """
    store = Store(root, sealing=True)
    return [*_splits(store), *_cells(store), *_features(store), *_adapters(store)]


def _splits(store: Store) -> Iterator[Path]:
    for folder in sorted(store.root.glob("data/[!.]*")):
        store.data(folder.name)
        yield from _seal(folder / DATA)


def _cells(store: Store) -> Iterator[Path]:
    for cell in map(store.intact, store.folders()):
        if is_sealed(cell.record):
            continue
        pictures = {path.name: cell.picture(n) for n, path in enumerate(cell.examples)}
        digests = {name: sha256(content).hexdigest() for name, content in pictures.items()}
        record = {**cell.record, "examples": digests}
        rewrite_record(cell.folder / "cell.json", record, sealed=True)
        yield cell.folder


def _features(store: Store) -> Iterator[Path]:
    for folder in sorted(store.root.glob("features/[!.]*")):
        store.read_features(folder.name)
        yield from _seal(folder / "features.json")


def _adapters(store: Store) -> Iterator[Path]:
    for folder in sorted(store.root.glob("adapters/[!.]*")):
        record = adapter_record(folder)
        if is_sealed(record):
            continue
        try:
            write_whole(folder / RECORD, sealed_json(record))
        except OSError as error:
            raise StoreError(f"the store cannot be written: {error}.") from error
        yield folder


def _seal(path: Path) -> Iterator[Path]:
    """Seal a record, unless it is sealed."""
    record = read_record(path)
    if not is_sealed(record):
        rewrite_record(path, record, sealed=True)
        yield path.parent
