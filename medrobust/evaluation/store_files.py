"""Files and folders of a store: written whole or not at all, read back only if undamaged."""

import hashlib
import io
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.safe_files import whole_array
from medrobust.base.seals import plain_json, read_sealed, sealed_json
from medrobust.base.temporary_names import temporary_name
from medrobust.base.whole_files import make_folder, move_into_place, write_whole
from medrobust.exceptions import StoreError

FORMAT = 1
"""Version of the layout; a store of another version is refused."""

FREE = "Finished cells are kept; free the disk or point store.dir to another folder, and run again."
"""What to do where a store cannot be written."""


def damaged(folder: Path, what: str) -> StoreError:
    """Build the error for a folder of the store that must not be used."""
    return StoreError(f"{folder} is damaged: {what}. Delete that folder, and run its job again.")


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON record, and check format and seal.

    Raises:
        StoreError: If it cannot be read, or is not what was written; the message names the folder.
    """
    try:
        record = read_sealed(path)
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} cannot be read ({error})") from error
    if record.get("format") != FORMAT:
        raise damaged(path.parent, f"{path.name} is not of format {FORMAT}")
    return record


def record_bytes(record: Mapping[str, Any], *, sealed: bool = True) -> bytes:
    """Write a JSON record, with a seal or as release 0.1 did.

    Example:
        >>> record_bytes({"a": 2}, sealed=False).split()
        [b'{', b'"a":', b'2', b'}']
    """
    return (sealed_json if sealed else plain_json)(record, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Finding):
        return value.record()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept in a JSON file")


def described(array: NDArray[Any]) -> dict[str, Any]:
    """Say what an array must look like when it is read back.

    Example:
        >>> stated = described(np.zeros((2, 3), np.float32))
        >>> stated["shape"], stated["dtype"], stated["sha256"][:8]
        ([2, 3], '<f4', '9d908ecf')
    """
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def stored_array(path: Path, stated: Any) -> NDArray[Any]:
    """Read an array, and check that it is as it was described.

    Raises:
        StoreError: If it is not; the message names the folder.
    """
    try:
        array: NDArray[Any] = whole_array(path)
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} cannot be read ({error})") from error
    if described(array) != stated:
        raise damaged(path.parent, f"{path.name} is not the array that was written")
    return array


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return the content of the `.npy` file of an array.

    Example:
        >>> len(array_bytes(np.zeros(3, np.uint8)))  # a head of 128 bytes
        131
    """
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def with_arrays(
    record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], name: str, *, sealed: bool = True
) -> dict[str, bytes]:
    """Return the files of a folder: its arrays, and the record under its name, which names them.

    Example:
        >>> sorted(with_arrays({}, {"features": np.zeros((1, 2))}, "features.json"))
        ['features.json', 'features.npy']
    """
    stated = {name: described(array) for name, array in arrays.items()}
    files = {f"{name}.npy": array_bytes(array) for name, array in arrays.items()}
    whole = {"format": FORMAT, **record, "arrays": stated}
    return files | {name: record_bytes(whole, sealed=sealed)}


def rewrite_record(path: Path, record: Mapping[str, Any], *, sealed: bool) -> None:
    """Put a record in the place of an earlier one.

    Raises:
        StoreError: If it cannot be written; the earlier one stays.
    """
    try:
        write_whole(path, record_bytes(record, sealed=sealed))
    except OSError as error:
        raise StoreError(f"the store cannot be written: {error}.") from error


def write_folder(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write files, name -> content, to a temporary folder beside, and rename it into its place.

    Args:
        folder: Its place.
        files: Name -> content.
        replace: Put it in the place of a finished twin; else the twin stays.

    Raises:
        StoreError: If the store cannot be written; nothing is left behind.
    """
    temporary = temporary_name(folder)
    try:
        make_folder(temporary.parent)
        temporary.mkdir()
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        old = temporary_name(folder)
        with suppress(FileNotFoundError):  # another worker may replace it, too
            if replace:
                folder.rename(old)
        _rename(temporary, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"the store cannot be written: {error}. {FREE}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    """Move a whole folder into place, unless a twin arrived first."""
    try:
        move_into_place(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
