"""Identifiers of own data: keyed hashes, so that nothing stored leads back without the key."""

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError, InvalidDataError, hiding
from medrobust.types import Int64Array

KEY_NAME = ".medrobust_key"

PATIENCE = 100
"""Looks at a key that is empty because another process is about to write it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What stored hashes stand for: for the owner of the data only, never stored.

    Attributes:
        id: Keyed hash of the sample, as in the store.
        file: Its path in the folder; `#3` after it for frame 3.
        group: Keyed hash of the patient; meaningless where `patient` is empty.
        patient: As the table or the DICOM header names them.
    """

    id: str
    file: str
    group: str
    patient: str


def data_key(folder: Path, key_file: str | None = None) -> bytes:
    """Return the secret key of a data folder, made at first use (32 bytes, readable by its owner).

    Args:
        folder: Of the source data; the key lies in it as `.medrobust_key`.
        key_file: Another place.

    Raises:
        ConfigurationError: If it cannot be written.
        InvalidDataError: If the file is not a key.
    """
    file = Path(key_file).expanduser() if key_file else folder / KEY_NAME
    try:
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    except FileExistsError:  # made before, or by another process just now
        for _ in range(PATIENCE):
            if not _empty(file):
                break
            time.sleep(0.02)
    except OSError as error:
        told = f"that hides identifiers beside the images ({error.strerror})"
        rest = "Pass dataset.key_file=<file in a folder that can be written>."
        raise hiding(
            ConfigurationError(
                f"cannot write the key {file.name} {told}, in {file.parent}. {rest}"
            ),
            f"cannot write the key {file.name} {told}. {rest}",
        ) from error
    return read_key(file)


def _empty(file: Path) -> bool:
    try:
        return file.stat().st_size == 0
    except OSError:  # a link that leads nowhere
        return False


def read_key(file: Path) -> bytes:
    """Read a key that was made before.

    Raises:
        InvalidDataError: If the file is not a key.
        ConfigurationError: If it cannot be read.
    """
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        told = f"that hides identifiers ({error.strerror})"
        rest = (
            "Let this account read it, or pass dataset.key_file=<the key, in another place>: "
            "another key makes other ids, so that stored results are not found again."
        )
        raise hiding(
            ConfigurationError(f"cannot read the key {file.name} {told}, in {file.parent}. {rest}"),
            f"cannot read the key {file.name} {told}. {rest}",
        ) from error
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise InvalidDataError(
            f"key file {file.name} does not hold 64 hexadecimal digits: restore it, or delete it "
            f"to make another (results stored so far will then not be found again)."
        )
    return bytes.fromhex(text)


def keyed_hashes(key: bytes, kind: str, names: Iterable[str]) -> NDArray[np.str_]:
    """Hash identifiers with the key: 32 hexadecimal digits each.

    Args:
        key: From `data_key`.
        kind: "sample" or "patient"; keeps equal texts of different kinds apart.
        names: The identifiers.

    Example:
        >>> one, same, other = keyed_hashes(b"key" * 11, "patient", ["a", "a", "b"])
        >>> one == same, one == other, len(one)
        (True, False, 32)
    """
    return np.array(
        [
            hmac.new(key, f"{kind}\n{name}".encode(), hashlib.sha256).hexdigest()[:32]
            for name in names
        ],
        dtype=np.str_,
    )


def identities_of(key: bytes, names: Sequence[str], patients: Sequence[str]) -> list[Identity]:
    """Pair the hashes of samples and of their patients with what they stand for.

    Args:
        key: Content of the key file.
        names: Of the samples, N, in clear.
        patients: Of the samples, N, in clear; empty where none is named.
    """
    ids = keyed_hashes(key, "sample", names).tolist()
    groups = keyed_hashes(key, "patient", patients).tolist()
    return [Identity(*row) for row in zip(ids, names, groups, patients, strict=True)]


def sample_index(names: Iterable[str]) -> Int64Array:
    """Return 63 bits of the hash of each sample's name: what corruption draws are keyed by.

    No key enters, so that a lost key changes no picture. The index is not stored.

    Example:
        >>> one, other = sample_index(["a", "b"]).tolist()
        >>> one != other and min(one, other) >= 0
        True
    """
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return (np.frombuffer(b"".join(heads), dtype=">u8") >> np.uint64(1)).astype(np.int64)
