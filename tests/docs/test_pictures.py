"""Pictures of the page in README and docs: small, marked as a demonstration; code is not cut."""

import importlib.util

import pytest
from pages import ROOT

SHOWN = {
    "report.png": ("README.md", "docs/index.md"),
    "report-metric.png": ("docs/reading.md",),
    "report-reliability.png": ("docs/reading.md",),
}


def script():
    place = ROOT / "scripts" / "picture_report.py"
    spec = importlib.util.spec_from_file_location("picture_report", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_small_and_stands_beside_what_it_is_worth(name: str) -> None:
    assert 5_000 < (ROOT / "docs" / "images" / name).stat().st_size < 300_000
    for page in SHOWN[name]:
        text = (ROOT / page).read_text(encoding="utf-8")
        after = text[text.index(f"images/{name})") :]
        assert "nothing about medicine" in after[:900], page


def test_the_script_makes_these_pictures_of_a_demonstration_alone(tmp_path, monkeypatch) -> None:
    made = script()
    assert set(made.PICTURES) == set(SHOWN)
    page = tmp_path / "report.html"
    page.write_text("<body>a ward of ours</body>")
    monkeypatch.setattr(made.shutil, "which", lambda name: "/bin/true")
    monkeypatch.setattr("sys.argv", ["picture_report.py", str(page), str(tmp_path)])
    with pytest.raises(SystemExit, match="no page of the demonstration"):
        made.main()
    assert list(tmp_path.iterdir()) == [page]


def test_lines_of_code_are_wrapped_by_the_style_of_the_site() -> None:
    configuration = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    assert 'html_css_files = ["wrap.css"]' in configuration
    style = (ROOT / "docs" / "static" / "wrap.css").read_text(encoding="utf-8")
    assert "pre-wrap" in style
