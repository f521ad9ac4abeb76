"""The streams of a GPU: one in which batches are corrupted, one in which they are encoded."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch


@cache
def corrupting(device: torch.device) -> torch.cuda.Stream | None:
    """Return the stream in which batches are moved and corrupted, of the lowest priority.

    It is the same for a process's lifetime, for what one stream frees no other takes. None if the
    device is no GPU.
    """
    return _stream(device, priority=0)


@cache
def encoding(device: torch.device) -> torch.cuda.Stream | None:
    """Return the stream in which batches are encoded, as lasting; None if the device is no GPU.

    Its high priority lets the corruption of later batches take what the encoder leaves idle of the
    GPU, and not its turn.
    """
    return _stream(device, priority=-1)


def inside(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Make a stream the current one of this thread; None changes nothing."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def _stream(device: torch.device, priority: int) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]
