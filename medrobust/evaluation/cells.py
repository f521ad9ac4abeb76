"""What a cell is: its name, what decides its numbers, where it lies, and how it is read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.safe_files import regular_bytes
from medrobust.base.split_facts import SplitFacts
from medrobust.tasks.base import ONLINE, READ_AS, deciding
from medrobust.tasks.lookup import task_name

from .store_files import FORMAT, damaged


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
        row = "" if self.adapter == "none" else f" · {self.adapter}"
        return f"{self.model}{row} · {self.dataset}/{self.split} · {what}"


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
        return self.fingerprint_of(self.encoding_fingerprint)

    def fingerprint_of(self, encoding_fingerprint: str) -> str:
        """Return the fingerprint, where that of the encoding is known already."""
        return fingerprint([FORMAT, encoding_fingerprint, head_fingerprint(self.head)])

    @property
    def task(self) -> str:
        """Name of the task that the head belongs to."""
        return task_name(str(self.head["kind"]))

    @property
    def folder(self) -> Path:
        """Place of the cell, relative to the store."""
        return cell_folder(self.spec, self.fingerprint)


def head_fingerprint(head: Mapping[str, Any]) -> str:
    """Fingerprint a head by what decides numbers: the name of a prompt set is for people.

    Example:
        >>> head = {"kind": "ranks"}
        >>> head_fingerprint(head) == head_fingerprint({**head, "name": "for people"})
        True
    """
    return fingerprint(deciding(head))


def texts_fingerprint(head: Mapping[str, Any]) -> str:
    """Fingerprint a head as people wrote it: however it reads sentences, not adapted online."""
    own = (READ_AS, ONLINE)
    return head_fingerprint({name: value for name, value in head.items() if name not in own})


def unadapted_fingerprint(head: Mapping[str, Any]) -> str:
    """Fingerprint what a head is without what adapts its answers online."""
    return head_fingerprint({name: value for name, value in head.items() if name != ONLINE})


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
        examples: Example pictures, at most eight: see `picture`.
        digests: SHA-256 of each, by its name; empty in a cell without a seal.
        unread: Why its task does not read its arrays, though they are as they were written: it
            declares others by now, or is not installed. Empty where it reads them.
    """

    spec: CellSpec
    fingerprint: str
    folder: Path
    arrays: Mapping[str, NDArray[Any]]
    data: SplitFacts
    record: dict[str, Any]
    examples: tuple[Path, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    unread: str = ""

    @property
    def head(self) -> Mapping[str, Any]:
        """What turned features into the arrays, as it was planned."""
        head: Mapping[str, Any] = self.record["head"]
        return head

    @property
    def task(self) -> str:
        """Name of the task that the head belongs to: cells of two tasks are never compared."""
        return task_name(str(self.head["kind"]))

    def picture(self, number: int = 0) -> bytes:
        """Read an example picture, PNG, and check that it is the one that was written.

        Raises:
            StoreError: If it is not, or cannot be read.
        """
        path = self.examples[number]
        try:
            content = regular_bytes(path)
        except OSError as error:
            raise damaged(self.folder, f"{path.name} cannot be read ({error})") from error
        if self.digests.get(path.name) not in (None, sha256(content).hexdigest()):
            raise damaged(self.folder, f"{path.name} is not the picture that was written")
        return content


def cell_place(model: str, dataset: str, suite: str, corruption: str) -> Path:
    """Return the folder, relative to the store, that holds all severities of one column."""
    column = safe_name(f"{suite}.{corruption}")
    return Path("cells") / safe_name(model) / safe_name(dataset) / column


def cell_parts(spec: CellSpec, fingerprint_: str) -> tuple[str, str, str, str]:
    """Name the folders from a model's name down to a cell, which say what the cell is."""
    column = safe_name(f"{spec.suite}.{spec.corruption}")
    last = f"s{spec.severity}-{fingerprint_[:12]}"
    return safe_name(spec.model), safe_name(spec.dataset), column, last


def cell_folder(spec: CellSpec, fingerprint_: str) -> Path:
    """Return the place of a cell, relative to the store."""
    return Path("cells", *cell_parts(spec, fingerprint_))


@lru_cache(maxsize=1024)
def safe_name(text: str) -> str:
    """Make a folder name out of any text: letters, digits, '.', '_', '-', at most 80 of them.

    Example:
        >>> safe_name("../my model"), safe_name("clip_vit_b16")
        ('-my-model', 'clip_vit_b16')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".")[:80]
    return name or "-"
