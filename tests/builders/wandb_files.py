"""Reads a `.wandb` file: a LevelDB log of protobuf records behind a header of seven bytes."""

import struct
import time

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
NOT_YET, FULL, FIRST, MIDDLE, LAST = 0, 1, 2, 3, 4


def payloads(content):
    """Yield the bytes of each whole record; one may span blocks, the last may be half written."""
    assert b":W&B".startswith(content[:4])
    place, parts = HEADER, b""
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        end = place + HEADER + length
        if end > len(content) or kind == NOT_YET:
            return
        data = content[place + HEADER : end]
        place = end
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        parts = data if kind in (FULL, FIRST) else parts + data
        if kind in (FULL, LAST):
            yield parts


def read_records(path, *, patience=20.0):
    """Return the records of one run; its service may write the last ones after `finish` is back."""
    deadline = time.monotonic() + patience
    while True:
        records = _parsed(path)
        kinds = {record.WhichOneof("record_type") for record in records}
        if "exit" in kinds or time.monotonic() > deadline:
            return records
        time.sleep(0.05)


def _parsed(path):
    records = []
    for payload in payloads(path.read_bytes()):
        record = Record()
        record.ParseFromString(payload)
        records.append(record)
    return records
