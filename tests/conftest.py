"""What every test shares: no network, a cache of its own, a quiet process left behind."""

import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as the entry does

from medrobust.base.deferred_dynamo import put_off_dynamo
from medrobust.base.once import begin_again
from medrobust.base.parted_torchmetrics import part_torchmetrics

part_torchmetrics()  # as a job does
put_off_dynamo()
gc.disable()  # until all is collected: what imports make stays, and walking it took a third of them

COLLECTED = Counter[str]()
"""How many cases of each test were collected so far."""

FIELDS = "pydantic._internal._fields"


def pytest_collectstart() -> None:
    """Choose Triton's interpreter before anybody imports it.

    Nothing above imports torch: the process that only waits for the workers starts them sooner.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let a worker send what went well but for the call only to who asks how long it took."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor" and not config.getoption("durations"):
            plugin.sendevent = partial(_sent_if_needed, plugin.sendevent)


def _sent_if_needed(send: Callable[..., None], name: str, **event: Any) -> None:
    data = event.get("data", {})
    if name != "testreport" or data["when"] == "call" or data["outcome"] != "passed":
        send(name, **event)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for examples in the package alone: no test has one."""
    found = yield
    return [one for one in found if type(one) is pytest.Module]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Of a test marked `every_nth(n)`, call all cases slow but the first, the n-th after it, ..."""
    if (mark := item.get_closest_marker("every_nth")) is None:
        return
    test = item.nodeid.partition("[")[0]
    number = COLLECTED[test]
    COLLECTED[test] += 1
    if number % mark.args[0]:
        item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Spare the collector what all imports have made: walking it took a sixth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # looking each 700 objects took a twentieth of a job
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Refuse the network, keep the caches of tests out of the user's, make nothing twice."""
    import compositions
    import drawn_once
    import shortcuts

    own = tmp_path_factory.getbasetemp()
    drawn = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "drawn"  # of this run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MEDROBUST_CACHE", str(own.parent / "cache"))
        patch.delenv("MEDROBUST_DATA", raising=False)
        patch.setattr(os, "fsync", lambda opened: None)  # no test pulls the plug
        compositions.remember(patch)
        drawn_once.remember(patch, drawn)
        shortcuts.take(patch)
        # wandb's models read their docstrings out of every module that there is: 4 s a process.
        patch.setattr(f"{FIELDS}.extract_docstrings_from_cls", lambda *_, **__: {}, raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """Spare the collector what was imported meanwhile, too."""
    before = len(sys.modules)
    yield
    if len(sys.modules) > before + 50:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Let every test hear what is logged once a job."""
    begin_again()


SKETCHES = {
    "png": bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c49444154789c63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
    ),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>',
    "pdf": b"%PDF-1.4",
}
"""The least of each kind of picture."""

LAID_OUT = set[object]()
"""The kinds of figures of pages that this process has laid out, outside tests/reporting."""

Places = list[tuple[Any, str, Any]]


@pytest.fixture(scope="module", autouse=True)
def sketched(request: pytest.FixtureRequest) -> Iterator[Places]:
    """Lay figures out but render them only where a test `draws`: each costs as much as its job.

    Of the figures of pages, all modules outside tests/reporting lay out one of each kind.

    Yields:
        What stands for what renders: where, under which name, and what was there.
    """
    from matplotlib.figure import Figure

    from medrobust.reporting import drawing, figures, panels, reliability, report
    from medrobust.reporting.matrix import Matrix

    def known(kind: object) -> bool:
        before = len(LAID_OUT)
        LAID_OUT.add(kind)
        return len(LAID_OUT) == before

    def sketch(_drawn: object, kind: str) -> bytes:
        return SKETCHES[kind]

    def svg(draw: Callable[[str], Figure], salt: str) -> str:
        return SKETCHES["svg"].decode() if known(draw.__code__) else drawing.svg(draw, salt)

    def matrix_png(matrices: Sequence[Matrix]) -> bytes:
        return SKETCHES["png"] if known("matrix") else figures.matrix_png(matrices)

    instead: Places = [(module, "printed", sketch) for module in (drawing, figures)]
    if request.path.parent.name != "reporting":
        instead += [(module, "svg", svg) for module in (figures, panels, reliability)]
        instead += [(report, "matrix_png", matrix_png)]
    if request.node.get_closest_marker("draws") is not None:
        instead = []
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in instead]
    with pytest.MonkeyPatch.context() as patch:
        for place in instead:
            patch.setattr(*place)
        yield before


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, sketched: Places) -> Iterator[None]:
    """Render what a test of its own `draws`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("draws") is not None:
            for place in sketched:
                patch.setattr(*place)
        yield


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one; logging as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield tmp_path
    root.handlers[:], root.level = handlers, level
