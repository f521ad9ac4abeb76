"""Whole benchmarks as files, in the two published layouts, written as a stream.

`medmnist_c` (arXiv:2406.17536): `ROOT/DATASET/CORRUPTION.npz` with `test_images` (5 N, H, W[, 3]),
severity after severity, and `test_labels` (5 N, L).
`medimeta_c` (RobustMedCLIP): `ROOT/DATASET/SPLIT/CORRUPTION_severity_K.npz` and `clean.npz` with
`images` (N, H, W[, 3]) and `labels` (N,), or (N, L) for multi-label sets.

Pixels are those that a run computes on the fly with the same seed. Beside the files lies a
`manifest.json`: what was asked, and a SHA-256 of each file and of the bytes of each array.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.whole_files import move_into_place, write_whole
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.loader import RowBatches, StoredImages
from medrobust.exceptions import ConfigurationError, StoreError
from medrobust.types import Int64Array, UInt8Array

from .environment import versions

if TYPE_CHECKING:
    from medrobust.corruptions import Corruption
    from medrobust.types import IndexBatch, UInt8Batch

log = logging.getLogger(__name__)

Layout: TypeAlias = Literal["medmnist_c", "medimeta_c"]

LEVELS = (1, 2, 3, 4, 5)
MANIFEST = "manifest.json"
FORMAT = 1
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time of every member, so that equal content gives equal files."""


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """One file to be written.

    Attributes:
        path: Relative to the folder of the benchmark.
        parts: Corruption and severity of each part, in order; None is clean, severity 0.
    """

    path: str
    parts: "tuple[tuple[Corruption | None, int], ...]"


def benchmark_files(
    layout: Layout,
    image_set: ImageSet,
    columns: "Sequence[Corruption]",
    levels: Sequence[int] = LEVELS,
) -> list[BenchmarkFile]:
    """Name the files of a benchmark.

    Args:
        layout: "medmnist_c" or "medimeta_c".
        image_set: What is corrupted.
        columns: Corruptions with their suites, as `expand` gives them.
        levels: Severities.

    Raises:
        ConfigurationError: If the layout does not exist or cannot hold what is asked, or two
            corruptions share a name.
    """
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"{', '.join(twice)} would be written twice, from two suites. Write one suite at a "
            f"time, each to a folder of its own."
        )
    if layout == "medimeta_c":
        clean = BenchmarkFile(f"{image_set.name}/{image_set.split}/clean.npz", ((None, 0),))
        place = f"{image_set.name}/{image_set.split}"
        return [clean] + [
            BenchmarkFile(f"{place}/{column.name}_severity_{level}.npz", ((column, level),))
            for column in columns
            for level in levels
        ]
    if layout != "medmnist_c":
        raise ConfigurationError(f"layout={layout!r} is unknown. Choose medmnist_c or medimeta_c.")
    if image_set.split != "test" or tuple(levels) != LEVELS:
        raise ConfigurationError(
            f"files of layout medmnist_c hold the test split at all five severities, asked were "
            f"{image_set.split!r} and {list(levels)}. Choose layout medimeta_c for a part of them."
        )
    return [
        BenchmarkFile(
            f"{image_set.name}/{column.name}.npz", tuple((column, level) for level in levels)
        )
        for column in columns
    ]


class BenchmarkWriter:
    """Writes a benchmark; files that are there and whole are kept.

    Args:
        root: Folder of the benchmark.
        layout: "medmnist_c" or "medimeta_c".
        image_set: What is corrupted.
        columns: Corruptions with their suites.
        levels: Severities.
        seed: Of the corruption draws.
        batch_size: Images corrupted at a time; changes no byte.
        compress: Deflate the arrays, as the published files are.
        device: Where images are corrupted.
        advance: Called with the number of images that have been written since.

    Raises:
        ConfigurationError: If the layout cannot hold what is asked, or the folder holds a
            benchmark that was made otherwise.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout,
        image_set: ImageSet,
        columns: "Sequence[Corruption]",
        *,
        levels: Sequence[int] = LEVELS,
        seed: int = 0,
        batch_size: int = 64,
        compress: bool = True,
        device: str = "cpu",
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.files = benchmark_files(layout, image_set, columns, levels)
        self.root, self.layout, self.image_set = root, layout, image_set
        self.seed, self.batch_size, self.device = seed, batch_size, device
        self.compress, self.advance = compress, advance
        self.place = root / Path(self.files[0].path).parent
        self.head = {
            "format": FORMAT,
            "layout": layout,
            "dataset": image_set.name,
            "split": image_set.split,
            "data": image_set.fingerprint,
            "images": len(image_set),
            "stream": image_set.stream,
            "seed": seed,
            "compressed": compress,
            "marks": list(image_set.marks),
        }
        self.written = self._read_manifest()

    def run(self) -> Iterator[tuple[BenchmarkFile, bool]]:
        """Yield each file once it is there, and whether it was written now.

        Raises:
            StoreError: If the folder cannot be written.
        """
        for file in self.files:
            missing = not self._is_whole(file)
            if missing:
                try:
                    entry = self._write(file)
                except OSError as error:
                    raise StoreError(
                        f"{self.root / file.path} cannot be written ({error.strerror}). Give a "
                        f"folder with room, and start again: finished files are kept."
                    ) from error
                self.written[Path(file.path).name] = entry
                self._save_manifest()
            else:
                self.advance(len(file.parts) * len(self.image_set))
            yield file, missing

    def _read_manifest(self) -> dict[str, Any]:
        path = self.place / MANIFEST
        if not path.exists():
            return {}
        stored = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key, value in self.head.items() if stored.get(key) != value]
        if other:
            raise ConfigurationError(
                f"{self.place} holds files that were made with another {', '.join(other)}. Choose "
                f"another folder, or delete this one."
            )
        written: dict[str, Any] = stored["files"]
        return written

    def _save_manifest(self) -> None:
        content = self.head | {"versions": versions(), "files": self.written}
        write_whole(self.place / MANIFEST, f"{json.dumps(content, indent=1)}\n".encode())

    def _is_whole(self, file: BenchmarkFile) -> bool:
        entry = self.written.get(Path(file.path).name)
        path = self.root / file.path
        if entry is None or not path.is_file() or entry["parts"] != _described(file):
            return False
        if file_fingerprint(path) == entry["sha256"]:
            return True
        log.warning("%s has changed since it was written; it is made again", path)
        return False

    def _write(self, file: BenchmarkFile) -> dict[str, Any]:
        """Write beside the place and rename, so that a partial file is never seen."""
        self.place.mkdir(parents=True, exist_ok=True)
        path = self.root / file.path
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        images, labels = (
            ("images", "labels")
            if self.layout == "medimeta_c"
            else (
                f"{self.image_set.split}_images",
                f"{self.image_set.split}_labels",
            )
        )
        digests = {}
        try:
            with zipfile.ZipFile(partial, "w", allowZip64=True) as archive:
                digests[images] = self._write_images(archive, images, file)
                digests[labels] = self._write_array(archive, labels, self._labels(file))
            move_into_place(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return {
            "sha256": file_fingerprint(path),
            "bytes": path.stat().st_size,
            "arrays": digests,
            "parts": _described(file),
        }

    def _write_images(self, archive: zipfile.ZipFile, name: str, file: BenchmarkFile) -> str:
        """Corrupt in this thread while another compresses and hashes the block before."""
        digest = hashlib.sha256()
        blocks = (block for part in file.parts for block in self._blocks(*part))
        first = next(blocks)
        shape = (len(file.parts) * len(self.image_set), *first.shape[1:])
        with archive.open(self._member(name), "w", force_zip64=True) as stream:
            _write_header(stream, np.dtype(np.uint8), shape)

            def write(block: UInt8Array) -> None:
                digest.update(block.data)
                stream.write(block.data)
                self.advance(len(block))

            with ThreadPoolExecutor(1) as helper:
                pending: Future[None] = helper.submit(write, first)
                for block in blocks:
                    pending.result()
                    pending = helper.submit(write, block)
                pending.result()
        return digest.hexdigest()

    def _blocks(self, column: "Corruption | None", level: int) -> Iterator[UInt8Array]:
        """Yield the images of one part, channels last, a batch at a time."""
        stored = StoredImages(self.image_set)
        for rows in RowBatches(len(self.image_set), self.batch_size):
            batch = stored.__getitems__(rows)
            batch = replace(batch, images=batch.images.to(self.device))
            images = batch.corrupted(partial(self._shown, column, level))
            last = images[:, 0] if images.shape[1] == 1 else images.movedim(1, 3)
            yield last.contiguous().cpu().numpy()

    def _shown(
        self, column: "Corruption | None", level: int, images: "UInt8Batch", index: "IndexBatch"
    ) -> "UInt8Batch":
        """Corrupt images, or leave clean ones as they are."""
        if column is None:
            return images
        stream = self.image_set.stream
        return column(images, severity=level, seed=self.seed, stream=stream, index=index)

    def _labels(self, file: BenchmarkFile) -> NDArray[Any]:
        labels: Int64Array = self.image_set.labels
        if self.layout == "medimeta_c":
            return labels
        columns = labels.reshape(len(labels), -1)
        whole = np.tile(columns, (len(file.parts), 1))
        return whole.astype(np.uint8) if whole.max() < 256 else whole

    def _write_array(self, archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> str:
        content = np.ascontiguousarray(array)
        with archive.open(self._member(name), "w", force_zip64=True) as stream:
            _write_header(stream, content.dtype, content.shape)
            stream.write(content.tobytes())
        return hashlib.sha256(content.tobytes()).hexdigest()

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
        member.compress_type = zipfile.ZIP_DEFLATED if self.compress else zipfile.ZIP_STORED
        return member


def _write_header(stream: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    facts = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)


def _described(file: BenchmarkFile) -> list[dict[str, Any]]:
    return [
        {"severity": level}
        | (
            {"name": "clean"}
            if column is None
            else {"suite": column.suite} | column.identity(level)
        )
        for column, level in file.parts
    ]
