"""Own data: a folder of pictures and a table of path, label, and perhaps split and patient."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from medrobust.base.findings import Finding
from medrobust.base.former_keywords import formerly_made_with
from medrobust.base.wording import counted
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.types import Float64Array, UInt8Array

from .image_notes import cached_notes, sentence
from .mask_spacing import stated_spacing
from .masked import MaskedData
from .masks import MaskFiles
from .picture_files import DEEP, FEW_GREYS, FIRST, NOTES, OPAQUE, SeenPicture, is_grey, read_noted
from .pictures import Framing, quiet_decoders, write_images
from .row_files import check_files
from .samples import (
    Sample,
    all_grey,
    by_note,
    check_unique,
    each_sample,
    files_key,
    relative_paths,
)
from .shown import Shown, picture_shown
from .table import Table
from .unlabelled import check_unlabelled
from .unlisted import pictures_left_out

log = logging.getLogger(__name__)

READING: Final = 4
"""Version of the way pictures are read: to be raised where the cache may hold wrong ones."""

COMMON_BITS: Final = (8, 10, 12, 14)
"""Depths that are kept in 16 bits."""


@formerly_made_with(task="label_kind")
@dataclass(frozen=True, kw_only=True)
class Folder(MaskedData):
    """PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 files in a folder, and a table.

    Further arguments are those of `OwnData` and `MaskedData`.

    Args:
        name: Name in tables and in the store.
        bit_depth: Of images with more than 8 bits (`Framing`).
    """

    name: str = "folder"
    bit_depth: int = 16

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        self._framing()
        check_unlabelled(self.unlabelled)
        self._check_masks()

    def _framing(self) -> Framing:
        return Framing(self.size, self.fit, self.bit_depth)

    def _samples(self, table: Table, rows: list[int]) -> list[Sample]:
        paths = relative_paths(table, self.path_column)
        check_unique(table, paths, "image")
        samples = [
            Sample(paths[row], self.folder / paths[row], row, table.place(row)) for row in rows
        ]
        check_files(samples, self.folder, self._read, quiet_decoders)
        return samples

    def _read(self, sample: Sample) -> SeenPicture:
        return read_noted(sample.file, self._framing(), grey=False)

    def _shown(self, sample: Sample) -> Shown:
        return picture_shown(sample.file)

    def _stated_spacing(self, files: MaskFiles, samples: list[Sample]) -> Float64Array | None:
        return stated_spacing(self.name, files, samples, self._framing(), self._shown)

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[Finding, ...]:
        listed = {p for t in table.parts() for p in relative_paths(t, self.path_column)}
        listed |= {*self._listed_masks(table)}
        found = self._found(samples, self._notes(samples), f" of {split}")
        return (*found, *self._left_out(pictures_left_out(self.folder, listed), "picture"))

    def _images(self, samples: list[Sample]) -> CachedArray:
        framing = self._framing()
        noted: dict[str, Mapping[str, str]] = {}

        def write(target: Path) -> str:
            with quiet_decoders():
                grey = all_grey(lambda s: is_grey(s.file), self._read, samples)

                def read(sample: Sample) -> UInt8Array:
                    picture = read_noted(sample.file, framing, grey=grey)
                    noted[sample.name] = picture.notes
                    return picture.pixels

                return write_images(
                    each_sample(read, samples), len(samples), framing.size, grey, target
                )

        found = cached_array(self.name, self._made_from(samples), write, cache_dir=self.cache_dir)
        if noted:
            for finding in self._found(samples, self._notes(samples, noted)):
                level = logging.INFO if finding.audit_only else logging.WARNING
                log.log(level, "%s", finding)
        return found

    def _made_from(self, samples: list[Sample]) -> dict[str, Any]:
        """Return what decides the pixels, for the cache."""
        return {
            "kind": "pictures",
            "reading": READING,
            **files_key(self.name, samples, cache_dir=self.cache_dir),
            "framing": [self.size, self.fit, self.bit_depth],
        }

    def _notes(
        self, samples: list[Sample], noted: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    ) -> list[dict[str, str]]:
        """Return what is to be said of each picture, from the cache: note -> detail."""

        def notes_of(sample: Sample) -> Mapping[str, str]:
            if sample.name in noted:
                return noted[sample.name]
            return read_noted(sample.file, self._framing(), grey=False).notes

        def read() -> list[Mapping[str, str]]:
            with quiet_decoders():
                return list(each_sample(notes_of, samples))

        key = self._made_from(samples)
        return cached_notes("picture-notes", key, NOTES, read, cache_dir=self.cache_dir)

    def _found(
        self, samples: list[Sample], notes: list[dict[str, str]], of: str = ""
    ) -> list[Finding]:
        """Say what is to be said of the pictures of a split."""
        found = by_note(samples, notes)
        said = [
            Finding(
                "header against pixels" if note == FEW_GREYS else "further remarks",
                sentence(note, found[note], len(samples), of),
                audit_only=note in (OPAQUE, FIRST),
            )
            for note in NOTES
            if note in found and note != DEEP
        ]
        greatest = max((int(detail) for _, detail in found.get(DEEP, ())), default=1 << 16)
        bits = next((bits for bits in COMMON_BITS if greatest < 1 << bits), None)
        if bits is not None:
            images = f"{counted(len(found[DEEP]), 'image')}{of} of 16 bits"
            dark = f"{images}: no value exceeds {greatest}. {_hint(bits)}"
            said.append(Finding("further remarks", dark))
        return said


def _hint(bits: int) -> str:
    return f"If they hold {bits} bits, pass dataset.bit_depth={bits}; they are dark without it"
