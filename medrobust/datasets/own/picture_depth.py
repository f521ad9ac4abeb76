"""Picture files of more than 8 bits a sample: what they declare, and their values undiminished.

Sources: PNG (third edition), 11.2.1 (IHDR) and 11.3.1.1 (tRNS); TIFF 6.0, sections 4, 6 and 18;
ITU-T T.800, A.5.1; Netpbm (maxval).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError

from .codestream import codestream

if TYPE_CHECKING:
    from PIL.Image import Image

HEAD = 1 << 16
"""Bytes in which the head of a file is looked for."""

WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = (
    256, 257, 258, 262, 277, 284, 338, 339,
)  # fmt: skip
"""Tags of TIFF."""

WHITE_IS_ZERO, RGB = 0, 2
ASSOCIATED = 1
"""Of extra samples: alpha by which the colours were multiplied."""

COLOUR_MAP = 320

UNSIGNED, SIGNED = 1, 2


@dataclass(frozen=True, slots=True)
class Declared:
    """What a picture file says of its samples.

    Attributes:
        bits: Of a sample.
        top: What stands for white (for black where `inverted`).
        scaled: Whether Pillow stretches values over 16 bits.
        shift: Bits by which it does; 0 where it divides by `top`.
        inverted: Whether 0 is white.
        transparent: The grey, or red, green and blue, that is not seen, in values of the file.
        colours: Whether OpenCV reads the colours undiminished.
        associated: Whether colours were multiplied by their alpha.
        unsigned: Whether samples are whole numbers from 0.
    """

    bits: int = 8
    top: int = 255
    scaled: bool = False
    shift: int = 0
    inverted: bool = False
    transparent: tuple[int, ...] = ()
    colours: bool = False
    associated: bool = False
    unsigned: bool = True


def declared(image: "Image", file: Path) -> Declared:
    """Read what a file says of its samples off its head.

    Args:
        image: The file, as Pillow opens it; its pixels need not be loaded.
        file: The file.
    """
    if image.format == "PNG":
        return _of_png(image, file)
    if image.format == "TIFF":
        return of_tags(image.tag_v2)  # type: ignore[attr-defined]
    if image.format == "PPM":
        return _of_netpbm(file)
    if image.format == "JPEG2000":
        with file.open("rb") as stream:
            found = codestream(stream.read(HEAD))
        bits = 8 if found is None else found.bits
        return Declared(bits, (1 << bits) - 1, scaled=bits > 8, shift=max(16 - bits, 0))
    return Declared()


def _of_png(image: "Image", file: Path) -> Declared:
    with file.open("rb") as stream:
        bits = stream.read(25)[24]
    given = image.info.get("transparency")
    transparent = (given,) if isinstance(given, int) else given
    if not isinstance(transparent, tuple) or image.mode == "P":
        transparent = ()
    return Declared(bits, (1 << bits) - 1, transparent=transparent, colours=bits > 8)


def _of_netpbm(file: Path) -> Declared:
    with file.open("rb") as stream:
        head = re.sub(rb"#[^\n\r]*", b" ", stream.read(HEAD)).split(maxsplit=4)
    if len(head) < 4 or head[0] not in (b"P2", b"P3", b"P5", b"P6") or not head[3].isdigit():
        return Declared()
    top = int(head[3])
    return Declared(max(8, top.bit_length()), top, scaled=top > 255, colours=top > 255)


def of_tags(tags: Any) -> Declared:
    """Read the same off the tags of a TIFF file."""
    bits = max(_numbers(tags.get(BITS, 1)))
    extra = _numbers(tags.get(EXTRA, 0))
    unsigned = set(_numbers(tags.get(FORMAT, UNSIGNED))) == {UNSIGNED}
    together = tags.get(PLANAR, 1) == 1
    return Declared(
        bits,
        (1 << bits) - 1,
        inverted=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO,
        colours=bits == 16 and unsigned and together and tags.get(PHOTOMETRIC) == RGB,
        associated=ASSOCIATED in extra,
        unsigned=unsigned,
    )


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def tiff_tags(file: Path) -> Any:
    """Return the tags of the first picture of a TIFF file, or None if it is none."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    with file.open("rb") as stream:
        head = stream.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return None
        tags = ImageFileDirectory_v2(head)
        stream.seek(tags.next)
        tags.load(stream)
        return tags


def is_plain_grey(tags: Any) -> bool:
    """Say whether a TIFF file that Pillow does not know holds unsigned grey values all the same."""
    return (
        _numbers(tags.get(BITS, 1)) in ((16,), (32,))
        and tags.get(SAMPLES, 1) == 1
        and tags.get(PHOTOMETRIC) in (0, 1)
        and set(_numbers(tags.get(FORMAT, UNSIGNED))) == {UNSIGNED}
    )


def told_tags(tags: Any) -> str:
    """Write the tags that decide how samples are read, for a sentence."""
    known = {"BitsPerSample": BITS, "PhotometricInterpretation": PHOTOMETRIC}
    known |= {"SamplesPerPixel": SAMPLES, "PlanarConfiguration": PLANAR, "SampleFormat": FORMAT}
    return ", ".join(
        f"{name} {'/'.join(map(str, _numbers(tags[tag])))}"
        for name, tag in known.items()
        if tag in tags
    )


def undiminished(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Return values (H, W) or (H, W, 3) of the file's own bits, and alpha if there is one.

    The orientation of a TIFF file is applied, that of a PNG file is not. None if OpenCV does not
    read the file.
    """
    import cv2

    packed = np.fromfile(file, dtype=np.uint8)
    found = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED) if packed.size else None
    if found is None or found.dtype.kind != "u" or found.dtype.itemsize < 2:
        return None
    if found.ndim == 2:
        return found, None
    alpha = found[..., 3] if found.shape[2] == 4 else None
    return np.ascontiguousarray(found[..., 2::-1]), alpha


def grey_values(image: "Image", said: Declared) -> NDArray[Any]:
    """Return the values of a wide grey picture as they lie in the file, which Pillow stretches."""
    values = np.asarray(image).astype(np.int64)
    if said.bits == 32 and said.unsigned:
        values &= 0xFFFFFFFF  # Pillow reads them as signed
    if not said.scaled:
        return values
    return values >> said.shift if said.shift else np.rint(values * said.top / 65535).astype("i8")


def check_small_samples(image: "Image", file: Path) -> None:
    """Refuse samples that Pillow would cut off at white (Netpbm) or take for unsigned (TIFF).

    Args:
        image: The file, as Pillow opens it, not loaded yet.
        file: The file.

    Raises:
        InvalidImageError: If there are such samples; names the file.
    """
    if image.format == "PPM":
        _check_white(image, file)
    elif image.format == "TIFF" and image.mode in ("L", "P"):
        tags = image.tag_v2  # type: ignore[attr-defined]
        signed = SIGNED in _numbers(tags.get(FORMAT, UNSIGNED))
        if signed and (low := int(np.asarray(image).view(np.int8).min())) < 0:
            raise InvalidImageError(
                f"{file.name} holds values from {low} on, of signed samples (SampleFormat 2) whose "
                f"scale is unknown: write them from 0 to 255."
            )


def _check_white(image: "Image", file: Path) -> None:
    """Refuse binary Netpbm samples beyond the maxval of their head."""
    said = _of_netpbm(file)
    with file.open("rb") as stream:
        if stream.read(2) not in (b"P5", b"P6"):
            return
    count = image.size[0] * image.size[1] * len(image.getbands())
    dtype = ">u2" if said.top > 255 else "u1"
    start = image.tile[0][2]  # type: ignore[attr-defined]
    values = np.fromfile(file, dtype=dtype, count=count, offset=start)
    if values.size and (high := int(values.max())) > said.top:
        raise InvalidImageError(
            f"{file.name} holds values up to {high}, beyond the {said.top} that its head calls "
            f"white (maxval): correct one of them."
        )


def widen_palette(image: "Image") -> None:
    """Read a colour map of TIFF that holds 8 bits an entry, not 16, as libtiff does."""
    from PIL import ImagePalette

    if image.format != "TIFF" or image.mode != "P":
        return
    entries = image.tag_v2.get(COLOUR_MAP, ())  # type: ignore[attr-defined]
    if entries and max(entries) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(entries))


def refuse_depth(name: str, said: Declared, bit_depth: int) -> InvalidImageError:
    """Build the error for colours that cannot be read with fewer bits than their file declares."""
    return InvalidImageError(
        f"{name} holds colours of {said.bits} bits a sample of a kind that is not read with "
        f"dataset.bit_depth={bit_depth}: save it as PNG or TIFF with interleaved samples, or pass "
        f"dataset.bit_depth=16."
    )
