"""A reading is one file: what it says reaches the page, the folder and the terminal."""

import io
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from stores import data_record, write_matrix

from medrobust.cli.report import _asked
from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.readings import Pairs, lookup
from medrobust.reporting import Report
from medrobust.reporting.from_store import report_store
from medrobust.tasks.base import Section


def counted_models(report: Report) -> Section | None:
    """A reading that only this test knows."""
    models = [row.label for matrix in report.matrices for row in matrix.rows]
    if len(models) < 2:
        return None
    return Section(
        "How many",
        order=45,
        html=f'\n<section id="many">{len(models)} models</section>',
        files={"many.csv": b"models\n2\n", "many.md": b"There are two.\n"},
        rows={"many.csv": "a report"},
    )


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone is asked: others may have something to say of any report."""
    planted = SimpleNamespace(__name__="m.many", section=counted_models)
    monkeypatch.setattr(lookup, "_readings", lambda: (planted,))


def report_of(folder: Path, models: dict[str, float], **asked: object) -> Report:
    write_matrix(folder / "store", data_record(), models, severities=(1,))
    given = {"interactive": False, "figures": False, "readings": asked}
    return report_store(folder / "store", folder / "report", **given)


@pytest.mark.slow
def test_what_a_reading_says_is_written_listed_and_printed(tmp_path: Path, planted: None) -> None:
    report = report_of(tmp_path, {"a": 1.0, "b": 0.5})
    folder = tmp_path / "report"
    assert (folder / "many.csv").read_bytes() == b"models\n2\n"
    page = (folder / "report.html").read_text("utf-8")
    assert page.index("m0-title") < page.index('id="many"') < page.index('id="missing"')
    assert '<a href="many.csv">many.csv</a> (one row a report)' in page
    terminal = Console(file=io.StringIO(), width=200)
    report.print(terminal)
    assert "There are two." in terminal.file.getvalue()


@pytest.mark.slow
def test_a_reading_that_was_asked_for_and_says_nothing_is_named(
    tmp_path: Path, planted: None
) -> None:
    report = report_of(tmp_path, {"a": 1.0}, many=Pairs())
    told = "readings=many: nothing to say, for no table here holds the answers, labels or features"
    assert told in (tmp_path / "report" / "report.html").read_text("utf-8")
    terminal = Console(file=io.StringIO(), width=200)
    report.print(terminal)
    assert told in terminal.file.getvalue()
    assert report_of(tmp_path / "two", {"a": 1.0, "b": 0.5}, many=Pairs()).silent_line == ""


def test_a_reading_without_anything_to_say_leaves_no_trace(tmp_path: Path, planted: None) -> None:
    report = report_of(tmp_path, {"a": 1.0})
    assert not (tmp_path / "report" / "many.csv").exists()
    assert "many.csv" not in (tmp_path / "report" / "report.html").read_text("utf-8")
    assert report.sections == ()
    assert report.write(tmp_path / "again") == [
        path.name
        for name in (
            "report.html",
            "matrix.png",
            "matrix.csv",
            "results.csv",
            "summary.csv",
            "reasons.csv",
        )
        for path in [tmp_path / "again" / name]
        if path.exists()
    ]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Let an installed package name a reading."""

    def name(one: str, value: str) -> None:
        entry = EntryPoint(one, value, lookup.GROUP)
        monkeypatch.setattr(lookup, "entry_points", lambda **wanted: EntryPoints([entry]))
        lookup._readings.cache_clear()

    yield name
    lookup._readings.cache_clear()


def test_another_package_brings_a_reading_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Callable[[str, str], None]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    text = """
from dataclasses import dataclass
from medrobust.tasks.base import Section

@dataclass
class SETTINGS:
    limit: int = 3

def section(report):
    if (asked := report.readings.get("theirs_of_a_test")) is None:
        return None
    return Section("Theirs", order=45, html=f"<p>limit {asked.limit}</p>")
"""
    (tmp_path / "theirs_of_a_test.py").write_text(text, encoding="utf-8")
    named("theirs_of_a_test", "theirs_of_a_test")
    assert "theirs_of_a_test" not in lookup.said(report_of(tmp_path / "bare", {"a": 1.0}))
    asked = lookup.asked({"theirs_of_a_test": {"limit": 5}})
    assert lookup.words(asked) == ["readings=theirs_of_a_test", "readings.theirs_of_a_test.limit=5"]
    report_of(tmp_path / "asked", {"a": 1.0}, **asked)
    page = (tmp_path / "asked" / "report" / "report.html").read_text("utf-8")
    assert "<p>limit 5</p>" in page


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "gone",
            "no_such_package.gone",
            "'gone' of an installed package cannot be imported",
        ),
        ("other", "medrobust.readings.pairs", "'other' as its last name"),
        ("wording", "medrobust.base.wording", "has a function `section`"),
        ("pairs", "medrobust.readings.pairs", "the name of no other reading"),
    ],
)
def test_an_entry_point_that_names_no_reading_of_its_own_is_refused(
    named: Callable[[str, str], None], name: str, value: str, told: str
) -> None:
    named(name, value)
    with pytest.raises(ConfigurationError, match=told):
        lookup._readings()


PARTS_OF_OTHERS = {"lookup", "aggregation", "group_order", "subgroup_differences", "subgroup_terms"}
"""Files that say nothing of their own."""


def test_every_other_file_of_the_folder_is_a_reading() -> None:
    files = {path.stem for path in Path(lookup.__file__).parent.glob("[a-z]*.py")} - PARTS_OF_OTHERS
    assert {module.__name__.rpartition(".")[2] for module in lookup._readings()} == files


@pytest.mark.parametrize(
    ("name", "key", "value", "told"),
    [
        ("conformal", "weighted", "maybe", "true or false"),
        ("conformal", "by_class", "no", "true or false"),
        ("conformal", "alpha", "abc", "a number"),
        ("conformal", "alpha", float("nan"), "a number"),
        ("label_free", "transport", "no", "true or false"),
        ("selective", "coverage", True, "a number"),
        ("selective", "coverage", [0.5, 0.9], "a number"),
        ("selective", "risk", "low", "a number or null"),
        ("calibration", "bins", 2.5, "a whole number"),
        ("calibration", "bins", 1e9, "a whole number"),
        ("calibration", "bins", 10**9, "from 2 to 1000"),
        ("quality", "shown", 2.5, "a whole number"),
        ("guidance", "step", 1e-9, "a larger step"),
        ("operating_limit", "tolerance", "five", "a number"),
        ("operating_limit", "sensitivity", 0.9, "in percent"),
        ("operating_limit", "classes", [1], "a list such as"),
        ("operating_limit", "classes", [], "as a list"),
        ("operating_limit", "tolerance", 0, "between 0 and 100"),
        ("conformal", "alpha", 1, "between 0 and 1"),
        ("conformal", "penalty", -1, "not be below 0"),
        ("guidance", "highest", 0, "above 0"),
        ("selective", "coverage", 0, "above 0"),
        ("selective", "reader_error", 2, "from 0 to 1"),
        ("quality", "shown", 0, "at least 1"),
        ("robustness_radius", "tolerance", 0, "between 0 and 100"),
        ("robustness_radius", "resolution", 2, "between 1/64 and 1"),
        ("worst_pair", "total", 1, "between 2 and 10"),
        ("worst_pair", "budget", 0, "1 or more"),
        ("views", "how", "sum", "none of"),
        ("lesions", "iou", 0, "above 0"),
    ],
)
def test_values_of_another_kind_are_refused_by_key(
    name: str, key: str, value: object, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^readings\.{name}\.{key}.*{told}"):
        lookup.asked({name: {key: value}})


@pytest.mark.parametrize(
    ("name", "key"),
    [("calibration", "scaling"), ("conformal", "method"), ("selective", "score")],
)
def test_a_choice_that_there_is_not_is_refused_by_key(name: str, key: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"^unknown readings\.{name}\.{key} 'none'"):
        lookup.asked({name: {key: "none"}})


def test_the_usual_values_of_every_reading_are_of_their_kind() -> None:
    for module in lookup._readings():
        settings = getattr(module, "SETTINGS", None)
        if settings is not None:
            usual = {each.name: getattr(settings(), each.name) for each in fields(settings)}
            name = module.__name__.rpartition(".")[2]
            assert lookup.asked({name: usual}) == {name: settings()}
    assert lookup.asked({"operating_limit": {"tolerance": 5, "classes": ["a"]}})


def test_a_report_refuses_them_too_as_they_are_typed() -> None:
    typed = ("readings=conformal", "readings.conformal.weighted=maybe")
    with pytest.raises(ConfigurationError, match=r"readings\.conformal\.weighted=maybe must be tr"):
        _asked(typed, typed)
