"""Own data that cannot be used: one sentence, exit status 1, no half cache, little memory."""

import io
import multiprocessing
import pickle
import resource
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import random_images, write_folder
from dicoms import dataset, slices, write_dicom, write_scans
from pydicom.uid import DeflatedExplicitVRLittleEndian
from run_entry import medrobust

from medrobust.datasets import Dicom, Folder, Npz
from medrobust.exceptions import MedRobustError


def npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def npz_file() -> None:
    images = random_images(12, 32, 3)
    np.savez_compressed("mine.npz", images=images, labels=np.arange(12) % 2)


def truncated_npz() -> None:
    npz_file()
    content = Path("mine.npz").read_bytes()
    Path("mine.npz").write_bytes(content[: len(content) // 2])


def flipped_npz() -> None:
    npz_file()
    content = bytearray(Path("mine.npz").read_bytes())
    content[len(content) // 2] ^= 8
    Path("mine.npz").write_bytes(bytes(content))


def objects_npz() -> None:
    np.savez("mine.npz", images=np.array([None, 1], dtype=object), labels=np.arange(2))


def pickled_npz() -> None:
    Path("mine.npz").write_bytes(pickle.dumps({"images": np.zeros((2, 32, 32), np.uint8)}))


def bomb_npz() -> None:
    with zipfile.ZipFile("mine.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, shape in (("images", (10**6, 4096, 4096)), ("labels", (10**6,))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                stream.write(npy_header(shape))
                for _ in range(100):
                    stream.write(bytes(1 << 20))


def folder_files() -> None:
    write_folder(Path(), size=(32, 32))


def edited(old: str, new: str) -> Callable[[], None]:
    def make() -> None:
        folder_files()
        text = Path("labels.csv").read_text()
        assert old in text
        Path("labels.csv").write_text(text.replace(old, new, 1))

    return make


def excel_with_unknown_label() -> None:
    folder_files()
    text = Path("labels.csv").read_text().replace("\n", "\r\n").replace(",scar,", ",Scar ?,", 1)
    Path("labels.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())


def picture_bomb() -> None:
    folder_files()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 24))
    chunks = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )
    Path("images/scan003.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def link_out() -> None:
    folder_files()
    shutil.move("images/scan003.png", "../outside.png")
    Path("images/scan003.png").symlink_to(Path("../../outside.png"))


def dicom_files(**tags: Any) -> Callable[[], None]:
    def make() -> None:
        write_scans(Path(), 4)
        Path("series/IM0002.dcm").unlink()
        write_dicom(Path("series/IM0002.dcm"), slices(1)[0], **tags)

    return make


def dicom_without_pixels() -> None:
    write_scans(Path(), 4)
    made = dataset(slices(1)[0])
    del made.PixelData
    made.save_as("series/IM0002.dcm")


def dicom_bomb() -> None:
    write_scans(Path(), 4)
    file = Path("series/IM0002.dcm")
    syntax = {"TransferSyntaxUID": DeflatedExplicitVRLittleEndian}
    content = write_dicom(file, slices(1)[0], **syntax).read_bytes()
    body = 144 + struct.unpack("<I", content[140:144])[0]  # after preamble and meta information
    inflated = zlib.decompress(content[body:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    parts = [deflater.compress(inflated) + deflater.flush(zlib.Z_FULL_FLUSH)]
    zeros = deflater.compress(bytes(1 << 22)) + deflater.flush(zlib.Z_FULL_FLUSH)  # forgets all
    file.write_bytes(content[:body] + b"".join([*parts, *[zeros] * 70, deflater.flush()]))


NPZ = ("dataset=npz", "dataset.file=mine.npz", "dataset.class_names=[a,b]")
FOLDER = ("dataset=folder", "dataset.csv=labels.csv")
DICOM = ("dataset=dicom", "dataset.csv=labels.csv")

BAD: list[tuple[Callable[[], None], tuple[str, ...], str]] = [
    (truncated_npz, NPZ, "mine.npz is damaged"),
    (flipped_npz, NPZ, "mine.npz is damaged"),
    (objects_npz, NPZ, "mine.npz: 'images' holds Python objects"),
    (pickled_npz, NPZ, "mine.npz is damaged or not a .npz file"),
    (bomb_npz, NPZ, "mine.npz: 'images' is uint8 of shape (1000000, 4096, 4096), but holds"),
    (edited("scan003.png", "gone.png"), FOLDER, "gone.png (labels.csv, line 5) first"),
    (edited("scan003.png", "scan002.png"), FOLDER, "one image in lines 4 and 5"),
    (edited("images/scan003.png", "../scan003.png"), FOLDER, "labels.csv, line 5: the path"),
    (
        excel_with_unknown_label,
        (*FOLDER, "dataset.class_names=[healthy,lesion,scar]"),
        "labels.csv, line 4: label 'Scar ?' is none of",
    ),
    (picture_bomb, FOLDER, "scan003.png (labels.csv, line 5)"),
    (link_out, FOLDER, "scan003.png (labels.csv, line 5) is a link out"),
    (dicom_without_pixels, DICOM, "IM0002.dcm (labels.csv, line 4) is a DICOM file without pixels"),
    (
        dicom_files(Rows=60_000, Columns=60_000),
        DICOM,
        "IM0002.dcm (labels.csv, line 4) declares 60000 × 60000 pixels",
    ),
    (dicom_files(NumberOfFrames=10**9), DICOM, "IM0002.dcm (labels.csv, line 4) cannot be read"),
    (dicom_bomb, DICOM, "IM0002.dcm (labels.csv, line 4) unpacks to more than"),
]
NAMES = [
    "truncated npz", "flipped bit", "objects", "pickle", "zip bomb", "missing file", "row twice",
    "path outside", "unknown label of an Excel file", "picture bomb", "link outside",
    "DICOM without pixels", "DICOM of hostile size", "DICOM of hostile frames", "deflate bomb",
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "complaint"), BAD, ids=NAMES)
def test_bad_input_ends_in_one_sentence_and_leaves_nothing(
    workplace: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], None],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    make()
    own = (*arguments, "dataset.modality=ct", "dataset.size=32", "corruption=clean")
    assert medrobust("model=phantomclip_small", *own) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if "positive class" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert complaint in lines[0]
    assert "MRN" not in lines[0]
    assert not Path("outputs/store").exists()
    kept = (".lock", ".sums")  # the digests of pictures are whole whatever becomes of one of them
    left = [path for path in Path("cache").rglob("*") if path.is_file() and path.suffix not in kept]
    assert left == []


def _growth(source: Any, queue: "multiprocessing.Queue[tuple[str, int]]") -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        source.load()
        sentence = "nothing was refused"
    except MedRobustError as error:
        sentence = str(error)
    queue.put((sentence, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


@pytest.mark.parametrize(
    ("make", "source"),
    [
        (bomb_npz, Npz(file="mine.npz", class_names=["a", "b"])),
        (picture_bomb, Folder(csv="labels.csv")),
        (dicom_files(Rows=60_000, Columns=60_000), Dicom(csv="labels.csv")),
        (dicom_files(NumberOfFrames=10**9), Dicom(csv="labels.csv")),
        (dicom_bomb, Dicom(csv="labels.csv")),
    ],
    ids=["zip", "picture", "DICOM size", "DICOM frames", "deflate"],
)
def test_bombs_are_refused_in_little_memory(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], None], source: Any
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    context = multiprocessing.get_context("fork")
    maker = context.Process(target=make)  # what making takes does not count
    maker.start()
    maker.join()
    queue = context.Queue()
    worker = context.Process(target=_growth, args=(source, queue))
    worker.start()
    sentence, growth = queue.get(timeout=120)
    worker.join()
    assert sentence != "nothing was refused"
    assert growth < 150_000  # KiB
