"""Own data whose images may have masks, named by the table: what folders of both kinds share."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

from medrobust.base.targets import Labels, MaskedLabels, Masks
from medrobust.datasets.cache import CachedArray
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array

from .mask_spacing import read_spacing
from .masks import BORDER, MaskFiles, mask_files, mask_paths, read_masks
from .pictures import Framing
from .samples import Sample
from .shown import Shown
from .source import OwnData
from .table import Table

LESIONS: Final = ("background", "lesion")
"""What masks show whose classes nobody has named."""


@dataclass(frozen=True, kw_only=True)
class MaskedData(OwnData):
    """Images of your own, a table, and masks where it names them.

    Further arguments are those of `OwnData`.

    Args:
        mask_column: Column of the masks, where the table has it: files of the size of their images,
            not 0 in lesions; empty where nothing is one. Pictures, NIfTI or DICOM SEG.
        mask_slice_column: Column of the slices of masks of NIfTI, and of SEG of images that are not
            DICOM, from 0, where the table has it.
        mask_classes: What the values of masks stand for, from 0, the background, where images are
            judged by masks, and segments of SEG by their numbers; none: every value but 0 is a
            lesion.
        mask_threshold: Value beyond which a pixel is a lesion, for masks of JPEG, of soft edges or
            of fractions in SEG (0 to 255); None: every value but 0. Only without `mask_classes`.
        spacing_column: Column of the millimetres from one pixel to the next; None: those of
            headers, else nobody knows.
        target: Also "masks".
    """

    targets: ClassVar[tuple[str, ...]] = (*OwnData.targets, "masks")
    labels_with_masks: ClassVar[bool] = True

    mask_column: str = "mask"
    mask_slice_column: str = "mask_slice"
    mask_classes: Sequence[str] = ()
    mask_threshold: int | None = None
    spacing_column: str | None = None

    def _check_masks(self) -> None:
        """Refuse choices of masks that do not go together."""
        if self.mask_threshold is not None and (self.mask_classes or self.mask_threshold < 0):
            raise ConfigurationError(
                "dataset.mask_threshold tells a lesion from none by a value from 0: leave "
                "dataset.mask_classes empty, or leave the threshold out."
            )

    @abstractmethod
    def _framing(self) -> Framing:
        """Say how images become of one size."""

    @abstractmethod
    def _shown(self, sample: Sample) -> Shown:
        """Say how an image is shown, from its header."""

    @abstractmethod
    def _stated_spacing(self, files: MaskFiles, samples: list[Sample]) -> Float64Array | None:
        """Return the spacing of stored pixels that headers state, or None."""

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        if self.target == "masks":
            files = self._mask_files(table)
            masks = self._masks(files, samples, tuple(self.mask_classes))
            if self.spacing_column is None:
                spacing = self._stated_spacing(files, samples)
            else:
                given = self.spacing_column, samples, self._framing(), self._shown
                spacing = read_spacing(table, *given)
            found = Masks(masks.open(), masks.digest, spacing, ignored=BORDER)
            return {"target": found, "class_names": tuple(self.mask_classes) or LESIONS}
        judged = super()._judged(table, samples)
        target = judged["target"]
        if self.mask_column not in table.columns or not isinstance(target, Labels):
            return judged
        masks = self._masks(self._mask_files(table), samples, None)
        masked = MaskedLabels(target.values, masks.open(), masks.digest, ignored=BORDER)
        return judged | {"target": masked}

    def _mask_files(self, table: Table) -> MaskFiles:
        smeared = self.mask_threshold is not None
        columns = self.mask_column, self.mask_slice_column
        return mask_files(table, self.folder, *columns, smeared=smeared)

    def _masks(
        self, files: MaskFiles, samples: list[Sample], classes: Sequence[str] | None
    ) -> CachedArray:
        given = self._framing(), self.name, self.cache_dir, self._shown
        return read_masks(files, samples, *given, classes, self.mask_threshold)

    def _listed_masks(self, table: Table) -> Iterator[str]:
        """Yield the paths of all masks that the file of the table names."""
        smeared = self.mask_threshold is not None
        if self.mask_column in table.columns:
            for part in table.parts():
                paths = mask_paths(part, self.mask_column, smeared=smeared)
                yield from (str(PurePosixPath(path)) for path in paths if path)
