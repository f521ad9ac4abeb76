"""The page in headless Chromium: switches work, nothing is complained of, nothing is asked for."""

import json
import re
import shutil
import subprocess

import pytest
from stores import SEVEN, data_record, write_matrix

from medrobust.reporting.from_store import report_store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]

PROBE = """
<script>
addEventListener("load", function () {
  const table = document.querySelector("table.heat");
  const texts = () => Array.from(table.querySelectorAll("td"), (td) => td.textContent);
  function choose(id, value) {
    const select = document.getElementById(id);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }
  const seen = {usual: texts()};
  choose("severity", "5");
  seen.severe = texts();
  seen.told = document.querySelector(".switched").textContent;
  choose("metric", "auc");
  seen.auc = texts();
  choose("dataset", "1");
  seen.hidden = Array.from(document.querySelectorAll("section[data-matrix]"), (s) => s.hidden);
  choose("severity", ""); choose("metric", ""); choose("dataset", "");
  seen.again = texts();
  seen.plots = document.querySelectorAll(".plot .main-svg").length;
  const words = document.querySelector(".curves svg text");
  seen.words = words ? words.getBoundingClientRect().height : null;
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
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
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&")), complaints


@pytest.mark.parametrize("width", [1366, 500])
def test_switches_work_and_the_page_is_quiet(made, width):
    report, folder, interactive = made
    seen, complaints = browse(folder, width)
    assert complaints == []
    assert seen["requests"] == []
    assert seen["wide"] <= 0  # nothing but tables scrolls sideways
    matrix = report.matrices[0]
    assert seen["severe"][1].startswith(f"{100 * matrix.values['balanced_error'][0, 0, 4]:.1f}")
    assert seen["severe"][0].startswith(f"{100 * matrix.clean['balanced_error'][0]:.1f}")
    assert seen["auc"][1].startswith(f"{100 * matrix.values['auc'][0, 0, 4]:.1f}")
    assert "severity 5" in seen["told"]
    assert seen["hidden"] == [True, False]
    assert seen["again"] == seen["usual"] != seen["severe"]
    assert (seen["plots"] > 0) == interactive


@pytest.mark.parametrize("corruptions", [1, 4])
def test_words_in_charts_are_as_large_for_one_corruption_as_for_many(tmp_path, corruptions):
    chosen = SEVEN[:corruptions]
    for name in ("bloodmnist", "octmnist"):
        write_matrix(tmp_path / "store", data_record(name), {"weak": 0.5}, corruptions=chosen)
    report_store(tmp_path / "store", tmp_path / "out", interactive=False, figures=False)
    seen, complaints = browse(tmp_path, 1366)
    assert complaints == []
    assert 8 < seen["words"] < 24
