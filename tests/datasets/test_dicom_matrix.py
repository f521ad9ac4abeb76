"""Grey DICOM images of every depth, sign, packing and way to be shown, against numpy by hand."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import dataset, item
from jpeg_lossless import jpeg_lossless
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom

STREAMS = json.loads((Path(__file__).parents[1] / "data/jpeg_ls/streams.json").read_text())
PACKINGS = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG": JPEGBaseline8Bit,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_pydicom():
        yield


def codes_of(bits: int) -> np.ndarray:
    """A ramp over all that the bits can hold, 16 x 16, as the JPEG-LS streams hold it."""
    return np.rint(np.linspace(0, 2**bits - 1, 256)).astype(np.int64).reshape(16, 16)


def image_of(packing: str, bits: int, signed: bool) -> np.ndarray:
    """Stored values; four times as many for the encoder of JPEG 2000, which asks for 32 x 32."""
    codes = np.tile(np.arange(0, 256, 16), (16, 1)) if packing == "JPEG" else codes_of(bits)
    codes = np.tile(codes, (2, 2)) if packing == "JPEG 2000" else codes
    return signed_of(codes, bits) if signed else codes


def signed_of(codes: np.ndarray, bits: int) -> np.ndarray:
    return np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes)


def lookup(count: int, first: int, bits: int, entries: list[int]) -> dict[str, Any]:
    """A table whose first input is signed if it has to be, as PS3.3, C.11.2.1.1 asks."""
    made = item(LUTDescriptor=[count % 65536, first, bits], LUTData=entries)
    made[0]["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    made[0]["LUTData"].VR = "US"
    return made


def write(
    file: Path, stored: np.ndarray, bits: int, signed: bool, packing: str, **tags: Any
) -> None:
    """Write a file by hand, so that the encoder under test is not the decoder's own."""
    codes, syntax = stored & (2**bits - 1), PACKINGS[packing]
    width = 1 if bits == 8 else 2
    made = dataset(np.zeros(stored.shape, f"u{width}"), TransferSyntaxUID=syntax)
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, int(signed)
    order = ">" if packing == "big-endian" else "<"
    made.PixelData = (stored & (2 ** (8 * width) - 1)).astype(f"{order}u{width}").tobytes()
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    streams: dict[str, Callable[[], bytes]] = {
        "JPEG": lambda: baseline(codes)[0],
        "JPEG lossless": lambda: jpeg_lossless(codes, bits),
        "JPEG-LS": lambda: base64.b64decode(STREAMS[str(bits)]),
    }
    if packing in streams:
        made.PixelData = encapsulate([streams[packing]()])
        made["PixelData"].is_undefined_length = True
    elif packing in ("RLE", "JPEG 2000"):
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(syntax, generate_instance_uid=False)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    if "PixelPaddingValue" in tags:
        made["PixelPaddingValue"].VR = "US"
    pydicom.dcmwrite(file, made, enforce_file_format=True)


def baseline(codes: np.ndarray) -> tuple[bytes, np.ndarray]:
    """8 bits as lossy JPEG, and what Pillow makes of it."""
    stream = io.BytesIO()
    Image.fromarray(codes.astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue(), np.asarray(Image.open(stream)).astype(np.int64)


def eight(share: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5)


def linear(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3, C.11.2.1.2.1."""
    return eight((values - (centre - 0.5)) / (width - 1) + 0.5)


Way = tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]


@cache
def ways(bits: int, signed: bool) -> dict[str, Way]:
    """Header and what it shows of stored values, by hand: before the inversion of MONOCHROME1."""
    low, span = -(2 ** (bits - 1)) if signed else 0, 2**bits
    centre, width = low + span // 3, span // 2
    window = {"WindowCenter": str(centre), "WindowWidth": str(width)}
    count = min(span, 4096)
    rising = [(7 * n) % 1000 for n in range(count)]
    falling = [4095 - n * 4095 // (count - 1) for n in range(count)]

    def place(v: np.ndarray, first: int = low) -> np.ndarray:
        return np.clip(v - first, 0, count - 1)

    def unpadded(v: np.ndarray) -> np.ndarray:
        if bits == 8 and not signed:  # up to 8 bits are taken as they are
            return eight(v / 255)
        inside = v[v != low]
        return eight((v - inside.min()) / (inside.max() - inside.min()))

    padding = {"PixelPaddingValue": low % 65536}  # US whatever the sign, as scanners write it
    return {
        "nothing": (
            {},
            lambda v: eight((v - v.min()) / (v.max() - v.min()) if bits > 8 or signed else v / 255),
        ),
        "window": (window, lambda v: linear(v, centre, width)),
        "exact window": (
            {**window, "VOILUTFunction": "LINEAR_EXACT"},
            lambda v: eight((v - centre) / width + 0.5),
        ),
        "sigmoid": (
            {**window, "VOILUTFunction": "SIGMOID"},
            lambda v: eight(1 / (1 + np.exp(-4 * (v - centre) / width))),
        ),
        "slope": (
            {**window, "RescaleSlope": "0.5", "RescaleIntercept": "-100.25"},
            lambda v: linear(v * 0.5 - 100.25, centre, width),
        ),
        "modality table": (
            {
                "ModalityLUTSequence": lookup(count, low, 16, rising),
                "RescaleSlope": "9",  # beside a table it is not applied
                "RescaleIntercept": "9",
                "WindowCenter": "500",
                "WindowWidth": "800",
            },
            lambda v: linear(np.array(rising)[place(v)], 500, 800),
        ),
        "VOI table": (
            {"VOILUTSequence": lookup(count, low, 12, falling)},
            lambda v: eight(np.array(falling)[place(v)] / 4095),
        ),
        "slope and VOI table": (
            {
                "RescaleSlope": "1",
                "RescaleIntercept": "-1000",
                "VOILUTSequence": lookup(count, low - 1000, 16, [16 * n for n in falling]),
            }
            if low - 1000 >= -(2**15)
            else {"VOILUTSequence": lookup(count, low, 16, [16 * n for n in falling])},
            lambda v: eight(16 * np.array(falling)[place(v)] / 65535),
        ),
        "padding": (padding, unpadded),
        "padding and window": ({**padding, **window}, lambda v: linear(v, centre, width)),
    }


PACKED_BITS = [
    (packing, bits)
    for packing in PACKINGS
    for bits in (8, 10, 12, 16)
    if bits == 8 or packing != "JPEG"  # whose baseline knows 8 bits alone
]


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("packing", "bits"), PACKED_BITS)
def test_grey_images_are_shown_as_the_standard_computes_them(
    tmp_path: Path, packing: str, bits: int, signed: bool, every: int
) -> None:
    """Every way, inverted or not, with several packings and widths; all with all, slowly."""
    stored = image_of(packing, bits, signed)
    near = 0 if packing != "JPEG" else 8 if signed else 3
    number = PACKED_BITS.index((packing, bits))
    photometrics = ("MONOCHROME1", "MONOCHROME2")
    chosen = photometrics if every == 1 else photometrics[(number // every + signed) % 2 :][:1]
    for way, (tags, shown) in list(ways(bits, signed).items())[number % every :: every]:
        for photometric in chosen:
            file = tmp_path / "a.dcm"
            tags["PhotometricInterpretation"] = photometric
            write(file, stored, bits, signed, packing, **tags)
            decoded = stored
            if packing == "JPEG":
                decoded = baseline(stored & 255)[1]
                decoded = signed_of(decoded, 8) if signed else decoded
            expected = shown(decoded)
            expected = 255 - expected if photometric == "MONOCHROME1" else expected
            found = read_dicom(file).pixels.astype(int)
            worst = np.abs(found - expected).max()
            assert worst <= near, (way, photometric, worst)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("packing", [p for p in PACKINGS if p != "JPEG"])
def test_all_stored_bits_and_a_given_window_do_not_depend_on_the_packing(
    tmp_path: Path, packing: str, bits: int
) -> None:
    for signed in (False, True):
        stored = image_of(packing, bits, signed)
        write(tmp_path / "a.dcm", stored, bits, signed, packing, WindowCenter="1", WindowWidth="2")
        low = -(2 ** (bits - 1)) if signed else 0
        found = read_dicom(tmp_path / "a.dcm", window="stored").pixels
        np.testing.assert_array_equal(found, eight((stored - low) / (2**bits - 1)))
        found = read_dicom(tmp_path / "a.dcm", window=(40, 400)).pixels
        np.testing.assert_array_equal(found, linear(stored, 40, 400))
