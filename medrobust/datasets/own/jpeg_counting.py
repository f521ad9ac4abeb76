"""The units of a Huffman-coded JPEG scan, counted without decoding them to samples."""

from typing import Any

from medrobust.base.numba_jit import native


@native("int64(uint8[::1], int32[:,::1], int64[:,::1], int64, int64)")
def whole_units(data: Any, tables: Any, blocks: Any, units: int, restart: int) -> int:
    """Count the units of a scan that its bytes hold in whole.

    Args:
        data: Bytes of the scan, with stuffed bytes and restart markers.
        tables: int32 (T, 65536): 16 bits to come -> length << 8 | symbol of the code they begin
            with, 0 where there is none.
        blocks: int64 (B, 2): tables of the DC and AC codes of each block of a unit; of lossless
            streams a block is a sample, and its second table is -1.
        units: How many there should be.
        restart: Units between restart markers; 0 for none.

    Returns:
        Up to `units`; fewer where bytes end, a code is none, or a restart marker is missing.
    """
    place, size = 0, len(data)
    word, have = 0, 0
    for unit in range(units):
        if restart > 0 and unit > 0 and unit % restart == 0:
            word, have = 0, 0
            while place + 1 < size and not (
                data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7
            ):
                place += 1
            if place + 1 >= size:
                return unit
            place += 2
        for block in range(len(blocks)):
            lossless = blocks[block, 1] < 0
            number = 0
            while number < 64:
                while have <= 40 and place < size:  # fill, up to a marker
                    byte = int(data[place])
                    if byte == 0xFF:
                        if place + 1 >= size or data[place + 1] != 0:
                            if place + 1 < size and data[place + 1] == 0xFF:
                                place += 1
                                continue
                            break
                        place += 1
                    place += 1
                    word = ((word << 8) | byte) & 0xFFFFFFFFFFFF
                    have += 8
                code = (word << 16 >> have) & 0xFFFF
                entry = tables[blocks[block, 0 if number == 0 else 1], code]
                length, symbol = entry >> 8, entry & 0xFF
                bits = symbol & 15 if not lossless or symbol < 16 else 0
                have -= length + bits
                if length == 0 or have < 0:
                    return unit
                if lossless:
                    break
                if number == 0:
                    number = 1
                elif bits > 0 or symbol == 0xF0:
                    number += (symbol >> 4) + 1
                else:
                    break
    return units
