"""Small DICOM files, written as scanners write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from datasets import write_table
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    SegmentationStorage,
    generate_uid,
)


def dataset(pixels: np.ndarray | None, **tags: Any) -> FileDataset:
    """A data set around pixels: (H, W), (H, W, 3), or with `NumberOfFrames` (F, H, W)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage if pixels is not None else BasicTextSRStorage
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.PatientID = "MRN-1"
    made.PatientName = "Doe^Jane"
    if pixels is not None:
        colour = pixels.shape[-1] == 3 and pixels.ndim > 2
        rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
        bits = pixels.dtype.itemsize * 8
        made.Rows, made.Columns = rows, columns
        made.SamplesPerPixel = 3 if colour else 1
        if colour:
            made.PlanarConfiguration = 0
        made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
        body = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        made.PixelData = body + b"\0" * (len(body) % 2)
        made["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def write_dicom(file: Path, pixels: np.ndarray | None, **tags: Any) -> Path:
    """Write one file; further keywords are DICOM keywords."""
    file.parent.mkdir(parents=True, exist_ok=True)
    made = dataset(pixels, **tags)
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file


def write_packed(
    file: Path,
    stream: bytes,
    shape: tuple[int, ...],
    syntax: str,
    *,
    fragments: int = 1,
    **tags: Any,
) -> Path:
    """Write a file around a compressed stream of an image of that shape."""
    made = dataset(np.zeros(shape, np.uint8), TransferSyntaxUID=syntax)
    made.PixelData = encapsulate([stream], fragments_per_frame=fragments)
    made["PixelData"].is_undefined_length = True
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.save_as(file, enforce_file_format=True)
    return file


def item(**tags: Any) -> list[Dataset]:
    """A sequence of one item."""
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return [made]


def write_seg(
    file: Path,
    frames: Sequence[tuple[np.ndarray, int, str, float]],
    listed: Sequence[str] = (),
    kind: str = "BINARY",
    **tags: Any,
) -> Path:
    """Write a SEG of frames: pixels, segment, SOP instance UID of the source, position along z.

    An empty UID is no source.
    """
    pixels = np.stack([frame[0] for frame in frames])
    made = dataset(pixels.astype(np.uint8), NumberOfFrames=len(frames))
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    made.SegmentationType = kind
    if kind == "BINARY":
        bits = np.packbits(pixels.ravel() != 0, bitorder="little").tobytes()
        made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
        made.PixelData = bits + b"\0" * (len(bits) % 2)
    groups = []
    for _, segment, uid, z in frames:
        group = Dataset()
        if uid:
            source = item(ReferencedSOPInstanceUID=uid)
            group.DerivationImageSequence = item(SourceImageSequence=source)
        group.PlanePositionSequence = item(ImagePositionPatient=[0, 0, z])
        group.SegmentIdentificationSequence = item(ReferencedSegmentNumber=segment)
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    made.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.5, 0.5]),
    )
    if listed:
        named = [item(ReferencedSOPInstanceUID=uid)[0] for uid in listed]
        made.ReferencedSeriesSequence = item(ReferencedInstanceSequence=named)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    file.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file


def slices(count: int, size: int = 48, seed: int = 0) -> list[np.ndarray]:
    """int16 slices like CT: air, a body of soft tissue, and in every second one a bright disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    made = []
    for number in range(count):
        body = np.where(x**2 / 0.16 + y**2 / 0.1 < 1, 40.0, -1000.0)
        if number % 2:
            at = rng.uniform(-0.15, 0.15, 2)
            body[(x - at[0]) ** 2 + (y - at[1]) ** 2 < 0.01] = 300
        made.append((body + rng.normal(0, 15, body.shape) + 1024).round().astype(np.int16))
    return made


def write_scans(
    folder: Path,
    count: int = 8,
    *,
    size: int = 48,
    patient: str = "MRN-{:05d}",
    name: str = "Doe^Jane {:05d}",
    columns: Sequence[str] = ("path", "label", "sop_instance_uid"),
) -> Path:
    """Write `series/IM0000.dcm` … and `labels.csv`; two slices a patient; return the table."""
    rows = []
    for number, pixels in enumerate(slices(count, size)):
        uid = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        path = f"series/IM{number:04d}.dcm"
        write_dicom(
            folder / path,
            pixels,
            SOPInstanceUID=uid,
            PatientID=patient.format(number // 2),
            PatientName=name.format(number // 2),
            RescaleSlope=1,
            RescaleIntercept=-1024,
            WindowCenter=[40, 300],
            WindowWidth=[400, 1500],
        )
        row = {"path": path, "label": ("healthy", "lesion")[number % 2], "sop_instance_uid": uid}
        rows.append({column: row[column] for column in columns})
    return write_table(folder / "labels.csv", rows)
