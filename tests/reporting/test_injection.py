"""Names of models, data sets and classes that would be markup, formulas, paths or commands."""

import csv
import re
from html.parser import HTMLParser

import pytest
from stores import SEVEN, VERSIONS, cell_key, data_record, write_cell

from medrobust.evaluation.store import Store
from medrobust.reporting import ExpectedTable, make_report
from medrobust.reporting.export import text_tables
from medrobust.reporting.report import write_files

pytestmark = pytest.mark.draws  # names stand in figures, too

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><!--<script>",
    "' onmouseover='alert(1)",
    '=HYPERLINK("http://example.org")',
    "@SUM(1)",
    r"\input{/etc/passwd}",
    "$x_{",
    "a\n\\input{x}\n| b |\n# c",
    "../../../evil",
    "[x](javascript:alert(1))",
    "\u2028 b",
    "%s {0} {{7*7}} ${oc.env:HOME}",
)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.handlers = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def report(folder, name):
    data = data_record(name)
    object.__setattr__(data, "class_names", (name, f"{name} 2", f"{name} 3"))
    store = Store(folder / "store")
    keys = [cell_key(data, name), cell_key(data, name, SEVEN[0], 1, seed=0)]
    cells = [write_cell(store, data, key) for key in keys]
    table = ExpectedTable(name, "test", "imagenet_c", SEVEN[:1], (1,))
    made = make_report(
        cells, expected=[table], missing=[], reference=name, reference_cells=cells, notes=[name],
        folder=folder / "out", run={"command": f"python run.py x={name}", "versions": VERSIONS},
    )  # fmt: skip
    made.write()
    write_files(folder / "out" / "tables", text_tables(made))
    return {path.name: path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    files = report(tmp_path_factory.mktemp("harmless"), "toy")
    return Tags(files["report.html"].read_text(encoding="utf-8")).found


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(tmp_path, harmless, name):
    files = report(tmp_path / "a" / "b", name)
    tags = Tags(files["report.html"].read_text(encoding="utf-8"))
    assert set(tags.found) <= {*harmless, "g", "path", "wbr"}
    for tag in ("script", "style", "img", "link", "meta", "a"):
        assert tags.found.count(tag) == harmless.count(tag)
    assert tags.handlers == []
    for table in ("results.csv", "summary.csv"):
        with files[table].open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                assert row["model"].lstrip("'") in (name, name.lstrip("'"))
                assert not row["model"].startswith(("=", "+", "-", "@", "\t"))
    (tex,) = [path for file, path in files.items() if file.endswith(".tex")]
    assert tex.parent.name == "tables"
    text = tex.read_text(encoding="utf-8")
    seen = [line for line in text.splitlines() if not line.startswith("%")]
    assert not [line for line in seen if r"\input" in line]
    assert text.count(r"\begin{") == 2
    (page,) = [path for file, path in files.items() if file.endswith(".md")]
    shown = page.read_text(encoding="utf-8")
    assert not re.search(r"<\w|(?<!\\)\[x\]\(", shown)
    assert not [line for line in shown.splitlines() if line.startswith("#")]
    assert {path.parent.parent for path in (tex, page)} == {tmp_path / "a" / "b" / "out"}
