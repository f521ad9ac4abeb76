"""Columns of a table whose corrupted images were published as files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, cast

from medrobust.datasets.image_set import CorruptedFiles, DatasetSource, ImageSet

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch


@dataclass(frozen=True, slots=True)
class FilesColumn:
    """Stands beside `Corruption`: the same table column, read instead of computed.

    Attributes:
        computed: Never.
        source: Where the images come from.
        name: Of the corruption, as its files are called.
        suite: Such as "medmnist_c_files": keeps its tables apart from those made on the fly.
    """

    computed: ClassVar[bool] = False

    source: CorruptedFiles
    name: str
    suite: str

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels."""
        return self.source.identity(self.name, severity)

    def random(self, severity: int) -> bool:
        """Nothing is drawn: the files are what they are."""
        return False

    def images(self, clean: ImageSet, severity: int) -> ImageSet:
        """Return the corrupted images of one severity, with the labels of the clean ones."""
        return self.source.corrupted(clean, self.name, severity)

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Return the images as they are: those of the files are corrupted."""
        return images


def files_columns(
    source: DatasetSource, names: Iterable[str], severities: Sequence[int]
) -> tuple[FilesColumn, ...] | None:
    """Return the columns of a source of published corrupted files, None for any other source.

    Args:
        source: The data set.
        names: Corruptions that are asked for; each makes one column, whatever its suite.
        severities: That are asked for.

    Raises:
        DatasetNotFoundError: If a file is missing; names the corruptions that are there.
    """
    suite = getattr(source, "files_suite", None)
    if suite is None:
        return None
    files = cast(CorruptedFiles, source)
    columns = tuple(FilesColumn(files, name, suite) for name in dict.fromkeys(names))
    for column, severity in product(columns, severities):
        files.check_file(column.name, severity)
    return columns
