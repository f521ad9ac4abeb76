import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
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


@pytest.fixture(scope="session", autouse=True)
def _no_sum_of_integers_is_made_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let Triton's interpreter make integers once, as a GPU does, unless all tests are asked for.

    It makes each sum, difference and product of 32 bits in 64 bits too, to see that none is too
    large, which takes as long as all the rest. Pixels are compared with those of numba anyway.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not request.config.option.markexpr:
        yield
        return
    from triton.runtime.interpreter import interpreter_builder

    with pytest.MonkeyPatch.context() as patch:
        once = replace(interpreter_builder.options, sanitize_overflow=False)
        patch.setattr(interpreter_builder, "options", once)
        yield
