"""The page in headless Chromium: switches work, nothing is complained of, nothing is asked for."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from stores import SEVEN, data_record, write_matrix

from medrobust.corruptions.suites import suites
from medrobust.reporting.from_store import report_store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.draws,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]

PROBE = """
<script>
addEventListener("load", function () {
  const section = document.querySelector("section[data-matrix]");
  const table = section.querySelector("table.heat");
  const texts = () => Array.from(table.querySelectorAll("td"), (td) => td.textContent);
  const text = (selector) => section.querySelector(selector).textContent;
  const visible = (one) => one.getClientRects().length > 0;
  function choose(id, value) {
    const select = document.getElementById(id);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }
  function state() {
    return {
      texts: texts(), heading: text("h2"), caption: text(".caption"), chart: text("h3"),
      ranks: Array.from(section.querySelectorAll("[data-by-metric] td"))
        .filter(visible).map((td) => td.textContent),
      none: Array.from(section.querySelectorAll(".none")).filter(visible).map((p) => p.textContent),
      charts: Array.from(section.querySelectorAll("[data-figure] svg, .plot .main-svg"))
        .filter(visible).length,
      drawn: Array.from(section.querySelectorAll("svg.drawn"), (one) => one.textContent),
      means: Array.from(document.querySelectorAll("section[aria-labelledby=averages] td"))
        .filter(visible).map((td) => td.textContent),
      contents: document.querySelector("nav a[href='#m0-title']").textContent,
    };
  }
  const seen = {usual: state()};
  choose("severity", "5");
  seen.severe = state();
  choose("metric", "auc");
  seen.auc = state();
  choose("severity", "");
  choose("metric", "error");
  seen.error = state();
  choose("metric", "macro_f1");
  seen.f1 = state();
  choose("dataset", "1");
  seen.hidden = Array.from(document.querySelectorAll("section[data-matrix]"), (s) => s.hidden);
  choose("metric", ""); choose("dataset", "");
  seen.again = state();
  const words = document.querySelector(".curves svg text");
  seen.words = words ? words.getBoundingClientRect().height : null;
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  seen.numbers = table.querySelector("td").getBoundingClientRect().left / innerWidth;
  seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  seen.moment = document.querySelector("time")?.textContent;
  document.body.dataset.seen = JSON.stringify(seen);
});
</script></body>"""


@pytest.fixture(scope="module", params=[True, False], ids=["plotly", "light"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    models = {"weak": 0.5, "strong": 1.5}
    for name in ("bloodmnist", "octmnist"):
        write_matrix(folder / "store", data_record(name), models, corruptions=SEVEN[:3])
    report = report_store(
        folder / "store", folder / "out", reference="weak", interactive=request.param, figures=False
    )
    return report, folder, request.param


def browse(folder, width):
    page = folder / "probe.html"
    text = (folder / "out" / "report.html").read_text()
    page.write_text(text.replace("</body>", PROBE))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--dump-dom",
        f"--window-size={width},900", "--virtual-time-budget=10000", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, complaints
    return json.loads(unescape(found[1])), complaints


@pytest.mark.parametrize("width", [1366, 500])
def test_switches_work_and_the_page_is_quiet(made, width):
    report, folder, _ = made
    seen, complaints = browse(folder, width)
    assert complaints == []
    assert seen["requests"] == []
    assert seen["wide"] <= 0  # nothing but tables scrolls sideways
    matrix = report.matrices[0]
    for state, of in (("severe", "balanced_error"), ("auc", "auc")):
        texts = seen[state]["texts"]
        assert texts[1].startswith(f"{100 * matrix.values[of][0, 0, 4]:.1f}")
        assert texts[0].startswith(f"{100 * matrix.clean[of][0]:.1f}")
        assert texts[4].startswith(f"{100 * matrix.values[of][0, :, 4].mean():.1f}")
        assert texts[5] == "–"
        assert "severity 5" in seen[state]["caption"]
    assert seen["hidden"] == [True, False]
    assert seen["again"] == seen["usual"] != seen["severe"]


@pytest.mark.parametrize("of", ["error", "f1"])
def test_a_chosen_metric_changes_headings_means_ratios_ranks_and_charts(made, of):
    report, folder, interactive = made
    seen, _ = browse(folder, 1366)
    usual, state = seen["usual"], seen[of]
    title = {"error": "error", "f1": "macro F1"}[of]
    place = "bloodmnist/test · gaussian_noise, impulse_noise, motion_blur"
    assert usual["heading"] == usual["contents"] == f"{place} · balanced error, %"
    assert state["heading"] == state["contents"] == f"{place} · {title}, %"
    assert state["chart"].lower() == f"{title} over severity".lower()
    assert state["charts"] == usual["charts"] > 0
    if not interactive:
        assert len(state["drawn"]) == 2  # curves and scatter
        assert usual["drawn"] == []
        assert f"{title} on clean images, %" in state["drawn"][1]
    row = {"error": "error", "f1": "macro_f1"}[of]
    assert [line.label for line in report.matrices[0].rows] == ["strong", "weak"]
    mean = report.matrices[0].mean(row, 0).value
    assert re.match(f"{100 * mean:.1f}[0-9.]+–[0-9.]+$", state["texts"][4])
    if of == "error":
        summary = {
            line["metric"]: line
            for line in report.summary
            if (line["dataset"], line["model"], line["of"]) == ("bloodmnist", "strong", "error")
        }
        mce, rank = summary["mCE"], summary["rank"]
        assert state["texts"][5].startswith(f"{100 * float(mce['value']):.1f}")
        best = [f"1 ({float(rank['low']):.0f}–{float(rank['high']):.0f})", "strong"]
        assert state["ranks"][:2] == best
        assert float(rank["value"]) == 1
        assert state["ranks"] != usual["ranks"]
        over = {
            line["label"]: line
            for line in report.summary
            if (line["dataset"], line["metric"], line["of"]) == ("all sets", "mean", "error")
        }
        assert f"{100 * float(over['strong']['value']):.1f}" in " ".join(state["means"])
        assert "error" in state["means"]
        assert "balanced error" not in state["means"]
    else:
        assert state["texts"][5] == "–"
        assert "No mCE: it is made of errors, and macro F1 is none." in state["caption"]
        assert state["ranks"] == []
        assert any(line.startswith("No ranks: macro F1") for line in state["none"])


@pytest.mark.parametrize("corruptions", [1, 4])
def test_words_in_charts_are_as_large_for_one_corruption_as_for_many(tmp_path, corruptions):
    chosen = SEVEN[:corruptions]
    for name in ("bloodmnist", "octmnist"):
        write_matrix(tmp_path / "store", data_record(name), {"weak": 0.5}, corruptions=chosen)
    report_store(tmp_path / "store", tmp_path / "out", interactive=False, figures=False)
    seen, complaints = browse(tmp_path, 1366)
    assert complaints == []
    assert 8 < seen["words"] < 24


def test_on_a_narrow_page_numbers_stand_beside_long_names(tmp_path):
    models = {"robustmedclip_vit + linear_probe 1 shots draw 0": 0.5, "strong": 1.5}
    for name in ("bloodmnist", "octmnist"):
        write_matrix(tmp_path / "store", data_record(name), models, corruptions=SEVEN[:2])
    report_store(tmp_path / "store", tmp_path / "out", interactive=False, figures=False)
    seen, complaints = browse(tmp_path, 500)
    assert complaints == []
    assert seen["wide"] <= 0
    assert seen["numbers"] < 0.5  # they began beyond the edge


PDFTOTEXT = shutil.which("pdftotext")


@pytest.mark.skipif(PDFTOTEXT is None, reason="needs pdftotext: apt install poppler-utils")
@pytest.mark.parametrize("count", [3, 19])
def test_on_paper_nothing_is_cut_and_headings_stay_with_what_they_head(tmp_path, count):
    names = list(suites("imagenet_c"))[:count]
    long = "robustmedclip_vit_of_a_long_name_2025"
    models = {"weak": 0.5, "strong": 1.5, long: 1.4}
    write_matrix(tmp_path / "store", data_record("bloodmnist"), models, corruptions=names)
    report_store(tmp_path / "store", tmp_path / "out", reference="weak", figures=False)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000",
        "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}",
        (tmp_path / "out/report.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    read = [PDFTOTEXT, "-bbox", str(tmp_path / "page.pdf"), "-"]
    told = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True).stdout
    for sheet in told.split("<page ")[1:]:
        width = float(re.search(r'width="([\d.]+)"', sheet)[1])
        words = re.findall(r'xMin="([-\d.]+)".*? xMax="([\d.]+)".*?>([^<]*)<', sheet)
        assert [w for low, high, w in words if float(low) < 0 or float(high) > width] == []
    read = [PDFTOTEXT, "-layout", str(tmp_path / "page.pdf"), "-"]
    sheets = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True).stdout
    lines = [[line for line in one.splitlines() if line.strip()] for one in sheets.split("\f")]
    (head,) = {
        line.split()[-1] for one in lines for line in one if line.split()[:2] == ["pair", "images"]
    }
    assert head == "test"
    assert sum("mCE" in line.split() for one in lines for line in one) >= 1
    for last in [one[-1] for one in lines if one]:
        assert not re.match(r"\s*(▼|▾|bloodmnist/test|Balanced error over|Clean against)", last)
