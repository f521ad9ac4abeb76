"""Write streams.json: ramps of 8 to 16 bits as JPEG-LS, by CharLS (`pip install pyjpegls`)."""

import base64
import json
from pathlib import Path

import numpy as np


def main() -> None:
    """Encode the ramps."""
    import jpeg_ls

    streams = {}
    for bits in (8, 10, 12, 16):
        ramp = np.rint(np.linspace(0, 2**bits - 1, 256)).astype("<u1" if bits == 8 else "<u2")
        packed = jpeg_ls.encode_buffer(ramp.tobytes(), 16, 16, 1, bits)
        streams[bits] = base64.b64encode(bytes(packed)).decode()
    Path(__file__).with_name("streams.json").write_text(json.dumps(streams, indent=1) + "\n")


if __name__ == "__main__":
    main()
