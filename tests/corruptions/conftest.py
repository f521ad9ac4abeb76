import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

from medrobust.corruptions import numba as compiled


@pytest.fixture(scope="session", autouse=True)
def _each_kernel_is_compiled_by_one_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Share out what the cache beside the source has not yet: compiling takes most of a minute.

    By files, whose kernels have helpers in common, the longest first.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return  # a process compiles what its tests ask for
    taken = tmp_path_factory.getbasetemp().parent / "kernels"
    taken.mkdir(exist_ok=True)
    files = Path(compiled.__path__[0]).glob("[a-z]*.py")
    for file in sorted(files, key=lambda file: (-file.stat().st_size, file.name)):
        try:
            (taken / file.stem).touch(exist_ok=False)
        except FileExistsError:
            continue
        for kernel in vars(import_module(f"{compiled.__name__}.{file.stem}")).values():
            if isinstance(kernel, FunctionType) and hasattr(kernel, "__wrapped__"):
                with suppress(TypeError):  # compiled, it misses its arguments
                    kernel()


@pytest.fixture(scope="session")
def triton_in_fewer_steps(request: pytest.FixtureRequest) -> Iterator[None]:
    """Spare Triton's interpreter what it does again and again, unless all tests are asked for.

    Pixels are compared with those of numba anyway.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not request.config.option.markexpr:
        yield
        return
    import interpreted

    with pytest.MonkeyPatch.context() as patch:
        interpreted.hasten(patch)
        yield
