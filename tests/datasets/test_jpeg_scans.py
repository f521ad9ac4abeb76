"""JPEG streams that were cut off and closed with an end mark: refused in pictures and in DICOM."""

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import write_packed
from jpeg_lossless import jpeg_lossless
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless

from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom
from medrobust.datasets.own.jpeg_scans import decoded_jpeg, is_whole
from medrobust.datasets.own.picture_files import read_picture
from medrobust.datasets.own.pictures import Framing
from medrobust.exceptions import InvalidImageError

END = b"\xff\xd9"
KINDS: list[dict[str, Any]] = [
    {},
    {"subsampling": 0, "quality": 95},
    {"subsampling": 2, "optimize": True},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1},
    {"progressive": True},
]
SHARES = (0.5, 0.8, 0.98)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_pydicom():
        yield


def jpeg(mode: str = "L", size: tuple[int, int] = (83, 61), **options: Any) -> bytes:
    """A stream of noise, of sides that no block divides."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 4)).astype(np.uint8)
    target = io.BytesIO()
    pixels = noise[..., 0] if mode == "L" else noise[..., : len(mode)]
    Image.fromarray(np.ascontiguousarray(pixels)).convert(mode).save(target, "JPEG", **options)
    return target.getvalue()


def fails(stream: bytes) -> bool:
    """Say whether decoders refuse it by themselves, as in the middle of a segment."""
    try:
        decoded_jpeg(stream)
    except OSError:
        return True
    return False


def cut(stream: bytes, share: float) -> bytes:
    return stream[: int(len(stream) * share)] + END


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_stream_is_whole_and_no_part_of_it_is(mode: str, options: dict[str, Any]) -> None:
    stream = jpeg(mode, **options)
    assert is_whole(stream, decoded_jpeg)
    assert is_whole(stream + b"anything", decoded_jpeg)
    for share in SHARES:
        assert not is_whole(cut(stream, share), decoded_jpeg) or fails(cut(stream, share))


def test_a_large_stream_is_counted_whatever_its_last_pixel() -> None:
    stream = jpeg(size=(500, 500), quality=95)
    assert len(stream) > 1 << 16
    for share in (*SHARES, 0.99, 0.999):
        assert not is_whole(cut(stream, share), decoded_jpeg)
    assert is_whole(stream, decoded_jpeg)


def test_jpeg_ls_that_lost_samples_is_no_whole_stream_wherever_it_was_cut() -> None:
    libjpeg = pytest.importorskip("libjpeg")
    file = Path(__file__).parents[1] / "data/jpeg_ls/streams.json"
    for packed in map(b64decode, json.loads(file.read_text(encoding="utf-8")).values()):
        pixels = libjpeg.decode(packed)
        for end in range(len(packed) - 40, len(packed) - 2):
            try:
                left = libjpeg.decode(packed[:end] + END)
            except RuntimeError:
                continue
            whole = is_whole(packed[:end] + END, libjpeg.decode)
            assert not whole or np.array_equal(left, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_picture_that_was_cut_off_and_closed_is_refused(
    tmp_path: Path, kind: str, mode: str
) -> None:
    file = tmp_path / "a.jpg"
    second = jpeg("RGB") if kind == "MPO" else b""
    file.write_bytes(jpeg(mode) + second)
    assert read_picture(file, Framing(64), grey=False).shape == (64, 64, 3)
    file.write_bytes(cut(jpeg(mode), 0.7) + second)
    with pytest.raises(InvalidImageError, match=r"^a\.jpg is damaged: .* stop before the end of"):
        read_picture(file, Framing(64), grey=False)


def streams() -> dict[str, tuple[bytes, str, dict[str, Any], tuple[int, int]]]:
    codes = np.arange(4096).reshape(64, 64) * 37 % 4096
    twelve = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
    kept = json.loads(
        (Path(__file__).parents[1] / "data/jpeg_ls/streams.json").read_text(encoding="utf-8")
    )
    return {
        "baseline": (jpeg(size=(64, 64)), JPEGBaseline8Bit, {}, (64, 64)),
        "lossless": (jpeg_lossless(codes, 12), JPEGLosslessSV1, twelve, (64, 64)),
        "JPEG-LS": (b64decode(kept["12"]), JPEGLSLossless, twelve, (16, 16)),
    }


@pytest.mark.parametrize("kind", streams())
def test_dicom_pixels_that_were_cut_off_and_closed_are_refused(tmp_path: Path, kind: str) -> None:
    stream, syntax, tags, shape = streams()[kind]
    read_dicom(write_packed(tmp_path / "a.dcm", stream, shape, syntax, **tags), window="stored")
    for share in (0.6, 0.8):
        file = write_packed(tmp_path / "a.dcm", cut(stream, share), shape, syntax, **tags)
        with pytest.raises(InvalidImageError, match=r"^a\.dcm is damaged: .* before the end"):
            read_dicom(file, window="stored")
