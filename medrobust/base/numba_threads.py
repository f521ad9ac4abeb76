"""Numba kernels run over the images of a batch, in as many threads as torch has."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medrobust.types import UInt8Batch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_users = 0
_lock = Lock()


def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: a fork gets its own, since threads do not survive it."""
    with _lock:
        if (workers, process) not in _pools:
            made = ThreadPoolExecutor(workers, thread_name_prefix=f"medrobust-{process}")
            _pools[workers, process] = made
        return _pools[workers, process]


def use_threads() -> Callable[[], None]:
    """Note that threads may be begun; the last of those who did to call what is returned ends them.

    Whoever never notes it keeps them until the process ends.
    """
    global _users
    with _lock:
        _users += 1

    def leave() -> None:
        global _users
        with _lock:
            _users -= 1
            ended = [] if _users else [key for key in _pools if key[1] == os.getpid()]
            pools = [_pools.pop(key) for key in ended]
        for pool in pools:
            pool.shutdown()

    return leave


def run_native(kernel: Callable[..., None], images: UInt8Batch, *arguments: Any) -> UInt8Batch:
    """Run `kernel(images, out, start, stop, *arguments)` over all images, in torch's threads.

    Each image is computed alone, so the split into threads changes nothing.
    """
    return run_native_into(kernel, images, empty(images.shape), *arguments)


def empty(shape: Sequence[int], dtype: type[np.generic] = np.uint8) -> Tensor:
    """Return memory for images in main memory, not yet written.

    Made by numpy, for torch asks for aligned memory, and glibc before 2.38 finds no use for freed
    pieces of that: the memory of a process would grow with its batches.
    """
    return torch.from_numpy(np.empty(tuple(shape), dtype))


def run_native_into(
    kernel: Callable[..., None], images: Tensor, out: Tensor, *arguments: Any
) -> Tensor:
    """As `run_native`, into `out`, which may have another shape of an image and another dtype."""
    source, target = images.contiguous().numpy(), out.numpy()
    count = len(images)
    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        kernel(source, target, 0, count, *arguments)
        return out
    edges = np.linspace(0, count, workers + 1).astype(int).tolist()
    pool = _pool(torch.get_num_threads(), os.getpid())
    jobs = [
        pool.submit(kernel, source, target, start, stop, *arguments)
        for start, stop in pairwise(edges)
    ]
    for job in jobs:
        job.result()
    return out
