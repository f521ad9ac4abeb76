"""Own data: a folder of pictures and a table of path, label, and perhaps split and patient."""

from dataclasses import dataclass
from pathlib import Path

from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.types import UInt8Array

from .pictures import (
    Framing,
    each,
    is_grey,
    pictures_left_out,
    quiet_decoders,
    read_picture,
    write_images,
)
from .source import (
    OwnData,
    Sample,
    check_files,
    check_unique,
    place_named,
    relative_paths,
    sample_states,
)
from .table import Table


@dataclass(frozen=True, kw_only=True)
class Folder(OwnData):
    """PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 files in a folder, and a table.

    Further arguments are those of `OwnData`.

    Args:
        name: Name in tables and in the store.
        bit_depth: Of grey images with more than 8 bits (`Framing`).
    """

    name: str = "folder"
    bit_depth: int = 16

    def __post_init__(self) -> None:
        """Refuse a framing that does not exist."""
        self._framing()

    def _framing(self) -> Framing:
        return Framing(self.size, self.fit, self.bit_depth)

    def _samples(self, table: Table, rows: list[int]) -> list[Sample]:
        paths = relative_paths(table, self.path_column)
        check_unique(table, paths, "image")
        samples = [
            Sample(paths[row], self.folder / paths[row], row, table.place(row)) for row in rows
        ]
        check_files(samples, self.folder)
        return samples

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[str, ...]:
        listed = set(relative_paths(table, self.path_column))
        return self._left_out(pictures_left_out(self.folder, listed), "picture")

    def _images(self, samples: list[Sample]) -> CachedArray:
        framing = self._framing()

        def grey_file(sample: Sample) -> bool:
            with place_named(sample):
                return is_grey(sample.file)

        def write(target: Path) -> str:
            with quiet_decoders():
                grey = all(each(grey_file, samples))

                def read(sample: Sample) -> UInt8Array:
                    with place_named(sample):
                        return read_picture(sample.file, framing, grey=grey)

                return write_images(each(read, samples), len(samples), framing.size, grey, target)

        key = {
            "kind": "pictures",
            "files": sample_states(samples),
            "framing": [self.size, self.fit, self.bit_depth],
        }
        return cached_array(self.name, key, write, cache_dir=self.cache_dir)
