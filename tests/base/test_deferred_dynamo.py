"""What compiles models is not imported with Lightning, and is there for whoever asks for it."""

import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier, Thread

import pytest

from medrobust.base import deferred_dynamo
from medrobust.base.deferred_dynamo import put_off_dynamo

WHOLE = """
class OptimizedModule: pass
def disable(function=None, recursive=True):
    if function is None: return lambda decorated: disable(decorated, recursive)
    return lambda: ("disabled", recursive, function())
more = 5
"""
LAZY = """
from importlib import import_module
def __getattr__(name): return import_module(f"toy_compiler.{name}")
"""
ASKING = """
from toy_compiler.dynamo import OptimizedModule
import toy_compiler.dynamo
@toy_compiler.dynamo.disable
def plain(): return 1
@toy_compiler.dynamo.disable(recursive=False)
def alone(): return 2
def is_compiled(thing): return isinstance(thing, OptimizedModule)
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A compiler, and a package that asks for it, by their names in place of the real ones."""
    for name, text in {"toy_compiler/dynamo": WHOLE, "toy_lightning": ASKING}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "toy_compiler" / "dynamo" / "config.py").write_text("level = 3")
    (tmp_path / "toy_compiler" / "__init__.py").write_text(LAZY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferred_dynamo, "DYNAMO", "toy_compiler.dynamo")
    monkeypatch.setattr(deferred_dynamo, "ASKING", ("toy_lightning",))
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    sys.meta_path[:] = [one for one in sys.meta_path if type(one) is not deferred_dynamo._Finder]
    put_off_dynamo()
    yield tmp_path
    for name in [one for one in sys.modules if one.split(".")[0].startswith("toy_")]:
        del sys.modules[name]


def test_two_names_load_nothing_and_become_those_of_the_whole(toys: Path) -> None:
    import toy_lightning

    assert "toy_compiler.dynamo" not in sys.modules
    assert Path(toy_lightning.__spec__.loader.path) == toys / "toy_lightning" / "__init__.py"
    assert not toy_lightning.is_compiled(object())
    assert (toy_lightning.plain(), toy_lightning.alone()) == (1, 2)
    import toy_compiler.dynamo.config as config

    whole = sys.modules["toy_compiler.dynamo"]
    assert (whole.more, config.level) == (5, 3)
    assert toy_lightning.is_compiled(whole.OptimizedModule())
    assert not toy_lightning.is_compiled(object())
    assert toy_lightning.plain() == ("disabled", True, 1)
    assert toy_lightning.alone() == ("disabled", False, 2)


@pytest.mark.parametrize(
    "more", ["from toy_compiler.dynamo import more", "import toy_compiler.dynamo.config"]
)
def test_a_release_that_asks_for_more_gets_the_whole(toys: Path, more: str) -> None:
    (toys / "toy_lightning" / "__init__.py").write_text(f"{more}\n{ASKING}")
    import toy_lightning

    whole = sys.modules["toy_compiler.dynamo"]
    assert whole.more == 5
    assert toy_lightning.is_compiled(whole.OptimizedModule())
    assert toy_lightning.plain() in [1, ("disabled", True, 1)]


RUNS = "import sys; sys.runs_of_toys.append(__name__)"
SETTINGS = """
class Level: pass
class Settings(type(sys)):
    def __setattr__(self, name, value):
        if name == "__spec__": raise AttributeError(name)
        super().__setattr__(name, value)
sys.modules[__name__].__class__ = Settings
"""


@pytest.mark.parametrize("early", [True, False])  # the whole imports the module itself, or not
@pytest.mark.parametrize("at_once", [1, 3])
def test_other_threads_get_a_module_of_the_whole_run_once(
    toys: Path, early: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    monkeypatch.setattr(sys, "runs_of_toys", runs, raising=False)
    folder = toys / "toy_compiler" / "dynamo"
    own = "from . import config; from .config import Level; first = Level" if early else ""
    (folder / "__init__.py").write_text(f"{RUNS}\n{own}\n{WHOLE}")
    (folder / "config.py").write_text(RUNS + SETTINGS)
    (toys / "toy_lightning" / "__init__.py").write_text(
        f"import sys\nfor step in sys.steps_of_toys: step()\n{ASKING}"
    )
    barrier = Barrier(at_once)
    got = []

    def other() -> None:
        barrier.wait(5)
        import toy_compiler.dynamo.config as config

        got.append(config)

    threads = [Thread(target=other, daemon=True) for _ in range(at_once)]
    steps = [thread.start for thread in threads]
    steps += [partial(thread.join, 5) for thread in threads]
    monkeypatch.setattr(sys, "steps_of_toys", steps, raising=False)
    import toy_lightning

    whole = sys.modules["toy_compiler.dynamo"]
    config = sys.modules["toy_compiler.dynamo.config"]
    assert got == [config] * at_once
    assert whole.config is config
    assert not early or whole.first is config.Level
    assert sorted(runs) == ["toy_compiler.dynamo", "toy_compiler.dynamo.config"]
    assert config.__spec__.loader is config.__loader__
    assert toy_lightning.is_compiled(whole.OptimizedModule())


def test_who_looks_for_the_package_first_costs_nothing(toys: Path) -> None:
    loader = find_spec("toy_lightning").loader
    assert loader.get_source("toy_lightning") == ASKING
    assert loader.is_package("toy_lightning")
    import toy_lightning

    assert "toy_compiler.dynamo" not in sys.modules
    assert toy_lightning.plain() == 1


def test_an_error_of_the_package_itself_is_its_own(toys: Path) -> None:
    (toys / "toy_lightning" / "__init__.py").write_text(f"{ASKING}\nimport toy_absent")
    with pytest.raises(ModuleNotFoundError, match="toy_absent"):
        import toy_lightning  # noqa: F401
    assert "toy_lightning" not in sys.modules


@pytest.mark.slow  # imports all of both; that neither comes unasked: tests/test_imports.py
def test_lightning_is_imported_without_it_and_knows_what_is_compiled_later() -> None:
    code = (
        "import sys, medrobust.engine, pytorch_lightning, torch\n"
        "from pytorch_lightning.utilities.compile import to_uncompiled\n"
        "print(sorted({'sympy', 'torch._dynamo'} & sys.modules.keys()))\n"
        "class Model(pytorch_lightning.LightningModule):\n"
        "    def forward(self, x): return x + 1\n"
        "model = Model()\n"
        "compiled = pytorch_lightning.utilities.compile.from_compiled(\n"
        "    torch.compile(model, backend='eager'))\n"
        "print(compiled(torch.ones(1)).item(), to_uncompiled(compiled) is model)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n2.0 True\n", 0), done.stderr
