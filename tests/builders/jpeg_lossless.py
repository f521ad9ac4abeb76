"""A lossless JPEG stream (ITU-T T.81, process 14, first-order prediction) of one component."""

import numpy as np

LENGTH = 5
"""Bits of each Huffman code: 17 categories of differences."""


def jpeg_lossless(codes: np.ndarray, bits: int) -> bytes:
    """Pack whole numbers (H, W) of 2 to 16 bits."""
    height, width = codes.shape
    counts = bytes([0] * (LENGTH - 1) + [17] + [0] * (16 - LENGTH))
    frame = bytes([bits, *height.to_bytes(2), *width.to_bytes(2), 1, 1, 0x11, 0])
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xC3, frame),
            segment(0xC4, b"\0" + counts + bytes(range(17))),
            segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            entropy(codes.astype(np.int64), bits),
            b"\xff\xd9",
        )
    )


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def entropy(codes: np.ndarray, bits: int) -> bytes:
    """Differences to the left neighbour, to the one above in the first column (H.1.2.1)."""
    predicted = np.empty_like(codes)
    predicted[:, 1:] = codes[:, :-1]
    predicted[1:, 0] = codes[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    written = "".join(map(word, ((codes - predicted + 32767) % 65536 - 32767).ravel().tolist()))
    written += "1" * (-len(written) % 8)
    return int(written, 2).to_bytes(len(written) // 8).replace(b"\xff", b"\xff\x00")


def word(difference: int) -> str:
    """Code of the category, and the bits of the difference in it."""
    if difference == 32768:
        return f"{16:0{LENGTH}b}"
    category = abs(difference).bit_length()
    low = difference if difference >= 0 else difference + (1 << category) - 1
    return f"{category:0{LENGTH}b}" + (f"{low:0{category}b}" if category else "")
