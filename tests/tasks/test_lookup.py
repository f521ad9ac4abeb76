"""Tasks are found by name, those of other packages too."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.tasks import lookup
from medrobust.tasks.base import ArraySpec


class Counting:
    """A task that only tests know."""

    kind = "counting"
    arrays: Mapping[str, ArraySpec] = {"counts": ArraySpec("int32", ("image",))}


TASK = Counting()


@pytest.mark.parametrize("kind", ["zero_shot", "identity", "probe", "classification"])
def test_heads_of_the_first_release_belong_to_classification(kind: str) -> None:
    assert lookup.task_of(kind).kind == "classification"


def test_the_name_of_no_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="classification"):
        lookup.task_of("clasification")
    for module in ("base", "lookup", "__init__", "os.path", "../tasks", ""):
        with pytest.raises(UnknownNameError):
            lookup.task_of(module)


def test_a_task_is_known_while_it_is_given() -> None:
    with lookup.given(TASK):
        assert lookup.task_of("counting") is TASK
        assert "counting" in lookup.task_names()
    with pytest.raises(UnknownNameError):
        lookup.task_of("counting")


def test_another_package_brings_a_task_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("counting", f"{__name__}:TASK", lookup.GROUP)
    monkeypatch.setattr(lookup, "entry_points", lambda **wanted: EntryPoints([entry]))
    caches = (lookup._of_others, lookup._installed)
    try:
        for cached in caches:
            cached.cache_clear()
        assert lookup.task_of("counting") is TASK
    finally:
        for cached in caches:
            cached.cache_clear()


def test_a_folder_whose_task_has_another_name_is_refused(tmp_path, monkeypatch) -> None:
    folder = SimpleNamespace(TASK=lookup.task_of("retrieval"))
    monkeypatch.setattr(lookup, "_own", lambda: frozenset({"sorting"}))
    monkeypatch.setattr(lookup, "import_module", lambda name: folder)
    with pytest.raises(ConfigurationError, match="kind is 'sorting': its kind is 'retrieval'"):
        lookup.task_of("sorting")


def test_corrupted_texts_are_refused_by_a_task_that_reads_none() -> None:
    with pytest.raises(ConfigurationError, match="task=image_quality reads none"):
        lookup.task_of("image_quality", text_corruption=object())
