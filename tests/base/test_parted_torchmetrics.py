"""A package by its parts: they are those of the whole, which is loaded when it is asked for."""

import sys
from pathlib import Path

import pytest

from medrobust.base import parted_torchmetrics
from medrobust.base.parted_torchmetrics import Parted, part_torchmetrics

WHOLE = """
import logging
_logger = logging.getLogger("toy")
from parted_toy.metric import Metric
from parted_toy.heavy import Other
run = True
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package laid out as torchmetrics is, by its name in place of the real one."""
    folder = tmp_path / "parted_toy"
    folder.mkdir()
    files = {
        "__about__": "__version__ = '2.0'",
        "utilities": "",
        "metric": "from parted_toy import _logger\nclass Metric: pass",
        "collections": "class MetricCollection: pass",
        "heavy": "class Other: pass",
        "__init__": WHOLE,
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(parted_torchmetrics, "PACKAGE", "parted_toy")
    yield folder
    for name in [one for one in sys.modules if one.split(".")[0] == "parted_toy"]:
        del sys.modules[name]


def test_what_lightning_asks_for_loads_no_more(toy: Path) -> None:
    part_torchmetrics()
    import parted_toy
    from parted_toy import Metric, MetricCollection  # noqa: F401

    assert parted_toy.__version__ == "2.0"
    assert not hasattr(parted_toy, "__wrapped__")
    assert "parted_toy.heavy" not in sys.modules


def test_anything_else_loads_the_whole_around_the_same_parts(toy: Path) -> None:
    part_torchmetrics()
    from parted_toy import Metric, Other
    from parted_toy import Metric as Again

    whole = sys.modules["parted_toy"]
    assert whole.run
    assert not isinstance(whole, Parted)
    assert Again is Metric
    assert Other.__module__ == "parted_toy.heavy"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = whole.nothing


def test_a_release_whose_parts_need_the_whole_is_imported_as_ever(toy: Path) -> None:
    (toy / "__init__.py").write_text(f"scale = 3\n{WHOLE}")
    (toy / "metric.py").write_text("from parted_toy import scale\nclass Metric: pass")
    part_torchmetrics()
    from parted_toy import Metric

    assert Metric is sys.modules["parted_toy.metric"].Metric
    assert sys.modules["parted_toy"].run


def test_a_whole_that_fails_says_why_each_time(toy: Path) -> None:
    (toy / "heavy.py").write_text("raise OSError('a library is missing')")
    part_torchmetrics()
    import parted_toy

    for _ in range(2):
        with pytest.raises(OSError, match="a library is missing"):
            _ = parted_toy.Other


def test_what_is_imported_already_stays(toy: Path) -> None:
    import parted_toy

    part_torchmetrics()
    assert sys.modules["parted_toy"] is parted_toy
    assert not isinstance(parted_toy, Parted)
