"""The files and the terminal table of a report."""

import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from stores import SEVEN, VERSIONS, data_record, write_matrix

from medrobust.exceptions import ConfigurationError
from medrobust.reporting import (
    ExpectedTable,
    expected_from_cells,
    make_report,
    reference_cells,
)
from medrobust.reporting.figures import columns_named

MODELS = {"phantomclip_small": 0.5, "phantomclip": 1.5}
DEMONSTRATION = "demonstration on synthetic phantoms: says nothing about medicine"
TOUGH = "<script>alert(1)</script> & co"


def report(tmp_path, *, drop=0, origin="phantom", name="phantoms", examples=False, **more):
    data = data_record(name, origin=origin, marks=(f"half of it {TOUGH}",))
    store, cells = write_matrix(
        tmp_path / "store", data, MODELS, corruptions=SEVEN[:2], examples=examples
    )
    kept = cells[: len(cells) - drop]
    found, _ = reference_cells(store, kept, "phantomclip_small", command="make run")
    given = {
        "expected": [ExpectedTable(name, "test", "imagenet_c", SEVEN[:2])],
        "missing": [cell.spec for cell in cells[len(kept) :]],
        "reference": "phantomclip_small",
        "reference_cells": found,
        "notes": ["a note", "a note"],
        "folder": tmp_path / "out",
        "run": {"command": "python run.py", "versions": VERSIONS, "seconds": 61.0},
    }
    made = make_report(kept, **(given | more))
    made.write()
    return made


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The report of both models, all cells there: tests only read it."""
    return report(tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A report of the same models on own data."""
    return report(tmp_path_factory.mktemp("ward"), origin="own", name="ward")


def printed(made, width=140):
    console = Console(width=width, file=io.StringIO())
    made.print(console)
    return console.file.getvalue()


@pytest.mark.slow
@pytest.mark.draws
def test_a_report_writes_page_picture_and_tables_and_nothing_else(tmp_path):
    made = report(tmp_path)
    names = sorted(path.name for path in made.folder.iterdir())
    assert names == [
        "comparisons.csv", "matrix.csv", "matrix.png", "reasons.csv", "report.html", "results.csv",
        "summary.csv",
    ]  # fmt: skip
    with Image.open(made.folder / "matrix.png") as picture:
        assert picture.size[0] > 500


@pytest.mark.slow
@pytest.mark.draws
def test_the_same_cells_make_the_same_bytes(tmp_path):
    one, two = report(tmp_path), report(tmp_path, folder=tmp_path / "again")
    for path in one.folder.iterdir():
        assert path.read_bytes() == (two.folder / path.name).read_bytes(), path.name


def test_the_terminal_table_has_models_by_corruptions_with_clean_and_mce(usual):
    text = printed(usual)
    lines = text.splitlines()
    assert "balanced error, %" in lines[0]
    assert "phantomclip_small = 100" in lines[0]
    (small,) = [line for line in lines if line.startswith("│ phantomclip_small")]
    assert small.rstrip(" │").endswith("100.0")
    assert DEMONSTRATION in text
    assert text.count("a note") == 1


def test_ranges_and_the_reference_say_what_they_are(usual):
    assert "ranges: 95 % intervals over images" in printed(usual, 140)
    assert "95 %" not in printed(usual, 40)  # too narrow for them
    page = (usual.folder / "report.html").read_text()
    assert "Small: 95 % intervals over images." in page
    assert "mCE: phantomclip_small is 100 by definition, and less is better." in page
    row = page[page.index('<th scope="row">phantomclip_small</th>') :]
    assert ">100.0</td>" in row[: row.index("</tr>")]  # without an interval


def test_a_narrow_terminal_turns_the_table_around(usual):
    text = printed(usual, width=60)
    assert any(line.startswith("│ gaussian_noise") for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 60


def test_a_reference_and_long_names_do_not_cost_the_intervals(tmp_path):
    data = data_record()
    names = [f"a_long_name_of_a_model_of_some_laboratory_{n}" for n in range(2)]
    store, cells = write_matrix(
        tmp_path / "store",
        data,
        dict.fromkeys(names, 1.0),
        corruptions=SEVEN[:2],
        severities=(1,),
    )
    found, _ = reference_cells(store, cells, names[0], command="make run")
    given = {"missing": [], "notes": [], "folder": tmp_path, "run": {}}
    given |= {"reference": names[0], "reference_cells": found}
    text = printed(make_report(cells, expected=expected_from_cells(cells), **given), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "ranges: 95 % intervals" in text
    assert "laboratory_" in text


def test_many_models_with_long_names_keep_them_where_no_layout_fits(tmp_path):
    data = data_record()
    names = [f"a_model_of_ours_{n} + lora 8 shots of draw {n}" for n in range(6)]
    _, cells = write_matrix(
        tmp_path / "store",
        data,
        dict.fromkeys(names, 1.0),
        corruptions=SEVEN[:2],
        severities=(1,),
    )
    settings = {"missing": [], "reference": None, "notes": [], "folder": tmp_path, "run": {}}
    settings["reference_cells"] = []
    made = make_report(cells, expected=expected_from_cells(cells), **settings)
    text = printed(made, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    first = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert " ".join(first) == " ".join(names)


def test_missing_cells_are_counted_everywhere(tmp_path):
    made = report(tmp_path, drop=3)
    text = printed(made)
    assert "3 of 22 cells missing" in text
    assert "[1 of 2 corruptions]" in " ".join(text.split())
    page = (made.folder / "report.html").read_text()
    assert "3 of 22 cells missing" in page
    assert "phantomclip · phantoms/test · impulse_noise s5" in page


class Page(HTMLParser):
    """Collects tags, addresses and images, and refuses tags that do not close."""

    VOID = ("meta", "link", "img", "wbr", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.images = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        if tag == "img":
            self.images.append(found)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.draws
def test_the_page_is_whole_escaped_and_asks_for_nothing_outside(tmp_path):
    made = report(tmp_path, examples=True)
    text = (made.folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert TOUGH not in text
    assert "&lt;script&gt;alert(1)" in text
    assert DEMONSTRATION in text
    local = (
        "data:",
        "#",
        "results.csv",
        "summary.csv",
        "comparisons.csv",
        "reasons.csv",
        "matrix.csv",
        "matrix.png",
    )
    assert all(address.startswith(local) for address in page.addresses)
    assert len(page.images) == 2 * 6 + 5  # the strip, and the worst cells
    assert all(image["alt"] for image in page.images)
    assert "svg" in page.tags


def test_own_data_without_examples_shows_no_picture(ward):
    text = (ward.folder / "report.html").read_text()
    assert "<img" not in text
    assert DEMONSTRATION not in text


def test_the_demonstration_models_say_so_on_own_data_too(ward):
    sentence = "phantomclip_small, phantomclip: demonstration only, says nothing about medicine"
    assert ward.notices == (sentence,)
    assert sentence in (ward.folder / "report.html").read_text()
    assert sentence in " ".join(printed(ward).split())


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"cannot be written to .*hydra\.run\.dir"):
        report(tmp_path)


def switch_data(page):
    start = page.index('id="cells">') + len('id="cells">')
    return json.loads(page[start : page.index("</script>", start)])


@pytest.mark.slow
@pytest.mark.parametrize("of", ["error", "balanced_error", "auc"])
def test_the_numbers_that_a_reader_switches_to_are_those_of_the_summary(usual, of):
    matrix = switch_data((usual.folder / "report.html").read_text())["matrices"][0]
    assert matrix["metrics"][of]["heading"] == usual.matrices[0].metric.title.join(
        ["phantoms/test · gaussian_noise, impulse_noise · ", ", %"]
    ).replace("balanced error", usual.matrices[0].task.metrics[of].title)
    rows = {
        (row["label"], row["metric"], row["corruption"]): row
        for row in usual.summary
        if row["of"] == of
    }
    for row, label in enumerate(MODELS):
        columns = matrix["metrics"][of]["rows"][row]
        keys = [("clean", ""), *(("severity_mean", name) for name in SEVEN[:2]), ("mean", "")]
        for column, key in zip(columns[:4], keys, strict=True):
            line = rows[label, *key]
            for shown, name in zip(column[0], ("value", "low", "high"), strict=True):
                assert shown == pytest.approx(float(line[name]), abs=5.1e-5)
        mce = rows.get((label, "mCE", ""))
        if of == "auc":
            assert mce is None
            assert columns[4] == [None]
        else:
            assert columns[4][0][0] == pytest.approx(float(mce["value"]), abs=5.1e-5)


def test_what_is_no_loss_has_means_with_intervals_and_says_why_it_has_no_mce(usual):
    matrix = switch_data((usual.folder / "report.html").read_text())["matrices"][0]
    f1 = matrix["metrics"]["macro_f1"]
    assert "No mCE: it is made of errors, and macro F1 is none." in f1["caption"]
    assert "No mCE: it is made of errors, and of AUC more" in matrix["metrics"]["auc"]["caption"]
    values = usual.matrices[0].values["macro_f1"][1]  # (corruptions, severities)
    value, low, high = f1["rows"][1][3][0]
    assert value == pytest.approx(values.mean(), abs=5.1e-5)
    assert low < value < high
    narrowest = (usual.matrices[0].high["macro_f1"] - usual.matrices[0].low["macro_f1"])[1].min()
    assert high - low >= narrowest - 1e-4  # no narrower for being a mean
    assert f1["rows"][1][4] == [None]


def test_ranks_are_there_by_each_loss(usual):
    assert set(usual.ranks[0]) == {"error", "balanced_error", "auc"}
    assert usual.standings[0] == usual.ranks[0]["balanced_error"]
    for of, ranked in usual.ranks[0].items():
        sign = -1 if of == "auc" else 1
        means = [sign * usual.matrices[0].mean(of, row).value for row in range(2)]
        assert [standing.rank for standing in ranked] == [1 + (m > min(means)) for m in means]
        (p,) = [
            r["p_familywise"]
            for r in usual.comparisons
            if r["of"] == of and r["condition"] == "mean"
        ]
        sure = bool(p) and float(p) < 0.05
        for standing in ranked:
            open_to = (standing.rank, standing.rank) if sure else (1, 2)
            assert (standing.low, standing.high) == open_to


def test_the_page_begins_with_words_and_a_list_of_contents(usual):
    page = (usual.folder / "report.html").read_text()
    words = html.unescape(re.sub("<[^>]*>", "", page[page.index('class="words"') :]))
    matrix = usual.matrices[0]
    (best,) = [row for row, one in enumerate(usual.standings[0]) if one.rank == 1]
    assert f"Of 2 models {matrix.rows[best].label} does best: balanced error" in words
    by_name = {row["metric"]: row for row in usual.summary if row["of"] == "balanced_error"
               and row["label"] == matrix.rows[best].label and not row["corruption"]}  # fmt: skip
    for name in ("clean", "mean"):
        value, low, high = (100 * float(by_name[name][k]) for k in ("value", "low", "high"))
        assert f"{value:.1f} % ({low:.1f}–{high:.1f})" in words
    change = 100 * (float(by_name["mean"]["value"]) - float(by_name["clean"]["value"]))
    assert f"severities 1, 2, 3, 4 and 5: {change:+.1f} points (" in words
    assert "Worst under " in words
    (pair,) = [row for row in usual.comparisons if row["condition"] == "mean"
               and row["of"] == "balanced_error"]  # fmt: skip
    assert f"{abs(100 * float(pair['difference'])):+.1f} points (" in words
    contents = page[page.index('<nav aria-label="Contents">') : page.index("</nav>")]
    anchors = re.findall(r'href="#([^"]+)"', contents)
    assert anchors == re.findall(r'<h2 id="([^"]+)"', page[page.index("</nav>") :])
    assert len(anchors) > 1


@pytest.mark.parametrize(
    ("suite", "corruptions", "heading"),
    [
        ("imagenet_c", ("gaussian_noise",), "gaussian_noise"),
        ("imagenet_c", ("contrast", "pixelate"), "contrast, pixelate"),
        ("imagenet_c", tuple(SEVEN[:5]), "5 of 19 corruptions of imagenet_c"),
        ("medimeta_c", tuple(SEVEN), "medimeta_c"),
        ("a_suite_of_mine", ("smear",), "a_suite_of_mine"),
    ],
)
def test_a_table_is_headed_by_a_suite_only_where_all_of_it_is_there(suite, corruptions, heading):
    assert columns_named(ExpectedTable("toy", "test", suite, corruptions)) == heading


@pytest.mark.slow
@pytest.mark.draws
def test_the_page_shows_class_texts_reliability_and_drift_where_features_were_kept(tmp_path):
    from medrobust.metrics import feature_drift

    def features(fingerprint):
        return np.random.default_rng(int(fingerprint[:8], 16)).normal(size=(60, 8))

    made = report(tmp_path, features=features)
    page = html.unescape((made.folder / "report.html").read_text())
    texts = page[page.index("<summary>Class texts</summary>") :]
    texts = texts[: texts.index("</details>")]
    for name in ("phantomclip_small, phantomclip", "class 0", "“plain”"):
        assert name in texts
    diagram = page[page.index("<summary>Reliability</summary>") :]
    diagram = diagram[: diagram.index("</details>")]
    assert "<svg" in diagram
    assert ">severity 5<" in diagram
    ece = 100 * made.matrices[0].clean["ece"][1]
    assert f"<td>phantomclip</td><td>clean</td><td>{ece:.1f}</td>" in diagram
    drifts = page[page.index("<summary>Changed answers and feature drift</summary>") :]
    matrix = made.matrices[0]
    encoding = {
        place: cell.record["encoding_fingerprint"]
        for place, cell in matrix.cells.items()
        if place.row == 1
    }
    clean = features(encoding[1, "clean", 0])
    levels = [features(encoding[1, SEVEN[0], level]) for level in range(1, 6)]
    mean = np.mean([feature_drift(clean, level) for level in levels])
    (row,) = re.findall(
        f"<td>{SEVEN[0]}</td><td>phantomclip</td><td>[^<]*</td><td>([^<]*)</td>", drifts
    )
    assert re.fullmatch(rf"{mean:.3f} \([0-9.]+–[0-9.]+\)", row)
    without = html.unescape((report(tmp_path).folder / "report.html").read_text())
    assert "feature drift: no features were kept" in without
    assert "<summary>Changed answers</summary>" in without


def test_the_start_is_a_moment_that_a_browser_can_place(tmp_path):
    made = report(tmp_path, run={"started": "2026-03-01T12:30:00+02:00", "seconds": 5})
    page = (made.folder / "report.html").read_text()
    assert '<time datetime="2026-03-01T10:30:00Z">2026-03-01 10:30 UTC</time> · 5 s' in page
