"""Values with letters of every alphabet and the grammar's own characters mean what was typed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from run_entry import answer

from medrobust.cli.mistakes import explain
from medrobust.cli.typed import rewrite

PATHS = [
    "/daten/Röntgen/labels.csv", "/data/fold=3/labels.csv", "/data/copy (2)/labels.csv",
    "/data/肺/标签.csv", "/data/it's here/l.csv", "/data/a[1]/b{2}/l.csv", "/data/#1/l.csv",
    "/data/a&b;c!/l.csv", "C:\\Daten\\Röntgen\\l.csv", "~/Größe/l.csv", "/data/<x>^`/l.csv",
    "/data/e\u0301tude/l.csv", "/data/\U0001f600/l.csv", "/data/end\\", "/a/=", "/data/q'\\'x/l",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_path_is_read_as_it_was_typed(path: str, flags: list[str]) -> None:
    override = rewrite([*flags, f"dataset.csv={path}"])[-1]
    assert OverridesParser.create().parse_override(override).value() == path


def read(override: str, *flags: str) -> object:
    value = OverridesParser.create().parse_override(rewrite([*flags, override])[-1]).value()
    return [getattr(o, "text", o) for o in value.list] if hasattr(value, "list") else value


def test_lists_and_tables_keep_their_form() -> None:
    assert read("dataset.class_names=[gesund, Lungenentzündung]") == ["gesund", "Lungenentzündung"]
    assert read("dataset.x=[a=b,'c, d',2]") == ["a=b", "c, d", 2]
    assert read("+dataset.x={a: größer, b: [ü, 1]}") == {"a": "größer", "b": ["ü", 1]}


def test_commas_separate_the_jobs_of_a_sweep_and_belong_to_a_path_else() -> None:
    assert read("dataset.csv=ä.csv,b.csv", "-m") == ["ä.csv", "b.csv"]
    assert read("dataset.csv=ä,b.csv") == "ä,b.csv"


def test_a_folder_whose_name_has_a_comma_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    assert read("dataset.root=a,b", "-m") == "a,b"


@pytest.mark.parametrize(
    "typed", ["seed=3", "x='a=b'", 'x="ü"', "x=${y}/ü", "corruption=a,b", "x=choice(a,b)", "x=null"]
)
def test_what_the_grammar_takes_stays_as_it_was_typed(typed: str) -> None:
    assert rewrite(["-m", typed])[-1] == typed


def test_what_cannot_be_read_at_all_is_said_with_the_quotes_that_help() -> None:
    said = answer("model=phantomclip_small", "dataset=folder", "+dataset.x={ü:1}").stderr
    assert said.startswith("error: +dataset.x={ü:1} cannot be read as KEY=VALUE.")
    assert "hydra.cc" not in said
    assert len(said.strip().splitlines()) == 1


def test_other_faults_are_explained_as_before() -> None:
    assert explain(ValueError("of another kind"), ["a=ü"]) == "of another kind"
