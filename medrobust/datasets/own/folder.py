"""Own data: a folder of pictures and a table of path, label, and perhaps split and patient."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from medrobust.base.findings import Finding
from medrobust.base.former_keywords import formerly_made_with
from medrobust.base.targets import Labels, MaskedLabels, Masks
from medrobust.base.wording import counted
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, UInt8Array

from .image_notes import cached_notes, sentence
from .masks import BORDER, mask_paths, read_masks, read_spacing, stated_spacing
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
from .source import OwnData
from .table import Table
from .unlabelled import check_unlabelled
from .unlisted import pictures_left_out

log = logging.getLogger(__name__)

READING: Final = 4
"""Version of the way pictures are read: to be raised where the cache may hold wrong ones."""

LESIONS: Final = ("background", "lesion")
"""What masks show whose classes nobody has named."""

COMMON_BITS: Final = (8, 10, 12, 14)
"""Depths that are kept in 16 bits."""


@formerly_made_with(task="label_kind")
@dataclass(frozen=True, kw_only=True)
class Folder(OwnData):
    """PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 files in a folder, and a table.

    Further arguments are those of `OwnData`.

    Args:
        name: Name in tables and in the store.
        bit_depth: Of images with more than 8 bits (`Framing`).
        mask_column: Column of the masks, where the table has it: files of the size of their images,
            not 0 in lesions; empty where nothing is one. Pictures, or NIfTI.
        mask_slice_column: Column of the slices of masks of NIfTI, from 0, where the table has it.
        mask_classes: What the values of masks stand for, from 0, the background, where images are
            judged by masks; none: every value but 0 is a lesion.
        mask_threshold: Value beyond which a pixel is a lesion, for masks of JPEG or of soft edges
            (0 to 255); None: every value but 0. Only without `mask_classes`.
        spacing_column: Column of the millimetres from one pixel to the next; None: those of the
            headers of masks of NIfTI, else nobody knows.
        target: Also "masks".
    """

    targets: ClassVar[tuple[str, ...]] = (*OwnData.targets, "masks")
    labels_with_masks: ClassVar[bool] = True

    name: str = "folder"
    bit_depth: int = 16
    mask_column: str = "mask"
    mask_slice_column: str = "mask_slice"
    mask_classes: Sequence[str] = ()
    mask_threshold: int | None = None
    spacing_column: str | None = None

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        self._framing()
        check_unlabelled(self.unlabelled)
        if self.mask_threshold is not None and (self.mask_classes or self.mask_threshold < 0):
            raise ConfigurationError(
                "dataset.mask_threshold tells a lesion from none by a value from 0: leave "
                "dataset.mask_classes empty, or leave the threshold out."
            )

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

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        if self.target == "masks":
            masks = self._masks(table, samples, tuple(self.mask_classes))
            spacing = self._spacing(table, samples)
            given = Masks(masks.open(), masks.digest, spacing, ignored=BORDER)
            return {"target": given, "class_names": tuple(self.mask_classes) or LESIONS}
        judged = super()._judged(table, samples)
        target = judged["target"]
        if self.mask_column not in table.columns or not isinstance(target, Labels):
            return judged
        masks = self._masks(table, samples, None)
        masked = MaskedLabels(target.values, masks.open(), masks.digest, ignored=BORDER)
        return judged | {"target": masked}

    def _masks(
        self, table: Table, samples: list[Sample], classes: Sequence[str] | None
    ) -> CachedArray:
        return read_masks(
            table,
            self.mask_column,
            samples,
            self.folder,
            self._framing(),
            self.name,
            self.cache_dir,
            classes,
            self.mask_threshold,
            self.mask_slice_column,
        )

    def _spacing(self, table: Table, samples: list[Sample]) -> Float64Array | None:
        if self.spacing_column is None:
            paths = mask_paths(table, self.mask_column, smeared=self.mask_threshold is not None)
            return stated_spacing(self.name, paths, self.folder, samples, self._framing())
        return read_spacing(table, self.spacing_column, samples, self._framing())

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[Finding, ...]:
        listed = {p for t in table.parts() for p in relative_paths(t, self.path_column)}
        if self.mask_column in table.columns:
            smeared = self.mask_threshold is not None
            paths = (mask_paths(t, self.mask_column, smeared=smeared) for t in table.parts())
            listed |= {path for one in paths for path in one}
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
