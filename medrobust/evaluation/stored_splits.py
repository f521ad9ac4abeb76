"""Labels and names of a split in a store: `data/FP/`."""

from pathlib import Path
from typing import Any

from medrobust.base.seals import is_sealed
from medrobust.base.split_facts import SplitFacts

from .facts_record import ARRAYS, arrays_of, facts_of, read_facts
from .store_files import (
    damaged,
    read_record,
    rewrite_record,
    stored_array,
    with_arrays,
    write_folder,
)

RECORD = "data.json"


def read_split(folder: Path) -> tuple[SplitFacts, dict[str, Any]]:
    """Read labels and names, and the record as it stands.

    Raises:
        StoreError: If they are missing or damaged.
    """
    record = read_record(folder / RECORD)
    try:
        stated = dict(record["arrays"])
        arrays = {
            name: stored_array(folder / f"{name}.npy", stated[name])
            for name in ARRAYS
            if name in stated
        }
        data = read_facts(record["facts"], arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, f"{RECORD} does not say what it must ({error})") from error
    if data.fingerprint != folder.name:
        raise damaged(folder, f"it holds the data {data.fingerprint[:12]}")
    return data, record


def write_split(folder: Path, data: SplitFacts, *, sealed: bool = True) -> None:
    """Write labels and names, once.

    Raises:
        StoreError: If the store cannot be written.
    """
    files = with_arrays({"facts": facts_of(data)}, arrays_of(data), RECORD, sealed=sealed)
    write_folder(folder, files, replace=False)


def write_remarks(folder: Path, data: SplitFacts) -> None:
    """Replace the sentences that tables carry: an audit may have found more meanwhile.

    Raises:
        StoreError: If the store cannot be written.
    """
    record = read_record(folder / RECORD)
    record["facts"] |= data.remarks
    record["facts"].pop("marks", None)  # as release 0.1 called them
    rewrite_record(folder / RECORD, record, sealed=is_sealed(record))
