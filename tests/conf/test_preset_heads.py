"""What the head of every preset tells whoever is about to run it."""

import re
from pathlib import Path

import pytest

from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.cli.hydra_app import composed
from medrobust.corruptions import suites
from medrobust.evaluation.building import built

PRESETS = option_files(conf_folder(), "experiment")
PAGES = Path(__file__).parents[2] / "docs"


def told(file: Path) -> dict[str, str]:
    """Return the lines of a head by their word, joined where they go on."""
    found: dict[str, str] = {}
    last = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        match = re.match(r"# ([A-Z]\w+): +(.*)", line)
        if match is not None:
            last = match[1]
            found[last] = match[2]
        elif line.startswith("#    ") and last:
            found[last] += " " + line.removeprefix("#").strip()
        else:
            last = ""
    return found


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_says_command_time_expected_number_and_what_it_needs(file: Path) -> None:
    head = told(file)
    assert head["Command"] == f"python run.py experiment={file.stem}"
    assert re.search(r"\d+ (s|min) elapsed.* cores|not measured", head["Time"])
    assert re.search(r"\d+\.\d \(\d+\.\d to \d+\.\d\)|no figure of ours yet", head["Expect"])
    assert re.search(r"\d+(\.\d)? [MG]B|nothing but the package", head["Needs"])


@pytest.mark.slow
@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_that_needs_nothing_has_a_time_and_a_number_and_the_others_say_how_many_jobs(
    file: Path,
) -> None:
    head = told(file)
    config = composed([f"experiment={file.stem}"])
    offline = built(config, "model").name.startswith("phantomclip")
    assert offline == (head["Needs"] == "nothing but the package")
    assert offline == ("elapsed" in head["Time"])
    assert offline == ("no figure" not in head["Expect"])
    assert offline or re.search(r"\d+ jobs", head["Time"])


def test_the_numbers_of_the_heads_are_those_of_the_pages() -> None:
    files = {file.stem: file for file in PRESETS}
    bakeoff, page = (
        told(files["adapter_bakeoff"])["Expect"],
        (PAGES / "adaptation.md").read_text("utf-8"),
    )
    rows = re.findall(r"(\w+) (\d+\.\d) \((\d+\.\d) to (\d+\.\d)\)", bakeoff)
    assert [row[0] for row in rows] == ["full", "lora"]
    for name, value, low, high in rows:
        assert re.search(rf"\| {name} 10% \|.*\| {value} \[{low}, {high}\]", page)
    assert "66.3" in told(files["demonstration"])["Expect"]
    assert re.search(r"│ mCE +│ +100\.0 │ +66\.3 │", (PAGES / "reading.md").read_text("utf-8"))
    detection, page = told(files["anomaly_bakeoff"])["Expect"], (PAGES / "anomaly.md").read_text()
    rows = re.findall(r"(\w+) (\d+\.\d) \((\d+\.\d) to (\d+\.\d)\)", detection)
    assert [row[0] for row in rows] == ["mvfa", "lora"]
    for name, value, low, high in rows:
        assert re.search(rf"`{name}` .* {value} \({low} to {high}\)", page)


def test_the_numbers_of_heads_of_methods_online_stand_in_tables_of_all_corruptions() -> None:
    page = (PAGES / "adaptation.md").read_text("utf-8")
    files = {file.stem: file for file in PRESETS}
    for name, count in (("tta_bakeoff", 3), ("tta_bakeoff_model", 1), ("norm_swap_mri", 2)):
        head = told(files[name])
        rows = re.findall(r"(\d+\.\d) \((\d+\.\d) to (\d+\.\d)\)", head["Expect"])
        assert len(rows) == count
        for value, low, high in rows:
            assert f"| {value} [{low}, {high}] |" in page
    assert len(suites("mri_physics")) == 8
    assert "under the eight artifacts of `mri_physics`" in page
