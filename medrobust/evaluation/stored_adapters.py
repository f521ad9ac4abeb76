"""A tuned adapter in a store: `adapters/FP/`."""

from pathlib import Path
from typing import Any

from medrobust.adapters.artifact import RECORD
from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.seals import read_sealed

from .store_files import damaged


def adapter_record(folder: Path) -> dict[str, Any]:
    """Read the record of a tuned adapter, and check that its files are those that it names.

    Raises:
        StoreError: If one is not; the message names the folder.
    """
    try:
        record = read_sealed(folder / RECORD)
        stated = dict(record.get("files", {}))
    except (OSError, ValueError, TypeError) as error:
        raise damaged(folder, f"{RECORD} cannot be read ({error})") from error
    for name, sum_ in stated.items():
        if not (folder / name).is_file() or file_fingerprint(folder / name) != sum_:
            raise damaged(folder, f"{name} is not the file that was written")
    return record
