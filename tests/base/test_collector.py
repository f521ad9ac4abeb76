"""The collector of garbage waits where it is told to, and is then as it was."""

import gc
import sys
from types import ModuleType

import pytest

from medrobust.base import collector


@pytest.mark.parametrize("collects", [True, False])
def test_it_rests_and_is_then_as_it_was(collects: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), collector.collector_at_rest():
            assert 1 / gc.isenabled()
        assert gc.isenabled() is collects
        with collector.imports_at_once():
            assert not gc.isenabled()
        assert (gc.isenabled(), frozen) == (collects, [])
        with collector.imports_at_once():
            for number in range(collector.MANY + 1):
                monkeypatch.setitem(sys.modules, f"made_{number}", ModuleType("made"))
        assert (gc.isenabled(), frozen) == (collects, [True])
    finally:
        (gc.enable if before else gc.disable)()
