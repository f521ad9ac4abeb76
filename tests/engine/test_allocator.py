"""What a step frees is there for the next one, without the system clearing pages in between."""

import resource
import subprocess
import sys

import pytest

LOOP = """
import ctypes, resource, sys
from medrobust.engine.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
before = 0
for step in range(6):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(48_000_000) for _ in range(2)]
    for block in blocks:
        libc.memset(block, 1, 48_000_000)
    for block in blocks:
        libc.free(block)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kind: str) -> tuple[str, int]:
    """Return what was answered, and the page faults of three steps of 96 MB each."""
    command = [sys.executable, "-c", LOOP, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, count = done.stdout.split()
    return answer, int(count)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets parameters of glibc")
def test_freed_blocks_are_kept_for_the_next_step() -> None:
    answer, kept = faults("kept")
    if answer != "True":
        pytest.skip("another C library than glibc")
    pages = 3 * 96_000_000 // resource.getpagesize()
    assert kept < pages / 20
    assert faults("given back")[1] > pages / 2, "otherwise the setting does nothing"
